/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The store on SQLite: write-ahead log, every commit synced (group commit makes that cheap),
 * foreign keys on. Statements are prepared once and kept by their text; one that is in use is
 * prepared again, so that a loop over rows may run the same text inside.
 *
 * SQLite ends a transaction by itself when the disk is full or the file cannot be written. What
 * follows would then be committed statement by statement, a half of what was meant; so such a
 * transaction counts as lost, and nothing runs until the caller has rolled it back.
 */

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/fd.h"
#include "base/str.h"
#include "control/store.h"
#include "control/store_schema.h"

#define STATEMENTS_MAX  192U
#define PARAMETERS_MAX  32U
#define HINTS           256U
#define BUSY_TIMEOUT_MS 2000
#define MARKS_MAX       8U

struct store_rows {
	struct store *store;
	sqlite3_stmt *statement;
	bool in_use;
	bool is_kept; /* one of the store's own, not to be finalized */
	uint64_t hash;
	uint8_t places[PARAMETERS_MAX]; /* of $1, $2, … as SQLite counts them; 0: not in the text */
};

struct store {
	sqlite3 *db;
	struct store_rows statements[STATEMENTS_MAX];
	size_t n_statements;
	uint8_t hints[HINTS]; /* by the address of a text, which statement had it last */
	bool in_transaction;
	int lost; /* -errno with which the database gave the transaction up, or 0 */
	unsigned marks;
	int64_t changes;
	char problem[STORE_PROBLEM_MAX];
};

struct store_value store_value_text(const char *text)
{
	if (!text)
		return STORE_NULL;
	return (struct store_value){.type = STORE_VALUE_TEXT, .data = text, .size = strlen(text)};
}

const char *store_problem(const struct store *store)
{
	return store->problem;
}

/* *system* is errno as the database left it: it takes a full quota, or a file that may not grow,
 * for a broken disk. */
static int error_number(int code, int system)
{
	switch (code & 0xff) {
	case SQLITE_IOERR:
		return system == EDQUOT || system == EFBIG || system == ENOSPC ? -ENOSPC : -EIO;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
		return -EROFS;
	default:
		return -EIO;
	}
}

static int fail(struct store *store, int code)
{
	int system = errno;
	int extended = sqlite3_extended_errcode(store->db);
	int r;

	(void)snprintf(store->problem, sizeof(store->problem), "%s", sqlite3_errmsg(store->db));
	if ((code & 0xff) == SQLITE_CONSTRAINT) {
		if (extended == SQLITE_CONSTRAINT_FOREIGNKEY)
			return STORE_E_REFERENCE;
		if (extended == SQLITE_CONSTRAINT_UNIQUE ||
		    extended == SQLITE_CONSTRAINT_PRIMARYKEY)
			return STORE_E_EXISTS;
	}
	r = error_number(code, system);
	if (store->in_transaction && sqlite3_get_autocommit(store->db))
		store->lost = r;
	return r;
}

static int run_text(struct store *store, const char *sql)
{
	int code;

	errno = 0;
	code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
	return code == SQLITE_OK ? 0 : fail(store, code);
}

static uint64_t hash_text(const char *text)
{
	uint64_t hash = 14695981039346656037ULL;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 1099511628211ULL;
	return hash;
}

/* Looked up once: a report binds some forty values. */
static void find_places(struct store_rows *rows)
{
	int n = sqlite3_bind_parameter_count(rows->statement);

	for (int i = 1; i <= n && i <= UINT8_MAX; i++) {
		const char *name = sqlite3_bind_parameter_name(rows->statement, i);
		unsigned long number = name ? strtoul(name + 1, NULL, 10) : 0;

		if (number > 0 && number <= PARAMETERS_MAX)
			rows->places[number - 1] = (uint8_t)i;
	}
}

static int prepare(struct store *store, const char *sql, unsigned flags, struct store_rows *rows)
{
	int code = sqlite3_prepare_v3(store->db, sql, -1, flags, &rows->statement, NULL);

	if (code != SQLITE_OK)
		return fail(store, code);
	rows->store = store;
	find_places(rows);
	return 0;
}

