/* SPDX-License-Identifier: Apache-2.0 */

/* `affix image cache`: the blobs that pulls leave for the next ones, listed and taken away. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/image.h"
#include "cli/transfer.h"
#include "oci/cache.h"

#define SECONDS_PER_DAY 86400ULL
#define DAYS_MAX        36500ULL

struct cache_options {
	const char *path;
	bool json;
	bool has_age;
	uint64_t days;
	const char *verb;
};

/* Whole days: "30d". */
static int parse_age(const char *text, struct cache_options *ret)
{
	const char *at = text;
	uint64_t days = 0;

	for (; *at >= '0' && *at <= '9' && days <= DAYS_MAX; at++)
		days = days * 10 + (uint64_t)(*at - '0');
	if (at == text || days > DAYS_MAX || strcmp(at, "d") != 0)
		return command_usage(&command_image_cache,
				     "--older-than '%s' is no age: expected days, such as 30d",
				     text);
	ret->days = days;
	ret->has_age = true;
	return COMMAND_DONE;
}

static int parse_options(int argc, char **argv, struct cache_options *ret)
{
	static const struct option long_options[] = {
		{"cache",            required_argument, NULL, 'c'},
		{"older-than",              required_argument, NULL, 'o'},
		{"json",                  no_argument, NULL, 'j'},
		{0},
	};
	int option;

	while ((option = command_option(&command_image_cache, argc, argv, ":", long_options)) !=
	       -1) {
		if (option == 'c') {
			ret->path = optarg;
		} else if (option == 'j') {
			ret->json = true;
		} else if (option == 'o') {
			int code = parse_age(optarg, ret);

			if (code != COMMAND_DONE)
				return code;
		} else {
			return COMMAND_USAGE;
		}
	}
	ret->verb = argc - optind == 1 ? argv[optind] : "";
	if (strcmp(ret->verb, "ls") != 0 && strcmp(ret->verb, "prune") != 0)
		return command_usage(&command_image_cache, "'ls' or 'prune' is wanted");
	if (ret->has_age && strcmp(ret->verb, "prune") != 0)
		return command_usage(&command_image_cache, "--older-than is for 'prune'");
	return COMMAND_DONE;
}

static int list_json(const struct oci_cache *cache, const struct oci_cache_list *list)
{
	cleanup_json json_t *json = command_json_new();
	cleanup_json json_t *items = json_array();

	if (!json || !items || json_add_string(json, "path", cache->path) < 0)
		return command_broke(-ENOMEM, "the answer could not be made");
	for (size_t i = 0; i < list->count; i++) {
		const struct oci_cache_entry *entry = &list->items[i];
		cleanup_json json_t *item = json_object();
		char used[CLOCK_TEXT_SIZE];

		clock_format(entry->used, used);
		if (!item || json_add_string(item, "digest", entry->digest) < 0 ||
		    json_add_uint(item, "size", entry->size) < 0 ||
		    json_add_string(item, "used", used) < 0 ||
		    json_add(item, "complete", json_boolean(!entry->is_partial)) < 0 ||
		    json_append(items, TAKE_PTR(item)) < 0)
			return command_broke(-ENOMEM, "the answer could not be made");
	}
	if (json_add(json, "blobs", TAKE_PTR(items)) < 0)
		return command_broke(-ENOMEM, "the answer could not be made");
	return command_print_json(json);
}

static int list_cache(const struct oci_cache *cache, const struct cache_options *options)
{
	cleanup_oci_cache_list struct oci_cache_list list = {0};
	uint64_t total = 0;
	int r = oci_cache_list(cache, &list);

	if (r < 0)
		return command_broke(r, "the cache '%s' could not be read", cache->path);
	if (options->json)
		return list_json(cache, &list);
	for (size_t i = 0; i < list.count; i++) {
		const struct oci_cache_entry *entry = &list.items[i];
		char used[CLOCK_TEXT_SIZE];

		clock_format(entry->used, used);
		(void)printf("%s %12llu  %s%s\n", entry->digest, (unsigned long long)entry->size,
			     used, entry->is_partial ? "  incomplete" : "");
		total += entry->size;
	}
	(void)printf("%zu blobs, %llu bytes, in %s\n", list.count, (unsigned long long)total,
		     cache->path);
	return COMMAND_DONE;
}

static int prune_cache(struct oci_cache *cache, const struct cache_options *options)
{
	struct problem problem = PROBLEM_INIT;
	cleanup_json json_t *json = NULL;
	uint64_t before = UINT64_MAX;
	uint64_t count = 0;
	uint64_t size = 0;
	int r;

	if (options->has_age)
		before = clock_realtime_sec() - options->days * SECONDS_PER_DAY;
	r = oci_cache_prune(cache, before, &count, &size, &problem);
	if (r != 0)
		return transfer_failed(r, &problem, "the cache could not be pruned");
	command_note_change();
	if (!options->json) {
		(void)printf("%llu blobs removed, %llu bytes\n", (unsigned long long)count,
			     (unsigned long long)size);
		return COMMAND_DONE;
	}
	json = command_json_new();
	if (!json || json_add_uint(json, "removed", count) < 0 ||
	    json_add_uint(json, "bytes", size) < 0)
		return command_broke(-ENOMEM, "the answer could not be made");
	return command_print_json(json);
}

static int run_image_cache(int argc, char **argv)
{
	cleanup_oci_cache struct oci_cache cache = OCI_CACHE_INIT;
	struct problem problem = PROBLEM_INIT;
	struct cache_options options = {0};
	int code = parse_options(argc, argv, &options);
	int r;

	if (code != COMMAND_DONE)
		return code;
	r = oci_cache_open(options.path, &cache, &problem);
	if (r != 0)
		return transfer_failed(r, &problem, "the cache could not be opened");
	return strcmp(options.verb, "ls") == 0 ? list_cache(&cache, &options)
					       : prune_cache(&cache, &options);
}

const struct command command_image_cache = {
	.name = "image cache",
	.run = run_image_cache,
	.synopsis = "[--cache DIR] [--older-than AGE] [--json] ls|prune",
	.summary = "list or remove the blobs that were pulled from registries",
	.options = "  --cache DIR       the cache (default: $XDG_CACHE_HOME/affix/oci)\n"
		   "  --older-than AGE  prune what was not used for so many days: 30d\n"
		   "  --json            a JSON object: affix(1), JSON OUTPUT\n",
};
