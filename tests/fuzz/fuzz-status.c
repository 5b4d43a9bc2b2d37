/* SPDX-License-Identifier: Apache-2.0 */

/* The status message of a host, JSON that the store itself reads: whatever it says, the fleet can
 * be asked afterwards, and the next good message is taken. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "control/assign.h"
#include "control/fleet.h"
#include "control/status.h"
#include "control/store.h"
#include "control/token.h"
#include "scratch.h"

#define CONNECTION 1U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fleet *fleet;
static struct store *reader; /* a second view of the same database */
static int root_fd = -EBADF;

static uint64_t fixed_clock(void)
{
	return 1800000000;
}

static void ignore_message(void *userdata, uint64_t connection, const void *data, size_t size,
			   bool close_after)
{
	(void)userdata;
	(void)connection;
	(void)data;
	(void)size;
	(void)close_after;
}

static void refuse_nothing(void *userdata, uint64_t connection, unsigned status,
			   unsigned retry_after)
{
	(void)userdata;
	(void)connection;
	(void)status;
	(void)retry_after;
	abort();
}

static void close_fleet(void)
{
	fleet = fleet_free(fleet);
	reader = store_free(reader);
	root_fd = fd_close(root_fd);
}

static void report(const uint8_t *data, size_t size)
{
	static uint64_t sequence;
	const struct fleet_report said = {
		.connection = CONNECTION,
		.sequence = sequence,
		.has_description = true,
		.has_custom_message = true,
		.custom_capability = "io.affix.status",
		.custom_type = "status",
		.custom_data = {data, size},
	};

	sequence++;
	must(fleet_report(fleet, &said) == 0 && fleet_flush(fleet) == 0);
}

static void make_fleet(void)
{
	const struct fleet_output output = {NULL, ignore_message, refuse_nothing};
	const struct fleet_options options = {
		.data_dirfd = root_fd, .trust_dirfd = -EBADF, .clock = fixed_clock};
	const struct token_join join = {.name = "fuzz"};
	struct fleet_hello hello = {.connection = CONNECTION};
	struct token token = {0};
	char header[TOKEN_TEXT_SIZE + 8] = "Bearer ";
	char problem[FLEET_PROBLEM_MAX];
	int64_t id = 0;

	must(fleet_open(&options, &output, &fleet, problem) == 0);
	must(store_open(root_fd, "affixd.db", &reader, problem) == 0);
	must(store_begin(reader) == 0);
	must(token_create_join(reader, &join, fixed_clock(), &token, &id) == 0);
	must(store_commit(reader) == 0);
	memcpy(header + strlen(header), token.text, strlen(token.text) + 1);
	hello.authorization = header;
	must(fleet_hello(fleet, &hello) == 0);
}

/* Every row that came of it is one that can be shown. */
static void check_rows(void)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;

	must(store_select(reader, &rows, "SELECT state, said_drift FROM observed") == 0);
	while (store_next(rows, &row) == 0 && row) {
		cleanup_json json_t *drift = NULL;

		must(status_state_from_string(store_text(rows, 0)) != STATUS_STATE_INVALID);
		if (store_is_null(rows, 1))
			continue;
		drift = json_loads(store_text(rows, 1), 0, NULL);
		must(json_is_array(drift) && json_array_size(drift) <= STATUS_DRIFT_N);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char good[] = "{\"schema\":1,\"addons\":[{\"id\":\"demo\",\"state\":"
				   "\"running\",\"version\":\"1.0.0\"}]}";
	int64_t n = 0;

	if (root_fd < 0) {
		root_fd = scratch_make();
		must(atexit(close_fleet) == 0);
		make_fleet();
	}
	report(data, size);
	check_rows();
	report((const uint8_t *)good, strlen(good));
	must(store_number(reader, &n, 0, "SELECT count(*) FROM observed") == 0 && n == 1);
	return 0;
}
