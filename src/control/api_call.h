/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/api.h"
#include "control/api_problem.h"
#include "control/audit.h"
#include "control/fleet_private.h"
#include "control/token.h"

#define API_PARAMETERS_MAX 4U
#define API_QUERY_MAX      16U
#define API_LIMIT_DEFAULT  100U
#define API_LIMIT_MAX      1000U
/* How many hosts one request looks at: a page may be short of items, but not of time. */
#define API_SCAN_MAX 2000U

struct api_pair {
	char *name;
	char *value;
};

/* One request while it is answered. */
struct api_call {
	struct fleet *fleet;
	const struct api_request *request;
	struct api_response *response;
	struct audit_actor actor;
	enum token_role role;
	char *token_name;
	char *parameters[API_PARAMETERS_MAX]; /* the variable segments of the path, decoded */
	struct api_pair query[API_QUERY_MAX];
	size_t n_query;
	json_t *body; /* of requests that have one: an object */
	struct api_problem problem;
};

struct api_route {
	const char *method;
	const char *path; /* "{name}" stands for a segment */
	enum token_role role;
	/* 0, the response is set; 1, the problem is; -errno. */
	int (*handler)(struct api_call *call);
	bool has_body; /* a JSON object */
};

/* The value of a query parameter, or NULL. */
const char *api_query(const struct api_call *call, const char *name);
/* Refuses parameters that are not in the NULL-terminated *known*. 0 or 1. */
must_check int api_query_known(struct api_call *call, const char *const *known);

/* A segment of the path as the number of something. 0 or 1: not found. */
must_check int api_parameter_id(struct api_call *call, unsigned index, int64_t *ret);

/* A page of a list: `limit` and `after` of the query. 0 or 1. */
struct api_page {
	int64_t after;
	size_t limit;
};

must_check int api_page(struct api_call *call, struct api_page *ret);

/*
 * Answers with one page of *rows*, whose first column is the number that `after` goes by: each is
 * made an item by *make*, whose *ret* is taken over. 0; 1 where *make* refuses; -errno.
 */
must_check int
api_page_rows(struct api_call *call, const struct api_page *page, struct store_rows *rows,
	      int (*make)(struct api_call *call, struct store_rows *rows, json_t **ret));

/*
 * The same for a list that is one statement. *filters*, NULL-terminated, are the parameters of the
 * query that it takes besides a page's: $2 and $3 of *sql*, null where absent; $1 is where the page
 * begins. 0; 1; -errno.
 */
#define API_FILTERS_MAX 2U
must_check int api_answer_rows(struct api_call *call, const char *const *filters, const char *sql,
			       int (*make)(struct api_call *call, struct store_rows *rows,
					   json_t **ret));

/* Answers with *object*, which is taken over (NULL: -ENOMEM), and "schema": 1 before it. */
must_check int api_answer(struct api_call *call, unsigned status, json_t *object);
/* Answers with a list; *next* is where it goes on, 0 at its end. Both are taken over. */
must_check int api_answer_list(struct api_call *call, json_t *items, int64_t next);
/* 204. */
must_check int api_answer_nothing(struct api_call *call);
/* Text as it is; it is taken over. */
must_check int api_answer_text(struct api_call *call, const char *content_type, char *text,
			       size_t size);

/* Members of the body. 0; 1 with the problem. Absent or null: the fallback. */
must_check int api_body_uint(struct api_call *call, const char *key, uint64_t max,
			     uint64_t fallback, uint64_t *ret);
must_check int api_body_text(struct api_call *call, const char *key, const char *fallback,
			     const char **ret);
must_check int api_body_bool(struct api_call *call, const char *key, bool fallback, bool *ret);
must_check int api_body_known(struct api_call *call, const char *const *known);

/* Bundles that come in: *begin* makes the arrival; once it is checked, which may be when the
 * request comes again (the answer is 100 until then), *finish* takes it in. */
must_check int
api_import(struct api_call *call, int (*begin)(struct api_call *call, struct package_arrival **ret),
	   int (*finish)(struct api_call *call, const struct package_arrival *arrival));

/* Every route, ended by one without a method. */
extern const struct api_route api_routes[];

int api_healthz(struct api_call *call);
int api_metrics(struct api_call *call);
int api_host_list(struct api_call *call);
int api_host_get(struct api_call *call);
int api_host_config(struct api_call *call);
int api_host_explain(struct api_call *call);
int api_host_revoke(struct api_call *call);
int api_host_remove(struct api_call *call);
int api_host_confirm(struct api_call *call);
int api_status_list(struct api_call *call);
int api_drift_list(struct api_call *call);
int api_package_list(struct api_call *call);
int api_package_import(struct api_call *call);
int api_package_pull(struct api_call *call);
int api_package_get(struct api_call *call);
int api_package_schema(struct api_call *call);
int api_package_artifact(struct api_call *call);
int api_package_signature(struct api_call *call);
int api_package_approve(struct api_call *call);
int api_package_revoke(struct api_call *call);
int api_assignment_list(struct api_call *call);
int api_assignment_create(struct api_call *call);
int api_assignment_get(struct api_call *call);
int api_assignment_change(struct api_call *call);
int api_assignment_remove(struct api_call *call);
int api_rollout_list(struct api_call *call);
int api_rollout_create(struct api_call *call);
int api_rollout_get(struct api_call *call);
int api_rollout_hosts(struct api_call *call);
int api_rollout_pause(struct api_call *call);
int api_rollout_resume(struct api_call *call);
int api_rollout_abort(struct api_call *call);
int api_join_list(struct api_call *call);
int api_join_create(struct api_call *call);
int api_join_revoke(struct api_call *call);
int api_token_list(struct api_call *call);
int api_token_create(struct api_call *call);
int api_token_revoke(struct api_call *call);
int api_audit_list(struct api_call *call);
