/* SPDX-License-Identifier: Apache-2.0 */

/* For monitoring: /healthz, and /metrics in Prometheus' text format. Numbers that need all hosts
 * come from indexes, not from looking at each. */

#include <errno.h>
#include <stdlib.h>

#include "base/str.h"
#include "control/api_call.h"

/* Add-ons that nobody imported here: hosts make those names up. No add-on is called so. */
#define OTHER_ADDON  "(other)"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

int api_healthz(struct api_call *call)
{
	int64_t n = 0;
	int r = store_number(call->fleet->store, &n, 0, "SELECT count(*) FROM api_token");

	return r == 0 ? api_answer(call, 200, json_pack("{s:s}", "status", "ok")) : r;
}

static int add_help(struct buffer *text, const char *name, const char *type, const char *help)
{
	return buffer_format(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int add_number(struct buffer *text, const char *name, const char *type, const char *help,
		      uint64_t value)
{
	int r = add_help(text, name, type, help);

	return r == 0 ? buffer_format(text, "%s %llu\n", name, (unsigned long long)value) : r;
}

/* A metric with labels: rows of a number, and the value of each of *labels*. */
static int add_rows(struct api_call *call, struct buffer *text, const char *name, const char *type,
		    const char *help, const char *const *labels, const char *sql)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = add_help(text, name, type, help);
	if (r == 0)
		r = store_select(call->fleet->store, &rows, sql);
	while (r == 0) {
		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		r = buffer_format(text, "%s{", name);
		for (unsigned i = 0; r == 0 && labels[i]; i++)
			r = buffer_format(text, "%s%s=\"%s\"", i > 0 ? "," : "", labels[i],
					  store_text(rows, i + 1));
		if (r == 0)
			r = buffer_format(text, "} %lld\n", (long long)store_int(rows, 0));
	}
	return r;
}

static int add_counters(const struct fleet *fleet, struct buffer *text)
{
	const struct fleet_counters *counters = &fleet->counters;

	const struct {
		const char *name;
		const char *type;
		const char *help;
		uint64_t value;
	} numbers[] = {
		{"affixd_connected_hosts",      "gauge",   "Hosts that are connected.",         fleet->n_sessions                                               },
		{"affixd_hellos_total",         "counter", "Connections that hosts began.",
		 counters->hellos															       },
		{"affixd_reports_total",        "counter", "Messages of hosts but heartbeats.",
		 counters->reports															      },
		{"affixd_messages_total",       "counter", "Messages to hosts.",                counters->messages                                              },
		{"affixd_refusals_total",       "counter", "Hosts that were sent away.",
		 counters->refusals															     },
		{"affixd_requests_total",       "counter", "Requests to the REST API.",
		 counters->requests															     },
		{"affixd_commits_total",        "counter", "Transactions committed.",           counters->commits                                               },
		{"affixd_failed_commits_total", "counter", "Transactions that failed.",
		 counters->failed_commits														       },
		{"affixd_offers_pending",       "gauge",
		 "Connected hosts a change was not yet held "
		 "against.",								    fleet->is_offering ? fleet->n_sessions - fleet->offer_cursor : 0},
	};

	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(numbers) && r == 0; i++)
		r = add_number(text, numbers[i].name, numbers[i].type, numbers[i].help,
			       numbers[i].value);
	return r;
}

int api_metrics(struct api_call *call)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	size_t size;
	int r;

	r = add_counters(call->fleet, &text);
	if (r == 0)
		r = add_rows(call, &text, "affixd_hosts", "gauge", "Hosts that are enrolled.",
			     (const char *const[]){"revoked", NULL},
			     "SELECT count(*), CASE WHEN revoked = 0 THEN 'false' ELSE 'true' END "
			     "FROM host GROUP BY revoked <> 0");
	if (r == 0)
		r = add_rows(call, &text, "affixd_addons", "gauge",
			     "Add-ons on hosts, by what the hosts said last.",
			     (const char *const[]){"addon", "state", NULL},
			     "SELECT sum(n), known, state FROM ("
			     "SELECT n, state, CASE WHEN addon IN (SELECT addon FROM package) "
			     "THEN addon ELSE '" OTHER_ADDON "' END AS known FROM ("
			     "SELECT count(*) AS n, addon, state FROM observed "
			     "GROUP BY addon, state) AS counted) AS named "
			     "GROUP BY known, state");
	if (r == 0)
		r = add_rows(call, &text, "affixd_packages", "gauge", "Packages.",
			     (const char *const[]){"state", NULL},
			     "SELECT count(*), state FROM package GROUP BY state");
	if (r == 0)
		r = add_rows(call, &text, "affixd_rollouts", "gauge", "Rollouts.",
			     (const char *const[]){"state", NULL},
			     "SELECT count(*), state FROM rollout GROUP BY state");
	if (r == 0)
		r = add_rows(
			call, &text, "affixd_addon_events_total", "counter",
			"Events that add-ons sent to their agents, by kind.",
			(const char *const[]){"addon", "kind", NULL},
			"SELECT count, addon, kind FROM addon_event_total ORDER BY addon, kind");
	if (r < 0)
		return r;
	size = text.size;
	return api_answer_text(call, METRICS_TYPE, TAKE_PTR(text.data), size);
}
