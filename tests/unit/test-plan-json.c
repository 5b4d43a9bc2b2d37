/* SPDX-License-Identifier: Apache-2.0 */

#include "plan/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "sample_plan.h"

/* One member spoiled, and what the refusal must name. */
struct spoiled {
	const char *pointer;
	const char *value; /* NULL: taken out */
	const char *problem;
};

static void assert_refused(const struct spoiled *spoiled)
{
	cleanup_json json_t *json = sample_json(sample_plan_text);
	struct json_problem problem = {0};
	struct plan *plan = NULL;
	int r;

	sample_set(json, spoiled->pointer, spoiled->value);
	r = plan_from_json(json, &plan, &problem);
	if (r != 1 || plan || !strstr(problem.text, spoiled->problem))
		fail_msg("%s = %s: %d, '%s', expected '%s'", spoiled->pointer,
			 spoiled->value ? spoiled->value : "(nothing)", r, problem.text,
			 spoiled->problem);
}

static void plan_that_was_read_writes_the_same_json(void **state)
{
	cleanup_json json_t *json = sample_json(sample_plan_text);
	cleanup_plan struct plan *plan = sample_plan();
	cleanup_json json_t *again = plan_to_json(plan);
	cleanup_free char *text = json_to_canonical(json);
	cleanup_free char *text_again = json_to_canonical(again);

	(void)state;
	assert_string_equal(text, text_again);
}

static void members_reach_their_fields(void **state)
{
	cleanup_plan struct plan *plan = sample_plan();
	const struct plan_object *binary = &plan->objects[2];

	(void)state;
	assert_string_equal(plan->identity.version, "1.5.0-rc.1+deb12");
	assert_int_equal(plan->identity.created, 1769860800);
	assert_int_equal(plan->identity.expires, 1801396800);
	assert_int_equal(plan->identity.epoch, 3);
	assert_int_equal(plan->bundle.bytes[1], 0x23);
	assert_string_equal(plan->key_id, "0123456789ABCDEF");
	assert_int_equal(plan->supervision, MANIFEST_SUPERVISION_SYSTEMD_SERVICE);
	assert_int_equal(plan->capabilities, 1ULL << 2 | 1ULL << 39);
	assert_true(plan->file_capabilities);
	assert_int_equal(plan->limits.memory_max_bytes, 268435456);
	assert_int_equal(plan->limits.tasks_max, 64);
	assert_int_equal(plan->limits.cpu_max_percent, 0);
	assert_int_equal(plan->health.max_restarts, 1);
	assert_string_equal(plan->health.ready_socket, "/run/affix/node-exporter/ready.sock");
	assert_int_equal(binary->type, PLAN_FILE);
	assert_int_equal(binary->mode, 0750);
	assert_string_equal(binary->group, "affix-node-exporter");
	assert_int_equal(binary->capabilities, 1ULL << 39);
	assert_int_equal(binary->size, 12345678);
	assert_null(binary->content);
	assert_true(plan->objects[0].shared);
	assert_false(plan->objects[1].shared);
	assert_true(plan->units[1].is_timer);
}

static void inline_content_gets_its_size_and_digest(void **state)
{
	cleanup_plan struct plan *plan = sample_plan();
	const struct plan_object *object =
		plan_find(plan, "/etc/systemd/system/affix-node-exporter.service");
	struct digest digest;

	(void)state;
	digest_of("[Service]\n", 10, &digest);
	assert_int_equal(object->size, 10);
	assert_true(digest_is_equal(&object->digest, &digest));
}

static void look_ups_find_primary_config_and_version_directory(void **state)
{
	cleanup_plan struct plan *plan = sample_plan();
	cleanup_free char *path = plan_version_path(plan);

	(void)state;
	assert_string_equal(plan_primary(plan)->name, "affix-node-exporter.service");
	assert_string_equal(plan_config_text(plan), "{\"name\":\"\xc3\xa9\"}\n");
	assert_string_equal(path, "/opt/affix/node-exporter/versions/1.5.0-rc.1+deb12");
	assert_null(plan_find(plan, "/opt/affix/other"));
}

static void digest_of_a_plan_is_the_same_everywhere(void **state)
{
	cleanup_plan struct plan *plan = sample_plan();
	char text[DIGEST_TEXT_SIZE];
	struct digest digest;

	(void)state;
	assert_int_equal(plan_digest(plan, &digest), 0);
	digest_to_string(&digest, text);
	assert_string_equal(text,
			    "5302ab841d9057b753e406eb38cfcfa81d3c649992d4ad0541491cf474e72f2b"
			    "4938b920cdad7d644a8ab79cd5869f527d7d6b7d28031ba4554d61c51e0a1fba");
}

static void digest_changes_with_configuration(void **state)
{
	cleanup_plan struct plan *plan = sample_plan();
	struct digest before;
	struct digest after;

	(void)state;
	assert_int_equal(plan_digest(plan, &before), 0);
	((char *)plan_config_text(plan))[2] = 'N';
	assert_int_equal(plan_digest(plan, &after), 0);
	assert_false(digest_is_equal(&before, &after));
}

