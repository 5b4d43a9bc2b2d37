/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Blobs on their way, as people see them: one bar for all of them on a terminal, a line for each
 * that is there otherwise. All of it goes to stderr: stdout is for results.
 */

#include "cli/transfer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/command.h"

#define DIGEST_SHOWN  19 /* "sha256:" and twelve digits */
#define BAR_WIDTH     30U
#define REDRAW_USEC   100000U
#define PLATFORM_SIZE 32U
#define MEBIBYTE      1048576.0

bool transfer_option(struct transfer *transfer, int option, const char *value)
{
	switch (option) {
	case TRANSFER_CA:
		transfer->oci.ca_file = value;
		return true;
	case TRANSFER_AUTHFILE:
		transfer->oci.config_path = value;
		return true;
	case TRANSFER_CACHE:
		transfer->oci.cache_path = value;
		return true;
	case TRANSFER_QUIET:
		transfer->is_quiet = true;
		return true;
	default:
		return false;
	}
}

bool transfer_platform(const char *text, char os[32], char arch[32])
{
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : 0;

	if (!slash || length == 0 || length >= PLATFORM_SIZE || slash[1] == '\0' ||
	    strlen(slash + 1) >= PLATFORM_SIZE || strchr(slash + 1, '/'))
		return false;
	(void)snprintf(os, PLATFORM_SIZE, "%.*s", (int)length, text);
	(void)snprintf(arch, PLATFORM_SIZE, "%s", slash + 1);
	return true;
}

static struct transfer_blob *find(struct transfer *transfer, const char *digest)
{
	struct transfer_blob *larger;

	for (size_t i = 0; i < transfer->count; i++) {
		if (strcmp(transfer->blobs[i].digest, digest) == 0)
			return &transfer->blobs[i];
	}
	larger = reallocarray(transfer->blobs, transfer->count + 1, sizeof(*larger));
	if (!larger)
		return NULL;
	transfer->blobs = larger;
	larger[transfer->count] = (struct transfer_blob){0};
	(void)snprintf(larger[transfer->count].digest, sizeof(larger->digest), "%s", digest);
	return &larger[transfer->count++];
}

static void erase(struct transfer *transfer)
{
	if (transfer->has_bar)
		(void)fputs("\r\033[K", stderr);
	transfer->has_bar = false;
}

static void draw(struct transfer *transfer)
{
	static const char full[] = "##############################";
	uint64_t total = 0;
	uint64_t done = 0;
	unsigned filled;

	for (size_t i = 0; i < transfer->count; i++) {
		total += transfer->blobs[i].total;
		done += transfer->blobs[i].done;
	}
	filled = total > 0 ? (unsigned)((double)done / (double)total * BAR_WIDTH) : BAR_WIDTH;
	(void)fprintf(stderr, "\r\033[K[%-*.*s] %.1f of %.1f MiB", (int)BAR_WIDTH,
		      (int)MIN(filled, BAR_WIDTH), full, (double)done / MEBIBYTE,
		      (double)total / MEBIBYTE);
	(void)fflush(stderr);
	transfer->has_bar = true;
	transfer->shown = clock_monotonic_usec();
}

static void show_line(struct transfer *transfer, const struct oci_progress *progress)
{
	const char *digest = progress->digest ? progress->digest : "the registry";

	erase(transfer);
	if (progress->step == OCI_STEP_RETRY)
		(void)fprintf(stderr, "%.*s: %s, retrying\n", DIGEST_SHOWN, digest, progress->text);
	else if (progress->step == OCI_STEP_DONE && !transfer->is_terminal)
		(void)fprintf(stderr, "%.*s: %.1f MiB, done\n", DIGEST_SHOWN, digest,
			      (double)progress->total / MEBIBYTE);
	else if (progress->step == OCI_STEP_EXISTS && !transfer->is_terminal)
		(void)fprintf(stderr, "%.*s: was there\n", DIGEST_SHOWN, digest);
}

static void on_progress(void *userdata, const struct oci_progress *progress)
{
	struct transfer *transfer = userdata;
	struct transfer_blob *blob = NULL;

	if (progress->step != OCI_STEP_MOVED)
		show_line(transfer, progress);
	if (!transfer->is_terminal || progress->step == OCI_STEP_RETRY)
		return;
	blob = find(transfer, progress->digest);
	if (!blob)
		return;
	blob->done = progress->done;
	blob->total = progress->total;
	if (progress->step != OCI_STEP_MOVED ||
	    clock_monotonic_usec() - transfer->shown > REDRAW_USEC)
		draw(transfer);
}

void transfer_begin(struct transfer *transfer)
{
	transfer->is_terminal = isatty(STDERR_FILENO) == 1;
	transfer->oci.on_progress = transfer->is_quiet ? NULL : on_progress;
	transfer->oci.userdata = transfer;
}

void transfer_end(struct transfer *transfer)
{
	erase(transfer);
}

void transfer_done(struct transfer *transfer)
{
	erase(transfer);
	free(transfer->blobs);
	transfer->blobs = NULL;
	transfer->count = 0;
}

int transfer_failed(int r, const struct problem *problem, const char *what)
{
	if (r < 0)
		return command_broke(r, "%s", what);
	command_complain(problem->name, problem->text);
	return oci_condition_is_transient((enum oci_condition)r) ? COMMAND_TRY_AGAIN
								 : COMMAND_REFUSED;
}
