/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The header of a request, read by root from whoever may open the socket. One table says which
 * members each verb takes and which it needs: a member that a verb would not look at is refused, so
 * that nobody believes in an effect it does not have. What the fleet may not ask for is not in its
 * table either: a new verb or member is denied until somebody grants it.
 */

#include "ipc/request.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"

#define REQUEST_SCHEMA           1U
#define REQUEST_CAPABILITIES_MAX 16U
#define REQUEST_CAPABILITY_MAX   32U
/* How much of a foreign key is shown in a sentence. */
#define REQUEST_SHOWN_MAX 64U

enum member {
	MEMBER_ID = 1U << 0,
	MEMBER_VERSION = 1U << 1,
	MEMBER_PURGE = 1U << 2,
	MEMBER_RELEASE = 1U << 3,
	MEMBER_STOP = 1U << 4,
	MEMBER_ALLOW_DOWNGRADE = 1U << 5,
	MEMBER_USE_RUNNING = 1U << 7,
	MEMBER_REASON = 1U << 8,
	MEMBER_CAPABILITIES = 1U << 9,
	MEMBER_LIMITS = 1U << 10,
	MEMBER_BUNDLE = 1U << 11,
	MEMBER_SIGNATURE = 1U << 12,
	MEMBER_CONFIG = 1U << 13,
};

#define OF_BUNDLE (MEMBER_BUNDLE | MEMBER_SIGNATURE)
/* The id is what the peer expects the bundle to be. */
#define OF_INSTALL   (MEMBER_ID | MEMBER_CONFIG | MEMBER_CAPABILITIES | MEMBER_LIMITS)
#define OF_CONFIGURE (MEMBER_CONFIG | MEMBER_USE_RUNNING)
#define OF_HOLD      (MEMBER_RELEASE | MEMBER_STOP | MEMBER_REASON)

struct verb {
	const char *name;
	bool is_fleet;
	unsigned needs;
	unsigned takes; /* besides what it needs */
	unsigned admin; /* what only the administrator may add */
};

static const struct verb verbs[] = {
	[REQUEST_INSTALL] = {"install",          true,  OF_BUNDLE, OF_INSTALL,   MEMBER_ALLOW_DOWNGRADE},
	[REQUEST_ROLLBACK] = {"rollback",         true,  MEMBER_ID, 0,            MEMBER_VERSION        },
	[REQUEST_UNINSTALL] = {"uninstall",        true,  MEMBER_ID, 0,            MEMBER_PURGE          },
	[REQUEST_CONFIGURE] = {"configure",        true,  MEMBER_ID, OF_CONFIGURE, 0                     },
	[REQUEST_STATUS] = {"status",           true,  0,         MEMBER_ID,    0                     },
	[REQUEST_DRIFT] = {"drift",            true,  0,         MEMBER_ID,    0                     },
	[REQUEST_REPAIR] = {"repair",           true,  MEMBER_ID, OF_BUNDLE,    0                     },
	[REQUEST_PLAN] = {"plan",             true,  OF_BUNDLE, OF_INSTALL,   0                     },
	[REQUEST_PRUNE] = {"prune",            false, MEMBER_ID, 0,            0                     },
	[REQUEST_HOLD] = {"hold",             false, MEMBER_ID, OF_HOLD,      0                     },
	[REQUEST_CLEAR_QUARANTINE] = {"clear-quarantine", false, MEMBER_ID, 0,            0                     },
};

static_assert(ARRAY_SIZE(verbs) == REQUEST_VERB_N, "every verb has its row");

static const struct {
	const char *name;
	unsigned member;
	size_t offset; /* of a bool in struct request */
} flags[] = {
	{"purge",           MEMBER_PURGE,           offsetof(struct request, purge)          },
	{"release",         MEMBER_RELEASE,         offsetof(struct request, release)        },
	{"stop",            MEMBER_STOP,            offsetof(struct request, stop)           },
	{"allow_downgrade", MEMBER_ALLOW_DOWNGRADE, offsetof(struct request, allow_downgrade)},
	{"use_running",     MEMBER_USE_RUNNING,     offsetof(struct request, use_running)    },
};

