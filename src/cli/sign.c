/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix sign`: reads each bundle, says in the trusted comment what it is, and signs both. All
 * bundles are read and signed before the first signature is written, so that a refused one leaves
 * nothing behind.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "bundle/bundle.h"
#include "cli/commands.h"
#include "cli/password.h"
#include "crypto/minisign.h"

#define SECONDS_PER_HOUR 3600ULL
#define SECONDS_PER_DAY  86400ULL
/* The end of RFC 3339: no time is beyond the year 9999. */
#define TIME_MAX 253402300799ULL

#define SIGNATURE_SUFFIX ".minisig"

struct sign_options {
	const char *secret_path;
	uint64_t created;
	uint64_t expires; /* 0: never */
	uint64_t epoch;
};

/* What is to be written for one bundle. */
struct signing {
	char *path; /* of the signature */
	char *text;
	struct identity identity;
};

struct signings {
	struct signing *items;
	size_t count;
};

static void signings_done(struct signings *signings)
{
	for (size_t i = 0; i < signings->count; i++) {
		free(signings->items[i].path);
		free(signings->items[i].text);
	}
	free(signings->items);
}

/* Decimal digits, at most *max*; *ret_end* is behind them. */
static bool parse_number(const char *text, uint64_t max, uint64_t *ret, const char **ret_end)
{
	uint64_t n = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		n = n * 10 + (uint64_t)(*text - '0');
		if (n > max)
			return false;
	}
	*ret = n;
	*ret_end = text;
	return true;
}

/* RFC 3339, or a number of hours, days or weeks after *created*. */
static bool parse_expiry(const char *text, uint64_t created, uint64_t *ret)
{
	const char *unit = NULL;
	uint64_t seconds;
	uint64_t n = 0;

	if (clock_parse(text, &n) == 0) {
		*ret = n;
		return n > created;
	}
	if (!parse_number(text, TIME_MAX / (7 * SECONDS_PER_DAY), &n, &unit))
		return false;
	if (strcmp(unit, "h") == 0)
		seconds = n * SECONDS_PER_HOUR;
	else if (strcmp(unit, "d") == 0)
		seconds = n * SECONDS_PER_DAY;
	else if (strcmp(unit, "w") == 0)
		seconds = n * 7 * SECONDS_PER_DAY;
	else
		return false;
	if (seconds == 0 || seconds > TIME_MAX - created)
		return false;
	*ret = created + seconds;
	return true;
}

/* The time of signing: now, or SOURCE_DATE_EPOCH for results that can be repeated. */
static int find_created(uint64_t *ret)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	const char *text = getenv("SOURCE_DATE_EPOCH");
	const char *end = NULL;

	*ret = clock_realtime_sec();
	if (!text)
		return COMMAND_DONE;
	if (!parse_number(text, TIME_MAX, ret, &end) || *end != '\0')
		return command_usage(&command_sign,
				     "SOURCE_DATE_EPOCH '%s' is not a number of seconds", text);
	return COMMAND_DONE;
}

static int parse_option(int option, const char *value, struct sign_options *options)
{
	const char *end = NULL;

	switch (option) {
	case 's':
		options->secret_path = value;
		return COMMAND_DONE;
	case 'x':
		if (parse_expiry(value, options->created, &options->expires))
			return COMMAND_DONE;
		return command_usage(&command_sign,
				     "--expires '%s' is no time to come: expected one such as "
				     "2030-01-31T12:00:00Z, or 12h, 90d, 8w from now",
				     value);
	case 'e':
		if (parse_number(value, IDENTITY_EPOCH_MAX, &options->epoch, &end) && *end == '\0')
			return COMMAND_DONE;
		return command_usage(&command_sign, "--epoch '%s' is not a number up to %llu",
				     value, (unsigned long long)IDENTITY_EPOCH_MAX);
	default:
		return COMMAND_USAGE;
	}
}

static int parse_options(int argc, char **argv, struct sign_options *ret)
{
	static const struct option long_options[] = {
		{"expires", required_argument, NULL, 'x'},
		{"epoch",     required_argument, NULL, 'e'},
		{0        },
	};
	int option;
	int r;

	r = find_created(&ret->created);
	if (r != COMMAND_DONE)
		return r;
	while ((option = command_option(&command_sign, argc, argv, ":s:", long_options)) != -1) {
		r = parse_option(option, optarg, ret);
		if (r != COMMAND_DONE)
			return r;
	}
	if (!ret->secret_path)
		return command_usage(&command_sign, "-s is wanted: the secret key that signs");
	if (optind == argc)
		return command_usage(&command_sign, "a bundle is wanted");
	return COMMAND_DONE;
}

/* The secret key, with its password where it needs one. */
static int load_key(const char *path, struct minisign_secret_key *ret)
{
	cleanup_secret char *password = NULL;
	cleanup_secret char *text = NULL;
	size_t size = 0;
	int r;

	r = command_read_file(path, MINISIGN_FILE_MAX, &text, &size);
	if (r < 0)
		return command_broke(r, "the secret key '%s' could not be read", path);
	r = minisign_secret_key_parse(text, size, NULL, ret);
	if (r == MINISIGN_E_PASSWORD) {
		r = password_read("password of the secret key", false, &password);
		if (r < 0)
			return command_error("%s", password_problem(r));
		r = minisign_secret_key_parse(text, size, password, ret);
	}
	if (r == 0)
		return COMMAND_DONE;
	if (r < 0)
		return command_broke(r,
				     "the secret key '%s' could not be opened (a password takes "
				     "1 GiB of memory)",
				     path);
	if (r == MINISIGN_E_PASSWORD)
		return command_error("the password does not open the secret key '%s'", path);
	return command_error("'%s' is not a secret key as 'affix keygen' makes it", path);
}

/* Signs one bundle in memory. */
static int sign_bundle(const char *path, const struct sign_options *options,
		       const struct minisign_secret_key *key, struct signing *ret)
{
	cleanup_bundle struct bundle *bundle = NULL;
	struct refusal refusal = REFUSAL_INIT;
	cleanup_free char *comment = NULL;
	cleanup_fd int fd = -EBADF;
	struct identity identity;
	int r;

	r = command_open_file(path, &fd);
	if (r == 0)
		r = bundle_open(fd, NULL, NULL, &bundle, &refusal);
	if (r < 0)
		return command_broke(r, "the bundle '%s' could not be read", path);
	if (r > 0)
		return command_refuse(&refusal);
	identity = bundle->identity;
	identity.created = options->created;
	identity.expires = options->expires;
	identity.epoch = options->epoch;
	r = identity_format(&identity, &comment);
	if (r == 0)
		r = minisign_sign(key, &bundle->digest, comment, &ret->text);
	if (r == 0)
		r = str_format(&ret->path, "%s" SIGNATURE_SUFFIX, path);
	if (r < 0)
		return command_broke(r, "the bundle '%s' could not be signed", path);
	ret->identity = identity;
	return COMMAND_DONE;
}

static int write_signature(const struct signing *signing)
{
	const struct file_attributes attributes = {0644, geteuid(), getegid()};
	/* What was signed has a text; the analyzer does not see it. */
	const char *text = signing->text ? signing->text : "";
	cleanup_fd int parent = -EBADF;
	const char *name = NULL;
	int r;

	r = command_open_parent(signing->path, &parent, &name);
	if (r == 0)
		r = file_replace(parent, name, text, strlen(text), &attributes);
	if (r == 0)
		r = dir_sync(parent);
	if (r < 0)
		return command_broke(r, "the signature '%s' could not be written", signing->path);
	return COMMAND_DONE;
}

static void report(const struct signing *signing)
{
	const struct identity *identity = &signing->identity;
	char text[CLOCK_TEXT_SIZE];

	(void)printf("%s: %s %s for %s/%s", signing->path, identity->id, identity->version,
		     identity->os, identity->arch);
	if (identity->expires > 0) {
		clock_format(identity->expires, text);
		(void)printf(", expires %s", text);
	}
	if (identity->epoch > 0)
		(void)printf(", epoch %llu", (unsigned long long)identity->epoch);
	(void)putchar('\n');
}

static int run_sign(int argc, char **argv)
{
	CLEANUP(signings_done) struct signings signings = {0};
	cleanup_secret_key struct minisign_secret_key key = {0};
	struct sign_options options = {0};
	int r;

	r = parse_options(argc, argv, &options);
	if (r == COMMAND_DONE)
		r = load_key(options.secret_path, &key);
	if (r != COMMAND_DONE)
		return r;
	signings.items = calloc((size_t)(argc - optind), sizeof(*signings.items));
	if (!signings.items)
		return command_broke(-ENOMEM, "nothing was signed");
	for (int i = optind; i < argc; i++) {
		r = sign_bundle(argv[i], &options, &key, &signings.items[signings.count++]);
		if (r != COMMAND_DONE)
			return r;
	}
	for (size_t i = 0; i < signings.count; i++) {
		r = write_signature(&signings.items[i]);
		if (r != COMMAND_DONE)
			return r;
		report(&signings.items[i]);
	}
	command_note_change();
	return COMMAND_DONE;
}

const struct command command_sign = {
	.name = "sign",
	.run = run_sign,
	.synopsis = "-s SEC [--expires WHEN] [--epoch N] BUNDLE…",
	.summary = "sign bundles, each into BUNDLE.minisig",
	.options =
		"  -s SEC          the secret key; its password is asked for, or read from stdin\n"
		"  --expires WHEN  no install after this: 2030-01-31T12:00:00Z, or 12h, 90d, 8w\n"
		"  --epoch N       raises the floor above every version of a lower epoch\n",
};
