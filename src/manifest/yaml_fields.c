/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A mapping held against a table: types, bounds, required and unknown keys, all problems at once.
 * The files that people write for us differ in their tables only, so they read the same and
 * complain in the same words.
 */

#include "manifest/yaml_fields.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "manifest/word.h"
#include "manifest/yaml_scalar.h"

static void fail(struct yaml_reader *reader, int error)
{
	if (reader->error == 0)
		reader->error = error;
}

void yaml_problem_value(struct yaml_reader *reader, const struct yaml_node *node,
			const char *sentence)
{
	cleanup_free char *path = yaml_node_path(node);

	if (!path) {
		fail(reader, -ENOMEM);
		return;
	}
	yaml_problem(reader, node, "'%s' %s", path, sentence);
}

static const char *type_name(const struct yaml_node *node)
{
	static const char *const scalars[] = {
		[YAML_TEXT] = "text",          [YAML_NULL] = "empty",
		[YAML_BOOL] = "true or false", [YAML_INTEGER] = "a whole number",
		[YAML_FLOAT] = "a number",
	};

	static_assert(ARRAY_SIZE(scalars) == YAML_FLOAT + 1, "every type has a name");
	if (node->kind == YAML_SEQUENCE)
		return "a list";
	return node->kind == YAML_MAPPING ? "a mapping" : scalars[node->type];
}

static void problem_type(struct yaml_reader *reader, const struct yaml_node *node,
			 const char *wanted)
{
	cleanup_free char *path = yaml_node_path(node);

	if (!path) {
		fail(reader, -ENOMEM);
		return;
	}
	yaml_problem(reader, node, "'%s' must be %s, but is %s", path, wanted, type_name(node));
}

static void problem_expected(struct yaml_reader *reader, const struct yaml_node *node,
			     const char *expected)
{
	cleanup_free char *path = yaml_node_path(node);
	cleanup_free char *shown = yaml_node_shown(node);

	if (!path || !shown) {
		fail(reader, -ENOMEM);
		return;
	}
	yaml_problem(reader, node, "'%s' is '%s', expected %s", path, shown, expected);
}

/* C0, C1 and DEL; line ends and tabs are fine in text that people write. */
static bool has_control(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f)
			return true;
		if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			return true;
	}
	return false;
}

bool yaml_text_read(struct yaml_reader *reader, const struct yaml_node *node,
		    const struct yaml_field *field, char **ret)
{
	cleanup_free char *text = NULL;
	int r = 0;

	if (node->is_broken)
		return false;
	if (node->kind != YAML_SCALAR || node->type != YAML_TEXT) {
		problem_type(reader, node,
			     node->kind == YAML_SCALAR && node->type != YAML_NULL
				     ? "text (write it in quotes)"
				     : "text");
		return false;
	}
	if (*node->text == '\0' || strlen(node->text) > YAML_FIELD_TEXT_MAX ||
	    has_control(node->text)) {
		problem_expected(reader, node, "text of 1 to 4096 bytes without control bytes");
		return false;
	}
	if (field->normalize)
		r = field->normalize(node->text, &text);
	else if (field->is_valid && !field->is_valid(node->text))
		r = 1;
	if (r > 0)
		problem_expected(reader, node, field->expected);
	if (r != 0) {
		if (r < 0)
			fail(reader, r);
		return false;
	}
	if (!text)
		text = strdup(node->text);
	if (!text) {
		fail(reader, -ENOMEM);
		return false;
	}
	*ret = TAKE_PTR(text);
	return true;
}

static void read_text(struct yaml_reader *reader, const struct yaml_node *node,
		      const struct yaml_field *field, char **place)
{
	char *text = NULL;

	if (!yaml_text_read(reader, node, field, &text))
		return;
	if (!place) {
		free(text);
		return;
	}
	free(*place);
	*place = text;
}

static void add_text(struct yaml_reader *reader, const struct yaml_node *item,
		     const struct yaml_field *field, struct strv *list)
{
	cleanup_free char *text = NULL;
	int r;

	if (!yaml_text_read(reader, item, field, &text))
		return;
	if (!field->is_repeated && strv_has(list, text)) {
		problem_expected(reader, item, "each value once");
		return;
	}
	r = strv_add(list, text);
	if (r < 0)
		fail(reader, r);
}

