/* SPDX-License-Identifier: Apache-2.0 */

/* The options of the commands that work on hosts: one table for all, each command names its own. */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/host.h"

static const struct option all_options[] = {
	{"root",            required_argument, NULL, 'r'},
	{"json",            no_argument,       NULL, 'j'},
	{"trust",           required_argument, NULL, 't'},
	{"config",          required_argument, NULL, 'c'},
	{"signature",       required_argument, NULL, 's'},
	{"bundle",          required_argument, NULL, 'b'},
	{"allow-downgrade", no_argument,       NULL, 'd'},
	{"limit",           required_argument, NULL, 'l'},
	{"capabilities",    required_argument, NULL, 'C'},
	{"to",              required_argument, NULL, 'v'},
	{"purge",           no_argument,       NULL, 'p'},
	{"reread",          no_argument,       NULL, 'R'},
	{"release",         no_argument,       NULL, 'L'},
	{"stop",            no_argument,       NULL, 'S'},
	{"reason",          required_argument, NULL, 'm'},
};

/* Copies an option's value into a field of the request. */
static int set_text(const struct host_call *call, char *field, size_t size, const char *what,
		    const char *value)
{
	size_t length = strlen(value);

	if (length == 0 || length >= size)
		return command_usage(call->command, "the %s must have 1 to %zu bytes", what,
				     size - 1);
	memcpy(field, value, length + 1);
	return COMMAND_DONE;
}

int host_set_id(struct host_call *call, const char *id)
{
	return set_text(call, call->request.id, sizeof(call->request.id), "add-on's id", id);
}

/* KEY=N; which keys there are is the request's business. */
static int add_limit(struct host_call *call, const char *text)
{
	const char *equals = strchr(text, '=');
	cleanup_free char *key = equals ? strndup(text, (size_t)(equals - text)) : NULL;
	const char *digits = equals ? equals + 1 : "";
	char *end = NULL;
	long long value;

	errno = 0;
	value = strtoll(digits, &end, 10);
	if (!key || *digits < '0' || *digits > '9' || *end || errno != 0)
		return command_usage(call->command,
				     "'%s' is no limit: KEY=N with a whole number N is wanted",
				     text);
	if (!call->request.limits)
		call->request.limits = json_object();
	if (!call->request.limits || json_add(call->request.limits, key, json_integer(value)) < 0)
		return command_broke(-ENOMEM, "a limit could not be added");
	return COMMAND_DONE;
}

/* A list with commas; an empty one grants nothing. */
static int set_capabilities(struct host_call *call, const char *text)
{
	struct request *request = &call->request;

	json_decref(request->capabilities);
	request->capabilities = json_array();
	request->has_capabilities = true;
	while (request->capabilities && *text) {
		size_t length = strcspn(text, ",");

		if (json_append(request->capabilities, json_stringn(text, length)) < 0)
			return command_usage(call->command,
					     "the capabilities must be names with commas");
		text += length + (text[length] == ',');
	}
	return request->capabilities ? COMMAND_DONE
				     : command_broke(-ENOMEM, "capabilities could not be read");
}

static int apply_value(struct host_call *call, int option, const char *value)
{
	struct request *request = &call->request;

	switch (option) {
	case 'r':
		call->root = value;
		return COMMAND_DONE;
	case 't':
		call->trust = value;
		return COMMAND_DONE;
	case 'c':
		call->config = value;
		return COMMAND_DONE;
	case 's':
		call->signature = value;
		return COMMAND_DONE;
	case 'b':
		call->bundle = value;
		return COMMAND_DONE;
	case 'l':
		return add_limit(call, value);
	case 'C':
		return set_capabilities(call, value);
	case 'v':
		return set_text(call, request->version, sizeof(request->version), "version", value);
	case 'm':
		return set_text(call, request->reason, sizeof(request->reason), "reason", value);
	default:
		return COMMAND_USAGE;
	}
}

static int apply_option(struct host_call *call, int option, const char *value)
{
	struct request *request = &call->request;

	switch (option) {
	case 'j':
		call->json = true;
		return COMMAND_DONE;
	case 'd':
		request->allow_downgrade = true;
		return COMMAND_DONE;
	case 'p':
		request->purge = true;
		return COMMAND_DONE;
	case 'R':
		request->use_running = true;
		return COMMAND_DONE;
	case 'L':
		request->release = true;
		return COMMAND_DONE;
	case 'S':
		request->stop = true;
		return COMMAND_DONE;
	default:
		return apply_value(call, option, value);
	}
}

int host_parse(struct host_call *call, int argc, char **argv, const char *letters)
{
	struct option options[ARRAY_SIZE(all_options) + 1] = {0};
	size_t n = 0;
	int option;

	for (size_t i = 0; i < ARRAY_SIZE(all_options); i++) {
		if (strchr("rj", all_options[i].val) || strchr(letters, all_options[i].val))
			options[n++] = all_options[i];
	}
	while ((option = command_option(call->command, argc, argv, ":", options)) != -1) {
		int r = apply_option(call, option, optarg);

		if (r != COMMAND_DONE)
			return r;
	}
	if (call->trust && !call->root)
		return command_usage(call->command,
				     "--trust goes with --root; a running host trusts the keys in "
				     "its own /etc/affix/trust.d");
	return COMMAND_DONE;
}
