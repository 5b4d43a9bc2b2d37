/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/fleet_client.h"

/* `affix fleet`: what all its verbs share. */

enum fleet_option {
	FLEET_SERVER,
	FLEET_TOKEN_FILE,
	FLEET_CA,
	FLEET_JSON,
	FLEET_SELECTOR,
	FLEET_HOST,
	FLEET_ADDON,
	FLEET_STATE,
	FLEET_KIND,
	FLEET_PRESENCE,
	FLEET_SIGNATURE,
	FLEET_CAPABILITIES,
	FLEET_CONFIG,
	FLEET_LIMIT,
	FLEET_PRIORITY,
	FLEET_DISABLED,
	FLEET_ENABLED,
	FLEET_ID,
	FLEET_REASON,
	FLEET_REVISION,
	FLEET_WAVES,
	FLEET_WAIT,
	FLEET_TIMEOUT,
	FLEET_MAX_FAILURES,
	FLEET_REVERT,
	FLEET_ROLE,
	FLEET_EXPIRES,
	FLEET_USES,
	FLEET_INTERVAL,
	FLEET_OPTION_N,
};

/* One call of `affix fleet`: its verb, its options (NULL: not given; "" for flags), its operands.
 */
struct fleet_call {
	const struct fleet_verb *verb;
	const char *options[FLEET_OPTION_N];
	json_t *limits; /* all --limit together, or NULL */
	char **operands;
	int n_operands;
	struct fleet_client client;
};

struct fleet_verb {
	const char *name;
	int (*run)(struct fleet_call *call);
	uint64_t options; /* FLEET_BIT() of those it takes besides the common ones */
	int min_operands;
	int max_operands;
	const char *usage; /* of operands, for the message where their number is wrong */
};

#define FLEET_BIT(option) (1ULL << (option))

static inline bool fleet_has(const struct fleet_call *call, enum fleet_option option)
{
	return call->options[option] != NULL;
}

/* Ended by one without a name, each in the file of its name. */
extern const struct fleet_verb fleet_lists[];
extern const struct fleet_verb fleet_changes[];
extern const struct fleet_verb fleet_rollouts[];
extern const struct fleet_verb fleet_tokens[];
extern const struct fleet_verb fleet_watches[];

/* A number that an option has; COMMAND_DONE, or COMMAND_USAGE after saying so. */
int fleet_number(const struct fleet_call *call, enum fleet_option option, uint64_t max,
		 uint64_t *ret);
/* "90", "90s", "15m", "12h", "30d" in seconds; likewise. */
int fleet_seconds(const struct fleet_call *call, enum fleet_option option, uint64_t *ret);

/* The number of a host by its name or number: COMMAND_DONE, or after saying what is wrong. */
int fleet_find_host(struct fleet_call *call, const char *host, uint64_t *ret);

/* All pages of a list as one object with "items"; the caller owns *ret*. */
int fleet_get_list(struct fleet_call *call, const char *path, const struct buffer *query,
		   json_t **ret);

/* Sends, and prints the answer, or *done* for people; *body* is taken over, NULL for none. */
int fleet_send_change(struct fleet_call *call, const char *method, const char *path, json_t *body,
		      const char *done);
/* POST; for people *what* and the number of what was made. *body* is taken over. */
int fleet_send_creation(struct fleet_call *call, const char *path, json_t *body, const char *what);

/* The verbs `import` and `pull`, in a file of their own. */
int fleet_run_import(struct fleet_call *call);
int fleet_run_pull(struct fleet_call *call);

/* "a,b" as an array. NULL: no memory, or not UTF-8. */
json_t *fleet_split_list(const char *text);

/* Adds `name=value` to a query, encoded; nothing for NULL. 0 or -ENOMEM. */
must_check int fleet_add_query(struct buffer *query, const char *name, const char *value);
/* Adds "/segment", encoded. 0 or -ENOMEM. */
must_check int fleet_add_segment(struct buffer *path, const char *segment);

/* One column of a table: a title and the member's key; members of members as "a.b". */
struct fleet_column {
	const char *title;
	const char *key;
};

/* The items of a list as a table, or *nothing* as a sentence; columns end with a NULL title. */
void fleet_print_table(const json_t *items, const struct fleet_column *columns,
		       const char *nothing);
/* All of a list, as JSON where that is wanted. */
int fleet_show_list(struct fleet_call *call, const char *path, const struct buffer *query,
		    const struct fleet_column *columns, const char *nothing);
/* One object, a line for each column that has a value. */
void fleet_print_object(const json_t *object, const struct fleet_column *columns);
/* A value as a person reads it, escaped; the caller frees it. NULL: no memory. */
char *fleet_value_text(const json_t *object, const char *key);