static bool is_free(const struct store_rows *rows, const char *sql)
{
	return !rows->in_use && strcmp(sqlite3_sql(rows->statement), sql) == 0;
}

/* One that is kept; NULL: none. The same text mostly comes from the same place. */
static struct store_rows *find_kept(struct store *store, const char *sql, uint64_t *ret_hash)
{
	uint8_t *hint = &store->hints[(uintptr_t)sql / sizeof(uint64_t) % HINTS];

	if (*hint < store->n_statements && is_free(&store->statements[*hint], sql))
		return &store->statements[*hint];
	*ret_hash = hash_text(sql);
	for (size_t i = 0; i < store->n_statements; i++) {
		struct store_rows *rows = &store->statements[i];

		if (rows->hash != *ret_hash || !is_free(rows, sql))
			continue;
		*hint = (uint8_t)i;
		return rows;
	}
	return NULL;
}

/* A statement of this text that nobody uses. */
static int get_rows(struct store *store, const char *sql, struct store_rows **ret)
{
	uint64_t hash = 0;
	struct store_rows *rows = find_kept(store, sql, &hash);
	int r;

	if (!rows && store->n_statements < STATEMENTS_MAX) {
		rows = &store->statements[store->n_statements];
		r = prepare(store, sql, SQLITE_PREPARE_PERSISTENT, rows);
		if (r != 0)
			return r;
		rows->is_kept = true;
		rows->hash = hash;
		store->n_statements++;
	} else if (!rows) {
		rows = calloc(1, sizeof(*rows));
		if (!rows)
			return -ENOMEM;
		r = prepare(store, sql, 0, rows);
		if (r != 0) {
			free(rows);
			return r;
		}
	}
	rows->in_use = true;
	*ret = rows;
	return 0;
}

struct store_rows *store_rows_free(struct store_rows *rows)
{
	if (!rows)
		return NULL;
	if (!rows->is_kept) {
		(void)sqlite3_finalize(rows->statement);
		free(rows);
		return NULL;
	}
	(void)sqlite3_reset(rows->statement);
	(void)sqlite3_clear_bindings(rows->statement);
	rows->in_use = false;
	return NULL;
}

/* *until*: whether the value has to be copied, because the statement is used for longer. */
static int bind(struct store_rows *rows, size_t at, const struct store_value *value,
		sqlite3_destructor_type until)
{
	sqlite3_stmt *statement = rows->statement;
	int index = at < PARAMETERS_MAX ? rows->places[at] : 0;
	int code;

	if (index == 0) {
		(void)snprintf(rows->store->problem, sizeof(rows->store->problem),
			       "a statement has no parameter $%zu", at + 1);
		return -EINVAL;
	}
	switch (value->type) {
	case STORE_VALUE_INT:
		code = sqlite3_bind_int64(statement, index, value->number);
		break;
	case STORE_VALUE_TEXT:
		code = sqlite3_bind_text64(statement, index, value->data, value->size, until,
					   SQLITE_UTF8);
		break;
	case STORE_VALUE_BLOB:
		code = sqlite3_bind_blob64(statement, index, value->size > 0 ? value->data : "",
					   value->size, until);
		break;
	case STORE_VALUE_NULL:
	default:
		code = sqlite3_bind_null(statement, index);
		break;
	}
	return code == SQLITE_OK ? 0 : fail(rows->store, code);
}

static int open_rows(struct store *store, const char *sql, const struct store_value *values,
		     size_t n, sqlite3_destructor_type until, struct store_rows **ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	int r;

	if (store->lost < 0)
		return store->lost;
	r = get_rows(store, sql, &rows);
	if (r != 0)
		return r;
	if (!store->in_transaction && !sqlite3_stmt_readonly(rows->statement)) {
		(void)snprintf(store->problem, sizeof(store->problem),
			       "a change outside of a transaction");
		return -EINVAL;
	}
	for (size_t i = 0; i < n && r == 0; i++)
		r = bind(rows, i, &values[i], until);
	if (r != 0)
		return r;
	*ret = TAKE_PTR(rows);
	return 0;
}