static const char *const fd_names[] = {
	[REQUEST_FD_BUNDLE] = "bundle",
	[REQUEST_FD_SIGNATURE] = "signature",
	[REQUEST_FD_CONFIG] = "config",
};

static_assert(ARRAY_SIZE(fd_names) == REQUEST_FD_N, "every descriptor has a name");

static const char *const keys[] = {
	"schema",      "verb",         "request_id", "id",     "version",
	"purge",       "release",      "stop",       "reason", "allow_downgrade",
	"use_running", "capabilities", "limits",     "fds",    NULL,
};

const char *request_verb_to_string(enum request_verb verb)
{
	return verb >= 0 && verb < REQUEST_VERB_N ? verbs[verb].name : NULL;
}

const char *request_fd_to_string(enum request_fd fd)
{
	return fd >= 0 && fd < REQUEST_FD_N ? fd_names[fd] : NULL;
}

void request_done(struct request *request)
{
	json_decref(request->capabilities);
	json_decref(request->limits);
	*request = REQUEST_INIT;
}

static int refuse_key(struct refusal *refusal, const char *key, const char *wanted)
{
	return refuse(refusal, REFUSAL_BAD_REQUEST,
		      "the request's '%s' is not acceptable: it must be %s", key, wanted);
}

/* For what the peer itself wrote; a sentence without it where there is no memory to escape it. */
static int refuse_text(struct refusal *refusal, enum refusal_code code, const char *what,
		       const char *text)
{
	cleanup_free char *shown = str_escape(text, strlen(text), REQUEST_SHOWN_MAX);

	return refuse(refusal, code, "the request %s '%s'; affix-updater(8) lists what it may hold",
		      what, shown ? shown : "?");
}

static bool consists_of(const char *s, const char *more)
{
	for (; *s; s++) {
		bool is_plain = (*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9');

		if (!is_plain && !strchr(more, *s))
			return false;
	}
	return true;
}

/* `[a-z][a-z0-9]*(-[a-z0-9]+)*`; whether it is reserved is the manifest's business. */
static bool is_id(const char *s)
{
	return *s >= 'a' && *s <= 'z' && consists_of(s, "-") && !strstr(s, "--") &&
	       !str_ends_with(s, "-");
}

#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_request_id(const char *s)
{
	return consists_of(s, UPPER "._-");
}

static bool is_version(const char *s)
{
	return consists_of(s, UPPER ".+-");
}

/* Text for people that needs no escaping. */
static bool is_sentence(const char *s)
{
	cleanup_free char *escaped = str_escape(s, strlen(s), strlen(s));

	return escaped && strcmp(escaped, s) == 0;
}

struct text_rule {
	const char *key;
	const char *wanted;
	bool (*accepts)(const char *s);
};

/* Copies an optional string of 1 to *size* - 1 bytes that the rule accepts. */
static int take_text(const json_t *json, const struct text_rule *rule, char *ret, size_t size,
		     struct refusal *refusal)
{
	const char *value = NULL;
	int r = json_member_string(json, rule->key, &value);

	if (r == -ENOENT)
		return 0;
	if (r < 0 || *value == '\0' || strlen(value) >= size || !rule->accepts(value))
		return refuse_key(refusal, rule->key, rule->wanted);
	memcpy(ret, value, strlen(value) + 1);
	return 0;
}

static int take_texts(const json_t *json, struct request *request, struct refusal *refusal)
{
	static const struct text_rule request_id = {
		"request_id", "1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'",
		is_request_id};
	static const struct text_rule id = {
		"id", "an add-on's id, such as 'net-probe', of at most 25 characters", is_id};
	static const struct text_rule version = {"version", "a version of at most 64 characters",
						 is_version};
	static const struct text_rule reason = {
		"reason", "1 to 256 bytes of text without control characters", is_sentence};
	int r;

	r = take_text(json, &request_id, request->request_id, sizeof(request->request_id), refusal);
	if (r == 0)
		r = take_text(json, &id, request->id, sizeof(request->id), refusal);
	if (r == 0)
		r = take_text(json, &version, request->version, sizeof(request->version), refusal);
	if (r == 0)
		r = take_text(json, &reason, request->reason, sizeof(request->reason), refusal);
	return r;
}

static int take_flags(const json_t *json, struct request *request, struct refusal *refusal)
{
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		bool *value = (bool *)((char *)request + flags[i].offset);

		if (json_member_bool(json, flags[i].name, value) == -EINVAL)
			return refuse_key(refusal, flags[i].name, "true or false");
	}
	return 0;
}