void yaml_texts_read(struct yaml_reader *reader, const struct yaml_node *node,
		     const struct yaml_field *field, struct strv *list)
{
	cleanup_strv struct strv texts = STRV_INIT;

	if (node->is_broken)
		return;
	if (node->kind != YAML_SEQUENCE) {
		problem_type(reader, node, "a list");
		return;
	}
	if (node->count < field->min)
		yaml_problem_value(reader, node, "is an empty list; name at least one");
	if (node->count > YAML_FIELD_LIST_MAX) {
		yaml_problem_value(reader, node, "has more than 256 items");
		return;
	}
	for (const struct yaml_node *item = node->first; item; item = item->next)
		add_text(reader, item, field, &texts);
	if (!list)
		return;
	strv_done(list);
	*list = texts;
	texts = STRV_INIT;
}

static bool read_number(struct yaml_reader *reader, const struct yaml_node *node,
			const struct yaml_field *field, uint64_t *ret)
{
	cleanup_free char *expected = NULL;
	uint64_t number = 0;

	if (node->is_broken)
		return false;
	if (node->kind != YAML_SCALAR || node->type != YAML_INTEGER) {
		problem_type(reader, node, "a whole number");
		return false;
	}
	if (yaml_node_uint(node, &number) == 0 && number >= field->min && number <= field->max) {
		*ret = number;
		return true;
	}
	if (str_format(&expected, "a whole number from %" PRIu64 " to %" PRIu64, field->min,
		       field->max) < 0)
		fail(reader, -ENOMEM);
	else
		problem_expected(reader, node, expected);
	return false;
}

static void read_bool(struct yaml_reader *reader, const struct yaml_node *node, bool *place)
{
	if (node->is_broken)
		return;
	if (node->kind != YAML_SCALAR || node->type != YAML_BOOL)
		problem_type(reader, node, "true or false");
	else if (place)
		*place = node->text[0] == 't' || node->text[0] == 'T';
}

static void problem_choice(struct yaml_reader *reader, const struct yaml_node *node,
			   const char *const *choices)
{
	cleanup_buffer struct buffer expected = BUFFER_INIT;

	for (size_t i = 0; choices[i]; i++) {
		const char *joint = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
		int r = buffer_format(&expected, "%s'%s'", joint, choices[i]);

		if (r < 0) {
			fail(reader, r);
			return;
		}
	}
	problem_expected(reader, node, expected.data);
}

static void read_choice(struct yaml_reader *reader, const struct yaml_node *node,
			const struct yaml_field *field, unsigned *place)
{
	if (node->is_broken)
		return;
	if (node->kind != YAML_SCALAR || node->type != YAML_TEXT) {
		problem_type(reader, node, "text");
		return;
	}
	for (unsigned i = 0; field->choices[i]; i++) {
		if (strcmp(field->choices[i], node->text) != 0)
			continue;
		if (place)
			*place = i;
		return;
	}
	problem_choice(reader, node, field->choices);
}

/* The known key that *key* was probably meant to be, or NULL. */
static const char *nearest(const char *key, const struct yaml_field *fields)
{
	size_t best = word_distance_max(key) + 1;
	const char *found = NULL;

	for (const struct yaml_field *field = fields; field->key; field++) {
		size_t edits = word_distance(key, field->key);

		if (edits < best) {
			best = edits;
			found = field->key;
		}
	}
	return found;
}

static void problem_unknown(struct yaml_reader *reader, const struct yaml_node *member,
			    const struct yaml_field *fields)
{
	cleanup_free char *path = yaml_node_path(member);
	const char *meant = nearest(member->key, fields);

	if (!path) {
		fail(reader, -ENOMEM);
		return;
	}
	if (meant)
		yaml_problem_key(reader, member, "'%s' is not a known key; did you mean '%s'?",
				 path, meant);
	else
		yaml_problem_key(reader, member,
				 "'%s' is not a known key; remove it, or begin it with 'x-'", path);
}

