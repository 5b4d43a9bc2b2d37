/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a key may sign. A word that is not known is refused, not ignored: a misspelt policy must not
 * be a wider one.
 */

#include "bundle/trust_policy.h"

#include <errno.h>
#include <string.h>

#include "ipc/diagnostic.h"
#include "manifest/manifest.h"
#include "manifest/yaml.h"

/* One list of the policy, and which words may stand in it. */
struct policy_list {
	const char *name;
	const char *what;
	bool may_be_empty;
	bool (*is_known)(const char *word);
	struct strv *list;
};

static bool capability_is_known(const char *word)
{
	return manifest_capability_from_string(word) >= 0;
}

static bool supervision_is_known(const char *word)
{
	for (int i = 0; i < MANIFEST_SUPERVISION_N; i++) {
		if (str_equal(manifest_supervision_to_string((enum manifest_supervision)i), word))
			return true;
	}
	return false;
}

static int read_word(struct yaml_reader *reader, const struct yaml_node *node,
		     const struct policy_list *list)
{
	cleanup_free char *shown = NULL;

	if (node->is_broken)
		return 0;
	if (node->kind == YAML_SCALAR && node->type == YAML_TEXT && list->is_known(node->text))
		return strv_add(list->list, node->text);
	shown = yaml_node_shown(node);
	if (!shown)
		return -ENOMEM;
	yaml_problem(reader, node, "'%s' is not %s", shown, list->what);
	return 0;
}

static int read_list(struct yaml_reader *reader, const struct yaml_node *node,
		     const struct policy_list *list)
{
	if (node->is_broken)
		return 0;
	if (node->kind != YAML_SEQUENCE || (node->count == 0 && !list->may_be_empty)) {
		yaml_problem(reader, node, "'%s' must be a list%s; leave it out to allow any",
			     list->name, list->may_be_empty ? "" : " that is not empty");
		return 0;
	}
	for (const struct yaml_node *item = node->first; item; item = item->next) {
		int r = read_word(reader, item, list);

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_policy(struct yaml_reader *reader, const struct yaml_node *root,
		       struct trust_key *key)
{
	const struct policy_list lists[] = {
		{"ids",          "an add-on's id",                     false, manifest_id_is_valid, &key->ids},
		{"capabilities", "a capability such as 'cap_net_raw'", true,  capability_is_known,
		 &key->capabilities									  },
		{"supervision",  "a supervision model",                false, supervision_is_known,
		 &key->supervision									   },
	};

	if (root->kind != YAML_MAPPING) {
		yaml_problem(reader, root, "a mapping is wanted");
		return 0;
	}
	for (const struct yaml_node *member = root->first; member; member = member->next) {
		const struct policy_list *list = NULL;
		int r;

		for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
			if (str_equal(lists[i].name, member->key))
				list = &lists[i];
		}
		if (!list) {
			yaml_problem_key(reader, member,
					 "only 'ids', 'capabilities' and 'supervision' are known");
			continue;
		}
		r = read_list(reader, member, list);
		if (r < 0)
			return r;
	}
	key->any_capabilities = !yaml_member(root, "capabilities");
	return 0;
}

int trust_policy_parse(const char *text, size_t size, const char *file, struct trust_key *key,
		       struct refusal *reterr_refusal)
{
	cleanup_yaml_document struct yaml_document *document = NULL;
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	struct yaml_reader reader = {
		.file = file,
		.code = REFUSAL_BAD_TRUST,
		.diagnostics = &problems,
	};
	int r;

	r = yaml_parse(text, size, &reader, &document);
	if (r == 0)
		r = read_policy(&reader, document->root, key);
	if (r < 0)
		return r;
	if (reader.error < 0)
		return reader.error;
	if (problems.count == 0)
		return 0;
	return refuse(reterr_refusal, REFUSAL_BAD_TRUST,
		      "a policy of the trusted keys cannot be used: %s:%u:%u: %s; correct it",
		      problems.items[0].file, problems.items[0].line, problems.items[0].column,
		      problems.items[0].message);
}