int store_select_values(struct store *store, struct store_rows **ret, const char *sql,
			const struct store_value *values, size_t n)
{
	return open_rows(store, sql, values, n, SQLITE_TRANSIENT, ret);
}

int store_next(struct store_rows *rows, bool *ret_row)
{
	int code;

	errno = 0;
	code = sqlite3_step(rows->statement);
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		return fail(rows->store, code);
	*ret_row = code == SQLITE_ROW;
	return 0;
}

int store_run_values(struct store *store, const char *sql, const struct store_value *values,
		     size_t n)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row;
	int r;

	r = open_rows(store, sql, values, n, SQLITE_STATIC, &rows);
	if (r == 0)
		r = store_next(rows, &row);
	if (r == 0)
		store->changes = sqlite3_changes64(store->db);
	return r;
}

int64_t store_changes(const struct store *store)
{
	return store->changes;
}

bool store_is_null(const struct store_rows *rows, unsigned column)
{
	return sqlite3_column_type(rows->statement, (int)column) == SQLITE_NULL;
}

int64_t store_int(const struct store_rows *rows, unsigned column)
{
	return sqlite3_column_int64(rows->statement, (int)column);
}

const char *store_text(const struct store_rows *rows, unsigned column)
{
	return (const char *)sqlite3_column_text(rows->statement, (int)column);
}

const void *store_blob(const struct store_rows *rows, unsigned column, size_t *ret_size)
{
	const void *data = sqlite3_column_blob(rows->statement, (int)column);

	*ret_size = (size_t)sqlite3_column_bytes(rows->statement, (int)column);
	return data;
}

int store_number_values(struct store *store, int64_t *ret, int64_t fallback, const char *sql,
			const struct store_value *values, size_t n)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = open_rows(store, sql, values, n, SQLITE_STATIC, &rows);
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0)
		return r;
	*ret = row && !store_is_null(rows, 0) ? store_int(rows, 0) : fallback;
	return 0;
}

int store_begin(struct store *store)
{
	int r;

	if (store->in_transaction)
		return store->lost;
	r = run_text(store, "BEGIN IMMEDIATE");
	store->in_transaction = r == 0;
	return r;
}

int store_commit(struct store *store)
{
	int r;

	if (!store->in_transaction)
		return 0;
	r = store->lost < 0 ? store->lost : run_text(store, "COMMIT");
	if (r != 0)
		return r;
	store->in_transaction = false;
	store->marks = 0;
	return 0;
}

void store_rollback(struct store *store)
{
	if (store->in_transaction && !sqlite3_get_autocommit(store->db))
		(void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	store->in_transaction = false;
	store->lost = 0;
	store->marks = 0;
}

bool store_is_changing(const struct store *store)
{
	return store->in_transaction;
}

static int run_mark(struct store *store, const char *verb, unsigned number)
{
	char sql[64];

	(void)snprintf(sql, sizeof(sql), "%s m%u", verb, number);
	return store_run_values(store, sql, NULL, 0);
}

int store_mark(struct store *store)
{
	int r = store_begin(store);

	if (r == 0 && store->marks >= MARKS_MAX)
		r = -ENOBUFS;
	if (r == 0)
		r = run_mark(store, "SAVEPOINT", store->marks);
	if (r == 0)
		store->marks++;
	return r;
}

int store_keep(struct store *store)
{
	int r = store->lost;

	if (r == 0)
		r = run_mark(store, "RELEASE", store->marks - 1);
	if (r == 0)
		store->marks--;
	return r;
}

void store_undo(struct store *store)
{
	if (store->marks == 0)
		return;
	store->marks--;
	if (store->lost < 0)
		return;
	ignore_result(run_mark(store, "ROLLBACK TO", store->marks));
	ignore_result(run_mark(store, "RELEASE", store->marks));
}

static int check_health(struct store *store, char *reterr)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select_values(store, &rows, "PRAGMA quick_check(1)", NULL, 0);
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0)
		return r;
	if (row && str_equal(store_text(rows, 0), "ok"))
		return 0;
	(void)snprintf(reterr, STORE_PROBLEM_MAX,
		       "the database is damaged: %.300s; restore it from a backup",
		       row ? store_text(rows, 0) : "");
	return 1;
}

