/* SPDX-License-Identifier: Apache-2.0 */

/* All there is, in one table; affix-rest(7) and openapi.yaml describe it, and a test holds them
 * against each other. */

#include "control/api_call.h"

#define NOBODY   TOKEN_ROLE_NONE
#define VIEWER   TOKEN_ROLE_VIEWER
#define OPERATOR TOKEN_ROLE_OPERATOR
#define ADMIN    TOKEN_ROLE_ADMIN
#define V1       "/api/v1"
#define PACKAGE  V1 "/packages/{addon}/{version}"
#define ARTIFACT PACKAGE "/artifacts/{os}/{arch}"

/* clang-format off */
const struct api_route api_routes[] = {
	{"GET",    "/healthz",                        NOBODY,   api_healthz,           false},
	{"GET",    "/metrics",                        VIEWER,   api_metrics,           false},
	{"GET",    V1 "/hosts",                       VIEWER,   api_host_list,         false},
	{"GET",    V1 "/hosts/{host}",                VIEWER,   api_host_get,          false},
	{"DELETE", V1 "/hosts/{host}",                ADMIN,    api_host_remove,       false},
	{"GET",    V1 "/hosts/{host}/config",         VIEWER,   api_host_config,       false},
	{"GET",    V1 "/hosts/{host}/explain/{addon}", VIEWER,  api_host_explain,      false},
	{"POST",   V1 "/hosts/{host}/revoke",         ADMIN,    api_host_revoke,       false},
	{"POST",   V1 "/hosts/{host}/confirm-removal", OPERATOR, api_host_confirm,     true},
	{"GET",    V1 "/status",                      VIEWER,   api_status_list,       false},
	{"GET",    V1 "/drift",                       VIEWER,   api_drift_list,        false},
	{"GET",    V1 "/packages",                    VIEWER,   api_package_list,      false},
	{"POST",   V1 "/packages",                    OPERATOR, api_package_import,    false},
	{"POST",   V1 "/packages/pull",               OPERATOR, api_package_pull,      true},
	{"GET",    PACKAGE,                           VIEWER,   api_package_get,       false},
	{"GET",    PACKAGE "/schema",                 VIEWER,   api_package_schema,    false},
	{"GET",    ARTIFACT,                          VIEWER,   api_package_artifact,  false},
	{"GET",    ARTIFACT "/signature",             VIEWER,   api_package_signature, false},
	{"POST",   PACKAGE "/approve",                OPERATOR, api_package_approve,   true},
	{"POST",   PACKAGE "/revoke",                 OPERATOR, api_package_revoke,    true},
	{"GET",    V1 "/assignments",                 VIEWER,   api_assignment_list,   false},
	{"POST",   V1 "/assignments",                 OPERATOR, api_assignment_create, true},
	{"GET",    V1 "/assignments/{assignment}",    VIEWER,   api_assignment_get,    false},
	{"PATCH",  V1 "/assignments/{assignment}",    OPERATOR, api_assignment_change, true},
	{"DELETE", V1 "/assignments/{assignment}",    OPERATOR, api_assignment_remove, false},
	{"GET",    V1 "/rollouts",                    VIEWER,   api_rollout_list,      false},
	{"POST",   V1 "/rollouts",                    OPERATOR, api_rollout_create,    true},
	{"GET",    V1 "/rollouts/{rollout}",          VIEWER,   api_rollout_get,       false},
	{"GET",    V1 "/rollouts/{rollout}/hosts",    VIEWER,   api_rollout_hosts,     false},
	{"POST",   V1 "/rollouts/{rollout}/pause",    OPERATOR, api_rollout_pause,     false},
	{"POST",   V1 "/rollouts/{rollout}/resume",   OPERATOR, api_rollout_resume,    false},
	{"POST",   V1 "/rollouts/{rollout}/abort",    OPERATOR, api_rollout_abort,     true},
	{"GET",    V1 "/join-tokens",                 ADMIN,    api_join_list,         false},
	{"POST",   V1 "/join-tokens",                 ADMIN,    api_join_create,       true},
	{"POST",   V1 "/join-tokens/{token}/revoke",  ADMIN,    api_join_revoke,       false},
	{"GET",    V1 "/api-tokens",                  ADMIN,    api_token_list,        false},
	{"POST",   V1 "/api-tokens",                  ADMIN,    api_token_create,      true},
	{"POST",   V1 "/api-tokens/{token}/revoke",   ADMIN,    api_token_revoke,      false},
	{"GET",    V1 "/audit",                       OPERATOR, api_audit_list,        false},
	{0},
};
/* clang-format on */