static const struct yaml_field *find_field(const struct yaml_field *fields, const char *key)
{
	for (const struct yaml_field *field = fields; field->key; field++) {
		if (strcmp(field->key, key) == 0)
			return field;
	}
	return NULL;
}

static void check_keys(struct yaml_reader *reader, const struct yaml_node *mapping,
		       const struct yaml_field *fields)
{
	for (const struct yaml_node *member = mapping->first; member; member = member->next) {
		if (!str_starts_with(member->key, "x-") && !find_field(fields, member->key))
			problem_unknown(reader, member, fields);
	}
}

static void problem_missing(struct yaml_reader *reader, const struct yaml_node *mapping,
			    const char *key)
{
	cleanup_free char *path = mapping->parent ? yaml_node_path(mapping) : NULL;

	if (mapping->parent && !path)
		fail(reader, -ENOMEM);
	else
		yaml_problem_key(reader, mapping, "'%s%s%s' is missing", path ? path : "",
				 path ? "." : "", key);
}

static void read_mapping(struct yaml_reader *reader, const struct yaml_node *node,
			 const struct yaml_field *field, void *target);

static void read_mappings(struct yaml_reader *reader, const struct yaml_node *node,
			  const struct yaml_field *field)
{
	if (node->is_broken)
		return;
	if (node->kind != YAML_SEQUENCE) {
		problem_type(reader, node, "a list");
		return;
	}
	for (const struct yaml_node *item = node->first; item; item = item->next)
		read_mapping(reader, item, field, NULL);
}

static void read_value(struct yaml_reader *reader, const struct yaml_node *node,
		       const struct yaml_field *field, void *target)
{
	void *place = target && field->offset != YAML_FIELD_UNUSED ? (char *)target + field->offset
								   : NULL;
	uint64_t number = 0;

	switch (field->type) {
	case YAML_FIELD_TEXT:
		read_text(reader, node, field, place);
		break;
	case YAML_FIELD_TEXTS:
		yaml_texts_read(reader, node, field, place);
		break;
	case YAML_FIELD_UNSIGNED:
		if (read_number(reader, node, field, &number) && place)
			*(unsigned *)place = (unsigned)number;
		break;
	case YAML_FIELD_UINT64:
		if (read_number(reader, node, field, &number) && place)
			*(uint64_t *)place = number;
		break;
	case YAML_FIELD_BOOL:
		read_bool(reader, node, place);
		break;
	case YAML_FIELD_CHOICE:
		read_choice(reader, node, field, place);
		break;
	case YAML_FIELD_MAPPING:
		read_mapping(reader, node, field, target);
		break;
	case YAML_FIELD_MAPPINGS:
		read_mappings(reader, node, field);
		break;
	case YAML_FIELD_SCALAR:
		if (!node->is_broken && (node->kind != YAML_SCALAR || node->type == YAML_NULL))
			problem_type(reader, node, "text or a number");
		break;
	case YAML_FIELD_ANY:
	default:
		break;
	}
}

static void read_members(struct yaml_reader *reader, const struct yaml_node *mapping,
			 const struct yaml_field *fields, void *target)
{
	for (const struct yaml_field *field = fields; field->key; field++) {
		const struct yaml_node *member = yaml_member(mapping, field->key);

		if (member)
			read_value(reader, member, field, target);
		else if (field->is_required)
			problem_missing(reader, mapping, field->key);
	}
}

static void read_mapping(struct yaml_reader *reader, const struct yaml_node *node,
			 const struct yaml_field *field, void *target)
{
	if (node->is_broken)
		return;
	if (node->kind != YAML_MAPPING) {
		problem_type(reader, node, "a mapping");
		return;
	}
	if (!field->is_open)
		check_keys(reader, node, field->fields);
	read_members(reader, node, field->fields, target);
}

void yaml_fields_read(struct yaml_reader *reader, const struct yaml_node *mapping,
		      const struct yaml_field *fields, void *target)
{
	const struct yaml_field whole = {.type = YAML_FIELD_MAPPING, .fields = fields};

	read_mapping(reader, mapping, &whole, target);
}