static void every_member_is_demanded(void **state)
{
	static const char *const members[] = {"schema",
					      "addon",
					      "user",
					      "capabilities",
					      "file_capabilities",
					      "binary",
					      "health",
					      "state_dirs",
					      "objects",
					      "units",
					      "addon/id",
					      "addon/version",
					      "addon/os",
					      "addon/arch",
					      "addon/created",
					      "addon/epoch",
					      "addon/bundle",
					      "addon/key",
					      "addon/supervision",
					      "health/window_seconds",
					      "health/max_restarts",
					      "health/run_once",
					      "objects/0/path",
					      "objects/0/type",
					      "objects/0/mode",
					      "objects/0/owner",
					      "objects/0/group",
					      "objects/2/entry",
					      "objects/2/size",
					      "objects/2/digest",
					      "objects/3/target",
					      "objects/4/content",
					      "units/0/name",
					      "units/0/type",
					      "units/0/primary"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		assert_refused(&(struct spoiled){members[i], NULL, ""});
	/* Whatever they are, arrays and objects as values are wrong. */
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		assert_refused(&(struct spoiled){members[i], "[{\"a\":1}]", ""});
}

static void unknown_members_are_refused_everywhere(void **state)
{
	static const struct spoiled cases[] = {
		{"more",                   "1",             "unknown key 'more'"             },
		{"addon/more",             "1",             "unknown key 'more'"             },
		{"health/more",            "1",             "unknown key 'more'"             },
		{"limits/more",            "1",             "unknown key 'more'"             },
		{"objects/0/target",       "\"x\"",         "object 1: unknown key 'target'" },
		{"objects/2/content",      "\"x\"",         "object 3: unknown key 'content'"},
		{"objects/3/shared",       "true",          "object 4: unknown key 'shared'" },
		{"objects/4/size",         "1",             "object 5: unknown key 'size'"   },
		{"objects/4/capabilities", "[\"cap_bpf\"]", "object 5: unknown key"          },
		{"units/1/more",           "1",             "unit 2: unknown key 'more'"     },
		{"a\\nb",                  "1",             "unknown key"                    },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(&cases[i]);
}

static void values_have_one_spelling(void **state)
{
	static const struct spoiled cases[] = {
		{"schema",                 "1.0",				   "'schema' is not a number"        },
		{"schema",                 "2",				     "written by a newer affix"        },
		{"schema",                 "0",				     "does not exist"                  },
		{"addon/expires",          "\"1970-01-01T00:00:00Z\"",              "beginning of time"               },
		{"addon/created",          "\"2026-1-31T12:00:00Z\"",               "not a time"                      },
		{"addon/epoch",            "-1",                                    "'epoch' is not a number in range"},
		{"addon/bundle",           "\"0123\"",                              "BLAKE2b-512"                     },
		{"addon/key",              "\"0123456789abcdef\"",                  "bad key id"                      },
		{"addon/key",              "\"0123\"",                              "bad key id"                      },
		{"addon/supervision",      "\"systemd\"",                           "unknown supervision 'systemd'"   },
		{"addon/arch",             "\"vax\"",                               "unknown platform"                },
		{"capabilities",           "[\"cap_bpf\",\"cap_dac_read_search\"]", "not in order"                    },
		{"capabilities",           "[\"cap_bpf\",\"cap_bpf\"]",             "not in order"                    },
		{"capabilities",           "[\"CAP_BPF\"]",                         "unknown capability 'CAP_BPF'"    },
		{"capabilities",           "[39]",                                  "not a string"                    },
		{"objects/0/shared",       "false",                                 "'shared' is not true"            },
		{"objects/0/mode",         "\"755\"",                               "bad mode '755'"                  },
		{"objects/0/mode",         "\"0o55\"",                              "bad mode"                        },
		{"objects/0/type",         "\"fifo\"",                              "unknown type 'fifo'"             },
		{"objects/2/capabilities", "[]",                                    "not granted"                     },
		{"objects/2/size",         "536870913",                             "'size' is not a number in range" },
		{"limits/tasks_max",       "-1",                                    "not a number in range"           },
		{"health/window_seconds",  "0",                                     "'window_seconds' is 0"           },
		{"health/window_seconds",  "901",                                   "not a number in range"           },
		{"units/0/type",           "\"socket\"",                            "unknown type 'socket'"           },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(&cases[i]);
}

static void forged_plan_reaches_nothing_that_is_not_its_own(void **state)
{
	static const struct spoiled cases[] = {
		{"addon/id",               "\"other\"",                                 "foreign"                },
		{"addon/id",               "\"../x\"",                                  "bad id"                 },
		{"addon/version",          "\"../../..\"",                              "bad version"            },
		{"user",                   "\"root:0:0\"",                              "bad user"               },
		{"user",                   "\"\"",				      "bad user"               },
		{"user",                   "\"-x\"",				    "bad user"               },
		{"binary",                 "\"/bin/sh\"",                               "foreign binary"         },
		{"binary",                 "\"/opt/affix/node-exporter/current/../x\"", "foreign binary"         },
		{"health/ready_socket",    "\"/run/affix/agent/x\"",                    "foreign 'ready_socket'" },
		{"health/ready_socket",    "\"/var/lib/affix/node-exporter/x\"",
		 "foreign 'ready_socket'"									},
		{"state_dirs/0",           "\"/var/lib/affix\"",                        "foreign state directory"},
		{"state_dirs/0",           "\"/\"",                                     "foreign state directory"},
		{"objects/0/path",         "\"/opt/../etc\"",                           "belongs to the add-on"  },
		{"objects/0/shared",       NULL,                                        "belongs to the add-on"  },
		{"objects/0/owner",        "\"affix-node-exporter\"",                   "foreign owner"          },
		{"objects/0/group",        "\"shadow\"",                                "foreign group"          },
		{"objects/0/mode",         "\"0777\"",                                  "mode out of bounds"     },
		{"objects/2/mode",         "\"4755\"",                                  "mode out of bounds"     },
		{"objects/2/path",         "\"/usr/bin/exporter\"",                     "belongs to the add-on"  },
		{"objects/2/capabilities", "[\"cap_sys_admin\"]",                       "not granted"            },
		{"file_capabilities",      "false",                                     "not granted"            },
		{"objects/3/target",       "\"/\"",                                     "belongs to the add-on"  },
		{"objects/5/path",         "\"/etc/shadow\"",                           "belongs to the add-on"  },
		{"units/0/name",           "\"sshd.service\"",                          "foreign unit"           },
		{"units/1/name",           "\"affix-node-exporter_clean.service\"",     "foreign unit"           },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(&cases[i]);
}

static void primary_unit_is_one_and_names_stand_once(void **state)
{
	static const struct spoiled cases[] = {
		{"units/0/primary", "false",												 "0 are primary"},
		{"units/1/primary", "true",												  "2 are primary"},
		{"units",           "[]",												    "0 are primary"},
		{"units/2",
		 "{\"name\":\"affix-node-exporter.service\",\"type\":\"service\",\"primary\":false}",
		 "twice 'affix-node-exporter.service'"												      },
		{"objects/10",
		 "{\"path\":\"/opt/affix\",\"type\":\"directory\",\"mode\":\"0755\",\"owner\":\"root\",\"group\":\"root\",\"shared\":true}",
		 "twice '/opt/affix'"														       },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(&cases[i]);
}

static void lists_are_bounded(void **state)
{
	cleanup_json json_t *json = sample_json(sample_plan_text);
	json_t *objects = json_object_get(json, "objects");
	struct json_problem problem = {0};
	struct plan *plan = NULL;

	(void)state;
	while (json_array_size(objects) <= 1024)
		assert_int_equal(json_array_append(objects, json_array_get(objects, 0)), 0);
	assert_int_equal(plan_from_json(json, &plan, &problem), 1);
	assert_non_null(strstr(problem.text, "more than 1024"));
}

static void problem_is_optional(void **state)
{
	cleanup_json json_t *json = sample_json("[]");
	struct plan *plan = NULL;

	(void)state;
	assert_int_equal(plan_from_json(json, &plan, NULL), 1);
	assert_int_equal(plan_from_json(NULL, &plan, NULL), 1);
	assert_null(plan);
}

static void plan_without_options_reads_back(void **state)
{
	static const char *const absent[] = {"addon/expires", "health/ready_socket", "limits",
					     "objects/2/capabilities"};
	cleanup_json json_t *json = sample_json(sample_plan_text);
	cleanup_plan struct plan *plan = NULL;
	cleanup_json json_t *again = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		sample_set(json, absent[i], NULL);
	sample_set(json, "capabilities", "[]");
	sample_set(json, "addon/key", "\"\"");
	sample_set(json, "objects", "[]");
	assert_int_equal(plan_from_json(json, &plan, NULL), 0);
	again = plan_to_json(plan);
	assert_true(json_equal(json, again));
	assert_null(plan_config_text(plan));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plan_that_was_read_writes_the_same_json),
		cmocka_unit_test(members_reach_their_fields),
		cmocka_unit_test(inline_content_gets_its_size_and_digest),
		cmocka_unit_test(look_ups_find_primary_config_and_version_directory),
		cmocka_unit_test(digest_of_a_plan_is_the_same_everywhere),
		cmocka_unit_test(digest_changes_with_configuration),
		cmocka_unit_test(every_member_is_demanded),
		cmocka_unit_test(unknown_members_are_refused_everywhere),
		cmocka_unit_test(values_have_one_spelling),
		cmocka_unit_test(forged_plan_reaches_nothing_that_is_not_its_own),
		cmocka_unit_test(primary_unit_is_one_and_names_stand_once),
		cmocka_unit_test(lists_are_bounded),
		cmocka_unit_test(problem_is_optional),
		cmocka_unit_test(plan_without_options_reads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