static int take_capabilities(const json_t *json, struct request *request, struct refusal *refusal)
{
	static const char wanted[] =
		"an array of at most 16 names such as 'cap_net_raw', none twice";
	json_t *array = NULL;
	int r = json_member_array(json, "capabilities", &array);

	if (r == -ENOENT)
		return 0;
	if (r < 0 || json_array_size(array) > REQUEST_CAPABILITIES_MAX)
		return refuse_key(refusal, "capabilities", wanted);
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *name = json_string_value(json_array_get(array, i));

		if (str_is_empty(name) || strlen(name) > REQUEST_CAPABILITY_MAX ||
		    !consists_of(name, "_"))
			return refuse_key(refusal, "capabilities", wanted);
		for (size_t j = 0; j < i; j++) {
			if (str_equal(json_string_value(json_array_get(array, j)), name))
				return refuse_key(refusal, "capabilities", wanted);
		}
	}
	request->has_capabilities = true;
	request->capabilities = json_incref(array);
	return 0;
}

static int take_limits(const json_t *json, struct request *request, struct refusal *refusal)
{
	static const char *const names[] = {"cpu_max_percent", "memory_high_bytes",
					    "memory_max_bytes", "tasks_max", NULL};
	static const char wanted[] =
		"an object of cpu_max_percent, memory_high_bytes, memory_max_bytes and tasks_max, each a whole number, 0 or more";
	json_t *object = NULL;
	const char *key;
	json_t *value;
	int r = json_member_object(json, "limits", &object);

	if (r == -ENOENT)
		return 0;
	if (r < 0 || json_unknown_key(object, names))
		return refuse_key(refusal, "limits", wanted);
	json_object_foreach(object, key, value)
	{
		if (!json_is_integer(value) || json_integer_value(value) < 0)
			return refuse_key(refusal, "limits", wanted);
	}
	request->limits = json_incref(object);
	return 0;
}

static int take_fds(const json_t *json, struct request *request, struct refusal *refusal)
{
	static const char wanted[] = "an array of 'bundle', 'signature' and 'config', none twice";
	json_t *array = NULL;
	unsigned seen = 0;
	int r = json_member_array(json, "fds", &array);

	if (r == -ENOENT)
		return 0;
	if (r < 0 || json_array_size(array) > REQUEST_FDS_MAX)
		return refuse_key(refusal, "fds", wanted);
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *name = json_string_value(json_array_get(array, i));
		unsigned kind = 0;

		while (kind < REQUEST_FD_N && !str_equal(fd_names[kind], name))
			kind++;
		if (kind == REQUEST_FD_N || (seen & (1U << kind)))
			return refuse_key(refusal, "fds", wanted);
		seen |= 1U << kind;
		request->fds[request->n_fds++] = (enum request_fd)kind;
	}
	return 0;
}

