/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/*
 * Where the fleet's state lies: a relational database behind one small interface. Statements are
 * written in what SQLite and PostgreSQL both speak, parameters as $1, $2, …; an implementation
 * brings the schema up to date when it opens (store_schema.h). Used by one thread.
 *
 * Functions return 0, -errno, or one of the conditions below. -ENOSPC: disk full; -EBUSY: somebody
 * else holds the database for too long; -EBADMSG: it is damaged; -EIO: anything else that the
 * database says. store_problem() has its words.
 */
struct store;
struct store_rows;

enum store_condition {
	STORE_E_EXISTS = 1, /* a unique key is taken */
	STORE_E_REFERENCE,  /* a row that is pointed at is not there, or is still pointed at */
};

#define STORE_PROBLEM_MAX 512U

/* A value for a parameter; borrowed for the call. */
struct store_value {
	enum {
		STORE_VALUE_NULL,
		STORE_VALUE_INT,
		STORE_VALUE_TEXT,
		STORE_VALUE_BLOB
	} type;

	int64_t number;
	const void *data;
	size_t size;
};

#define STORE_NULL   ((struct store_value){.type = STORE_VALUE_NULL})
#define STORE_INT(n) ((struct store_value){.type = STORE_VALUE_INT, .number = (int64_t)(n)})
/* NULL text is the null value. */
#define STORE_TEXT(s)    store_value_text(s)
#define STORE_BLOB(p, n) ((struct store_value){.type = STORE_VALUE_BLOB, .data = (p), .size = (n)})

struct store_value store_value_text(const char *text);

/*
 * Opens the database in the file *name* of the directory *dirfd*, which is made if it is not there.
 * 0; 1 with a sentence in *reterr* (STORE_PROBLEM_MAX bytes) where it cannot be used: damaged, not
 * a database, made by a newer affixd, locked; -errno.
 */
must_check int store_open(int dirfd, const char *name, struct store **ret, char *reterr);
struct store *store_free(struct store *store);

DEFINE_CLEANUP(struct store *, store, store_free)
#define cleanup_store CLEANUP(cleanup_store)

/* What the last failure was about. Never NULL. */
const char *store_problem(const struct store *store);

/*
 * Transactions. store_begin() begins one unless one is open; all that follows belongs to it.
 * Without one, a statement that changes something is -EINVAL. After a failure that ended the
 * transaction inside the database (a full disk) every statement fails with it until
 * store_rollback().
 */
must_check int store_begin(struct store *store);
must_check int store_commit(struct store *store);
void store_rollback(struct store *store);
bool store_is_changing(const struct store *store);

/* A part of the transaction that can be taken back alone. Parts may be nested. */
must_check int store_mark(struct store *store);
must_check int store_keep(struct store *store);
void store_undo(struct store *store);

/* One statement without result rows: store_run(store, "UPDATE …", STORE_INT(…), …). */
#define store_run(store, sql, ...)                                                  \
	store_run_values((store), (sql), (const struct store_value[]){__VA_ARGS__}, \
			 sizeof((const struct store_value[]){__VA_ARGS__}) /        \
				 sizeof(struct store_value))
must_check int store_run_values(struct store *store, const char *sql,
				const struct store_value *values, size_t n);

/* How many rows the last store_run() changed. */
int64_t store_changes(const struct store *store);

/*
 * One statement with rows (INSERT … RETURNING too). The texts and blobs of a row are valid until
 * the next store_next(). Ends with store_rows_free(), best by cleanup_rows.
 */
#define store_select(store, ret, sql, ...)                                                    \
	store_select_values((store), (ret), (sql), (const struct store_value[]){__VA_ARGS__}, \
			    sizeof((const struct store_value[]){__VA_ARGS__}) /               \
				    sizeof(struct store_value))
must_check int store_select_values(struct store *store, struct store_rows **ret, const char *sql,
				   const struct store_value *values, size_t n);
struct store_rows *store_rows_free(struct store_rows *rows);

DEFINE_CLEANUP(struct store_rows *, rows, store_rows_free)
#define cleanup_rows CLEANUP(cleanup_rows)

/* 0 with *ret_row* whether there is one more row; a condition; -errno. */
must_check int store_next(struct store_rows *rows, bool *ret_row);

bool store_is_null(const struct store_rows *rows, unsigned column);
/* 0 for null. */
int64_t store_int(const struct store_rows *rows, unsigned column);
/* NULL for null. */
const char *store_text(const struct store_rows *rows, unsigned column);
const void *store_blob(const struct store_rows *rows, unsigned column, size_t *ret_size);

/* The number in the only column of the first row; *fallback* without one. */
#define store_number(store, ret, fallback, sql, ...)                                          \
	store_number_values(                                                                  \
		(store), (ret), (fallback), (sql), (const struct store_value[]){__VA_ARGS__}, \
		sizeof((const struct store_value[]){__VA_ARGS__}) / sizeof(struct store_value))
must_check int store_number_values(struct store *store, int64_t *ret, int64_t fallback,
				   const char *sql, const struct store_value *values, size_t n);