static int migrate(struct store *store, char *reterr)
{
	char sql[64];
	int64_t version = 0;
	int r;

	r = store_number_values(store, &version, 0, "PRAGMA user_version", NULL, 0);
	if (r != 0)
		return r;
	if (version < 0 || (uint64_t)version > store_schema_n_steps) {
		(void)snprintf(reterr, STORE_PROBLEM_MAX,
			       "the database was made by a newer affixd (its version is %lld, this "
			       "program knows %zu); start that one",
			       (long long)version, store_schema_n_steps);
		return 1;
	}
	for (size_t i = (size_t)version; i < store_schema_n_steps; i++) {
		r = store_begin(store);
		if (r == 0)
			r = run_text(store, store_schema_steps[i]);
		(void)snprintf(sql, sizeof(sql), "PRAGMA user_version = %zu", i + 1);
		if (r == 0)
			r = run_text(store, sql);
		if (r == 0)
			r = store_commit(store);
		if (r != 0) {
			store_rollback(store);
			return r;
		}
	}
	return 0;
}

static int prepare_database(struct store *store, char *reterr)
{
	static const char *const settings[] = {
		"PRAGMA journal_mode = WAL",        "PRAGMA synchronous = FULL",
		"PRAGMA foreign_keys = ON",         "PRAGMA trusted_schema = OFF",
		"PRAGMA temp_store = MEMORY",       "PRAGMA cache_size = -32768",
		"PRAGMA wal_autocheckpoint = 8192", "PRAGMA journal_size_limit = 67108864",
	};
	int r = 0;

	(void)sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
	(void)sqlite3_extended_result_codes(store->db, 1);
	for (size_t i = 0; i < ARRAY_SIZE(settings) && r == 0; i++)
		r = run_text(store, settings[i]);
	if (r == 0)
		r = check_health(store, reterr);
	return r == 0 ? migrate(store, reterr) : r;
}

/* SQLite would make it with the process's umask; its other files get this one's mode. */
static int make_file(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	(void)fd_close(fd);
	return 0;
}

/* What an operator can do about it. The database takes a full disk for a broken one where its
 * shared memory does not fit. */
static const char *advice(int dirfd, int r)
{
	struct statvfs room;
	bool is_full =
		r == -ENOSPC || (r == -EIO && fstatvfs(dirfd, &room) == 0 && room.f_bavail == 0);

	if (is_full)
		return "; its disk is full: make room and start again";
	return r == -EBADMSG ? "; restore it from a backup" : "";
}

int store_open(int dirfd, const char *name, struct store **ret, char *reterr)
{
	cleanup_store struct store *store = calloc(1, sizeof(*store));
	char path[256];
	int code;
	int r;

	if (!store)
		return -ENOMEM;
	/* Of no effect once the library is in use. */
	(void)sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	r = make_file(dirfd, name);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
	code = sqlite3_open_v2(path, &store->db,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
				       SQLITE_OPEN_PRIVATECACHE,
			       NULL);
	if (!store->db)
		return -ENOMEM;
	*reterr = '\0';
	r = code == SQLITE_OK ? prepare_database(store, reterr) : fail(store, code);
	if (r == 0) {
		*ret = TAKE_PTR(store);
		return 0;
	}
	if (r == -ENOMEM)
		return r;
	if (*reterr == '\0')
		(void)snprintf(reterr, STORE_PROBLEM_MAX,
			       "the database '%s' cannot be used: %.300s%s", name, store->problem,
			       advice(dirfd, r));
	return 1;
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	store_rollback(store);
	for (size_t i = 0; i < store->n_statements; i++)
		(void)sqlite3_finalize(store->statements[i].statement);
	(void)sqlite3_close(store->db);
	free(store);
	return NULL;
}