/* The members that *request* has: a flag that is false is as good as absent. */
static unsigned members_of(const struct request *request)
{
	static const unsigned fd_members[] = {
		[REQUEST_FD_BUNDLE] = MEMBER_BUNDLE,
		[REQUEST_FD_SIGNATURE] = MEMBER_SIGNATURE,
		[REQUEST_FD_CONFIG] = MEMBER_CONFIG,
	};
	unsigned members = 0;

	if (request->id[0])
		members |= MEMBER_ID;
	if (request->version[0])
		members |= MEMBER_VERSION;
	if (request->reason[0])
		members |= MEMBER_REASON;
	if (request->has_capabilities)
		members |= MEMBER_CAPABILITIES;
	if (request->limits)
		members |= MEMBER_LIMITS;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (*(const bool *)((const char *)request + flags[i].offset))
			members |= flags[i].member;
	}
	for (size_t i = 0; i < request->n_fds; i++)
		members |= fd_members[request->fds[i]];
	return members;
}

static const char *member_to_string(unsigned members)
{
	static const struct {
		unsigned member;
		const char *name;
	} others[] = {
		{MEMBER_ID,           "id"          },
		{MEMBER_VERSION,      "version"     },
		{MEMBER_REASON,       "reason"      },
		{MEMBER_CAPABILITIES, "capabilities"},
		{MEMBER_LIMITS,       "limits"      },
		{MEMBER_BUNDLE,       "bundle"      },
		{MEMBER_SIGNATURE,    "signature"   },
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (members & flags[i].member)
			return flags[i].name;
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (members & others[i].member)
			return others[i].name;
	}
	return "config";
}

static int check_members(const struct request *request, struct refusal *refusal)
{
	const struct verb *verb = &verbs[request->verb];
	unsigned members = members_of(request);
	unsigned missing = verb->needs & ~members;
	unsigned surplus = members & ~(verb->needs | verb->takes | verb->admin);

	if (missing)
		return refuse(refusal, REFUSAL_BAD_REQUEST, "a request to %s needs '%s'",
			      verb->name, member_to_string(missing));
	if (surplus)
		return refuse(refusal, REFUSAL_BAD_REQUEST, "a request to %s takes no '%s'",
			      verb->name, member_to_string(surplus));
	if (request->release && (request->stop || request->reason[0]))
		return refuse(refusal, REFUSAL_BAD_REQUEST,
			      "a request to hold has 'release' and takes then no '%s'",
			      request->stop ? "stop" : "reason");
	if (request->verb == REQUEST_CONFIGURE &&
	    request->use_running == ((members & MEMBER_CONFIG) != 0))
		return refuse(refusal, REFUSAL_BAD_REQUEST,
			      "a request to configure needs either 'config' or 'use_running'");
	if (!(members & MEMBER_BUNDLE) != !(members & MEMBER_SIGNATURE))
		return refuse(refusal, REFUSAL_BAD_REQUEST,
			      "a request needs 'bundle' and 'signature' together");
	return 0;
}

static int take_verb(const json_t *json, struct request *request, struct refusal *refusal)
{
	const char *name = NULL;
	uint64_t schema = 0;

	if (json_member_uint(json, "schema", REQUEST_SCHEMA, &schema) < 0 ||
	    schema != REQUEST_SCHEMA)
		return refuse_key(refusal, "schema", "1");
	if (json_member_string(json, "verb", &name) < 0)
		return refuse_key(refusal, "verb", "the name of an operation");
	for (int i = 0; i < REQUEST_VERB_N; i++) {
		if (strcmp(verbs[i].name, name) == 0) {
			request->verb = (enum request_verb)i;
			return 0;
		}
	}
	return refuse_text(refusal, REFUSAL_UNKNOWN_VERB, "asks for the unknown operation", name);
}

static int take_all(const json_t *json, struct request *request, struct refusal *refusal)
{
	const char *unknown;
	int r;

	r = take_verb(json, request, refusal);
	if (r != 0)
		return r;
	unknown = json_unknown_key(json, keys);
	if (unknown)
		return refuse_text(refusal, REFUSAL_BAD_REQUEST, "has the unknown key", unknown);
	r = take_texts(json, request, refusal);
	if (r == 0)
		r = take_flags(json, request, refusal);
	if (r == 0)
		r = take_capabilities(json, request, refusal);
	if (r == 0)
		r = take_limits(json, request, refusal);
	if (r == 0)
		r = take_fds(json, request, refusal);
	return r == 0 ? check_members(request, refusal) : r;
}

int request_parse(const char *text, size_t size, struct request *ret,
		  struct refusal *reterr_refusal)
{
	cleanup_request struct request request = REQUEST_INIT;
	cleanup_json json_t *json = NULL;
	struct json_problem problem;
	int r;

	if (size > REQUEST_HEADER_MAX)
		return refuse(reterr_refusal, REFUSAL_BAD_REQUEST,
			      "the request's header is longer than %lu bytes", REQUEST_HEADER_MAX);
	r = json_parse_object(text, size, &json, &problem);
	if (r < 0)
		return r;
	if (r > 0) {
		cleanup_free char *shown =
			str_escape(problem.text, strlen(problem.text), sizeof(problem.text));

		return refuse(reterr_refusal, REFUSAL_BAD_REQUEST,
			      "the request's header is not a JSON object: %s",
			      shown ? shown : "it cannot be parsed");
	}
	r = take_all(json, &request, reterr_refusal);
	if (r != 0)
		return r;
	*ret = request;
	request = REQUEST_INIT;
	return 0;
}

static int add_text(json_t *json, const char *key, const char *value)
{
	return *value ? json_add_string(json, key, value) : 0;
}

static int add_fds(json_t *json, const struct request *request)
{
	cleanup_json json_t *array = json_array();

	if (!array)
		return -ENOMEM;
	for (size_t i = 0; i < request->n_fds; i++) {
		int r = json_append(array, json_string(fd_names[request->fds[i]]));

		if (r < 0)
			return r;
	}
	return request->n_fds > 0 ? json_add(json, "fds", TAKE_PTR(array)) : 0;
}

static int add_flags(json_t *json, const struct request *request)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(flags); i++) {
		if (*(const bool *)((const char *)request + flags[i].offset))
			r = json_add(json, flags[i].name, json_true());
	}
	return r;
}

int request_format(const struct request *request, char **ret_text)
{
	cleanup_json json_t *json = json_object();
	char *text;
	int r;

	r = json ? json_add_uint(json, "schema", REQUEST_SCHEMA) : -ENOMEM;
	if (r == 0)
		r = json_add_string(json, "verb", request_verb_to_string(request->verb));
	if (r == 0)
		r = add_text(json, "request_id", request->request_id);
	if (r == 0)
		r = add_text(json, "id", request->id);
	if (r == 0)
		r = add_text(json, "version", request->version);
	if (r == 0)
		r = add_text(json, "reason", request->reason);
	if (r == 0)
		r = add_flags(json, request);
	if (r == 0 && request->has_capabilities)
		r = json_add(json, "capabilities", json_incref(request->capabilities));
	if (r == 0 && request->limits)
		r = json_add(json, "limits", json_incref(request->limits));
	if (r == 0)
		r = add_fds(json, request);
	if (r < 0)
		return r;
	text = json_to_canonical(json);
	if (!text)
		return -ENOMEM;
	*ret_text = text;
	return 0;
}

int request_check_fleet(const struct request *request, struct refusal *reterr_refusal)
{
	const struct verb *verb =
		request->verb >= 0 && request->verb < REQUEST_VERB_N ? &verbs[request->verb] : NULL;
	unsigned members = members_of(request);
	unsigned denied;

	if (!verb || !verb->is_fleet)
		return refuse(reterr_refusal, REFUSAL_FORBIDDEN,
			      "'%s' is for the administrator: ask through %s as root",
			      verb ? verb->name : "?", REQUEST_ADMIN_SOCKET);
	denied = members & ~(verb->needs | verb->takes);
	if (denied)
		return refuse(reterr_refusal, REFUSAL_FORBIDDEN,
			      "'%s' of '%s' is for the administrator: ask through %s as root",
			      member_to_string(denied), verb->name, REQUEST_ADMIN_SOCKET);
	return 0;
}
