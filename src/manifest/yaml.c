/* SPDX-License-Identifier: Apache-2.0 */

/*
 * YAML as our files need it: plain trees with places. libfyaml's event parser does the syntax; the
 * tree is built here, from events, so that depth and number of nodes are bounded while it grows and
 * nothing recurses. Its document builder was looked at: it resolves anchors, stops at the first
 * duplicate key and keeps tokens for every node, which is what must not happen to hostile input.
 */

#include "manifest/yaml.h"

#include <assert.h>
#include <errno.h>
#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "manifest/yaml_scalar.h"
#include "manifest/yaml_text.h"

#define SHOWN_MAX 60U

struct builder {
	struct yaml_reader *reader;
	struct yaml_document *document;
	struct yaml_node *open; /* the innermost collection */
	unsigned depth;
	unsigned documents;
	bool is_stopped; /* a bound was crossed: nothing to read */
	/* A key that waits for its value. */
	char *key;
	bool has_key;
	bool key_is_broken;
	unsigned key_line;
	unsigned key_column;
};

struct place {
	unsigned line;
	unsigned column;
};

static void cleanup_parser(struct fy_parser **parser)
{
	fy_parser_destroy(*parser);
}

static void cleanup_diag(struct fy_diag **diag)
{
	fy_diag_destroy(*diag);
}

static format_check(3, 0) void problem(struct yaml_reader *reader, struct place place,
				       const char *format, va_list arguments)
{
	cleanup_free char *message = NULL;
	int r;

	if (str_vformat(&message, format, arguments) < 0) {
		reader->error = reader->error < 0 ? reader->error : -ENOMEM;
		return;
	}
	reader->problems++;
	r = diagnostics_add(reader->diagnostics, reader->code, reader->file, place.line,
			    place.column, "%s", message);
	if (r < 0 && reader->error == 0)
		reader->error = r;
}

void yaml_problem(struct yaml_reader *reader, const struct yaml_node *node, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	problem(reader, (struct place){node->line, node->column}, format, arguments);
	va_end(arguments);
}

void yaml_problem_key(struct yaml_reader *reader, const struct yaml_node *node, const char *format,
		      ...)
{
	struct place place = node->key ? (struct place){node->key_line, node->key_column}
				       : (struct place){node->line, node->column};
	va_list arguments;

	va_start(arguments, format);
	problem(reader, place, format, arguments);
	va_end(arguments);
}

void yaml_problem_at(struct yaml_reader *reader, unsigned line, unsigned column, const char *format,
		     ...)
{
	va_list arguments;

	va_start(arguments, format);
	problem(reader, (struct place){line, column}, format, arguments);
	va_end(arguments);
}

struct yaml_document *yaml_document_free(struct yaml_document *document)
{
	if (!document)
		return NULL;
	for (struct yaml_node *node = document->made_last; node;) {
		struct yaml_node *before = node->made_before;

		free(node->text);
		free(node->key);
		free(node);
		node = before;
	}
	free(document);
	return NULL;
}

static struct place place_of_token(struct fy_token *token, struct place otherwise)
{
	const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
	enum fy_scalar_style style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;
	/* The mark of a quoted scalar is behind its quote. */
	bool is_behind = style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;

	if (!mark || mark->line < 0 || mark->column < 0)
		return otherwise;
	return (struct place){(unsigned)mark->line + 1,
			      (unsigned)mark->column + (is_behind && mark->column > 0 ? 0 : 1)};
}

/* Where an event is; an empty value has no token and stands where its key does. */
static struct place place_of(const struct builder *builder, struct fy_event *event)
{
	struct place otherwise = {1, 1};

	if (builder->has_key)
		otherwise = (struct place){builder->key_line, builder->key_column};
	else if (builder->open)
		otherwise = (struct place){builder->open->line, builder->open->column};
	return place_of_token(fy_event_get_token(event), otherwise);
}

static char *token_text(struct fy_token *token)
{
	size_t length = 0;
	const char *text = token ? fy_token_get_text(token, &length) : "";

	return text ? strndup(text, length) : NULL;
}

/* A new node under the innermost collection, with the key that waited for it. NULL: no memory. */
static struct yaml_node *add_node(struct builder *builder, enum yaml_kind kind, struct place place)
{
	struct yaml_document *document = builder->document;
	struct yaml_node *parent = builder->open;
	struct yaml_node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	*node = (struct yaml_node){
		.kind = kind,
		.line = place.line,
		.column = place.column,
		.key = TAKE_PTR(builder->key),
		.key_line = builder->key_line,
		.key_column = builder->key_column,
		.parent = parent,
		.made_before = document->made_last,
	};
	document->made_last = node;
	document->n_nodes++;
	/* What stands under a broken key stays outside the tree, but is still walked through. */
	if (builder->key_is_broken || (parent && parent->is_broken)) {
		node->is_broken = true;
	} else if (!parent) {
		document->root = node;
	} else {
		node->index = parent->count++;
		if (parent->last)
			parent->last->next = node;
		else
			parent->first = node;
		parent->last = node;
	}
	builder->has_key = false;
	builder->key_is_broken = false;
	return node;
}

static void stop(struct builder *builder, struct place place, const char *why)
{
	builder->is_stopped = true;
	yaml_problem_at(builder->reader, place.line, place.column, "%s", why);
}

static bool expects_key(const struct builder *builder)
{
	return builder->open && builder->open->kind == YAML_MAPPING && !builder->has_key;
}

static int take_key(struct builder *builder, struct fy_event *event, struct place place)
{
	struct fy_token *token = fy_event_get_token(event);
	char *key = token_text(token);

	if (!key)
		return -ENOMEM;
	free(builder->key);
	builder->key = key;
	builder->has_key = true;
	builder->key_line = place.line;
	builder->key_column = place.column;
	builder->key_is_broken = true;
	if (*key == '\0')
		yaml_problem_at(builder->reader, place.line, place.column, "a key is empty");
	else if (strcmp(key, "<<") == 0)
		yaml_problem_at(builder->reader, place.line, place.column,
				"merge keys ('<<') are not taken; write the keys out");
	else
		builder->key_is_broken = false;
	return 0;
}

static void check_decoration(struct builder *builder, struct fy_event *event, struct place place)
{
	if (fy_event_get_anchor_token(event))
		yaml_problem_at(builder->reader, place.line, place.column,
				"anchors ('&name') are not taken; write the value out");
	if (fy_event_get_tag_token(event))
		yaml_problem_at(builder->reader, place.line, place.column,
				"tags ('!name') are not taken; remove the tag");
}

static int on_scalar(struct builder *builder, struct fy_event *event)
{
	struct place place = place_of(builder, event);
	struct fy_token *token = fy_event_get_token(event);
	struct yaml_node *node;

	check_decoration(builder, event, place);
	if (expects_key(builder))
		return take_key(builder, event, place);
	node = add_node(builder, YAML_SCALAR, place);
	if (!node)
		return -ENOMEM;
	node->text = token_text(token);
	if (!node->text)
		return -ENOMEM;
	if (!token || fy_scalar_token_get_style(token) == FYSS_PLAIN)
		node->type = yaml_type_of(node->text);
	return 0;
}

/* gcc 12's analyzer takes for lost what is kept behind the builder. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int on_alias(struct builder *builder, struct fy_event *event)
{
	struct place place = place_of(builder, event);
	struct yaml_node *node;

	yaml_problem_at(builder->reader, place.line, place.column,
			"aliases ('*name') are not taken; write the value out");
	if (expects_key(builder)) {
		builder->has_key = true;
		builder->key_is_broken = true;
		return 0;
	}
	node = add_node(builder, YAML_SCALAR, place);
	if (!node)
		return -ENOMEM;
	node->is_broken = true;
	node->text = strdup("");
	return node->text ? 0 : -ENOMEM;
}

#pragma GCC diagnostic pop

static int on_start(struct builder *builder, struct fy_event *event, enum yaml_kind kind)
{
	struct place place = place_of(builder, event);
	struct yaml_node *node;

	if (++builder->depth > YAML_DEPTH_MAX) {
		stop(builder, place, "nested too deep; at most 16 levels are taken");
		return 0;
	}
	check_decoration(builder, event, place);
	if (expects_key(builder)) {
		stop(builder, place, "a key is not text; keys are words");
		return 0;
	}
	node = add_node(builder, kind, place);
	if (!node)
		return -ENOMEM;
	builder->open = node;
	return 0;
}

static int compare_keys(const void *a, const void *b)
{
	const struct yaml_node *x = *(struct yaml_node *const *)a;
	const struct yaml_node *y = *(struct yaml_node *const *)b;
	int r = strcmp(x->key, y->key);

	return r != 0 ? r : (x->index > y->index) - (x->index < y->index);
}

/* Reports keys that a mapping says twice; by sorting, since there may be thousands. */
static int check_duplicates(struct yaml_reader *reader, const struct yaml_node *mapping)
{
	cleanup_free struct yaml_node **members = NULL;
	size_t n = 0;

	if (mapping->count < 2)
		return 0;
	members = calloc(mapping->count, sizeof(struct yaml_node *));
	if (!members)
		return -ENOMEM;
	for (struct yaml_node *member = mapping->first; member; member = member->next)
		members[n++] = member;
	qsort(members, n, sizeof(struct yaml_node *), compare_keys);
	for (size_t i = 1; i < n; i++) {
		cleanup_free char *shown = NULL;

		if (strcmp(members[i]->key, members[i - 1]->key) != 0)
			continue;
		shown = str_escape(members[i]->key, strlen(members[i]->key), SHOWN_MAX);
		if (!shown)
			return -ENOMEM;
		yaml_problem_key(reader, members[i], "'%s' is given twice; keep one", shown);
		members[i]->is_broken = true;
	}
	return 0;
}

static int on_end(struct builder *builder)
{
	struct yaml_node *node = builder->open;

	assert(node);
	builder->open = node->parent;
	builder->depth--;
	return node->kind == YAML_MAPPING ? check_duplicates(builder->reader, node) : 0;
}

static void on_document(struct builder *builder, struct fy_event *event)
{
	struct fy_document_state *state = event->document_start.document_state;
	struct place place = place_of(builder, event);

	if (++builder->documents > 1) {
		stop(builder, place, "a second document starts here; a file holds one");
		return;
	}
	if (state &&
	    (fy_document_state_version_explicit(state) || fy_document_state_tags_explicit(state)))
		yaml_problem_at(builder->reader, 1, 1,
				"directives ('%%YAML', '%%TAG') are not taken; remove them");
}

static int on_event(struct builder *builder, struct fy_event *event)
{
	if (builder->document->n_nodes >= YAML_NODES_MAX) {
		stop(builder, place_of(builder, event), "more than 16384 values; the file is cut");
		return 0;
	}
	switch (event->type) {
	case FYET_DOCUMENT_START:
		on_document(builder, event);
		return 0;
	case FYET_MAPPING_START:
		return on_start(builder, event, YAML_MAPPING);
	case FYET_SEQUENCE_START:
		return on_start(builder, event, YAML_SEQUENCE);
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		return on_end(builder);
	case FYET_SCALAR:
		return on_scalar(builder, event);
	case FYET_ALIAS:
		return on_alias(builder, event);
	default:
		return 0;
	}
}

/* libfyaml's own complaints: about syntax. */
static int report_syntax(struct yaml_reader *reader, struct fy_diag *diag)
{
	const struct fy_diag_error *error;
	void *iterator = NULL;
	size_t before = reader->problems;

	while ((error = fy_diag_errors_iterate(diag, &iterator))) {
		const char *message = error->msg ? error->msg : "not YAML";
		cleanup_free char *shown = str_escape(message, strlen(message), 200);

		if (!shown)
			return -ENOMEM;
		yaml_problem_at(reader, error->line > 0 ? (unsigned)error->line : 1,
				error->column > 0 ? (unsigned)error->column : 1, "YAML: %s", shown);
	}
	if (reader->problems == before)
		yaml_problem_at(reader, 1, 1, "this is not YAML");
	return 0;
}

static int run(struct builder *builder, struct fy_parser *parser, struct fy_diag *diag)
{
	for (;;) {
		struct fy_event *event = fy_parser_parse(parser);
		bool at_end = event && event->type == FYET_STREAM_END;
		int r;

		if (!event) {
			builder->is_stopped = true;
			return report_syntax(builder->reader, diag);
		}
		r = on_event(builder, event);
		fy_parser_event_free(parser, event);
		if (r < 0)
			return r;
		if (at_end || builder->is_stopped)
			return builder->reader->error;
	}
}

static int parse(const char *text, size_t size, struct builder *builder)
{
	CLEANUP(cleanup_diag) struct fy_diag *diag = NULL;
	CLEANUP(cleanup_parser) struct fy_parser *parser = NULL;
	struct fy_diag_cfg diag_cfg;
	struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_DEFAULT_VERSION_1_2 |
					    FYPCF_JSON_NONE};
	int r;

	fy_diag_cfg_default(&diag_cfg);
	diag_cfg.fp = NULL;
	diag = fy_diag_create(&diag_cfg);
	if (!diag)
		return -ENOMEM;
	fy_diag_set_collect_errors(diag, true);
	cfg.diag = diag;
	parser = fy_parser_create(&cfg);
	if (!parser || fy_parser_set_string(parser, text, size) != 0)
		return -ENOMEM;
	r = run(builder, parser, diag);
	free(builder->key);
	return r;
}

int yaml_parse(const char *text, size_t size, struct yaml_reader *reader,
	       struct yaml_document **ret)
{
	cleanup_yaml_document struct yaml_document *document = calloc(1, sizeof(*document));
	struct builder builder = {.reader = reader, .document = document};
	int r;

	if (!document)
		return -ENOMEM;
	if (!yaml_text_check(text, size, reader))
		return reader->error < 0 ? reader->error : 1;
	r = parse(text, size, &builder);
	if (r < 0)
		return r;
	if (builder.is_stopped)
		return 1;
	if (!document->root) {
		yaml_problem_at(reader, 1, 1, "the file is empty");
		return reader->error < 0 ? reader->error : 1;
	}
	*ret = TAKE_PTR(document);
	return 0;
}

const struct yaml_node *yaml_member(const struct yaml_node *mapping, const char *key)
{
	if (!mapping || mapping->kind != YAML_MAPPING)
		return NULL;
	for (const struct yaml_node *member = mapping->first; member; member = member->next) {
		if (strcmp(member->key, key) == 0)
			return member;
	}
	return NULL;
}

static int add_path(struct buffer *path, const struct yaml_node *node)
{
	cleanup_free char *key = NULL;

	if (!node->key)
		return buffer_format(path, "[%zu]", node->index);
	key = str_escape(node->key, strlen(node->key), SHOWN_MAX);
	if (!key)
		return -ENOMEM;
	return buffer_format(path, "%s%s", path->size > 0 ? "." : "", key);
}

char *yaml_node_path(const struct yaml_node *node)
{
	const struct yaml_node *way[YAML_DEPTH_MAX + 1];
	cleanup_buffer struct buffer path = BUFFER_INIT;
	size_t n = 0;

	for (; node->parent && n < ARRAY_SIZE(way); node = node->parent)
		way[n++] = node;
	if (n == 0)
		return strdup("the file");
	while (n > 0) {
		if (add_path(&path, way[--n]) < 0)
			return NULL;
	}
	return TAKE_PTR(path.data);
}

char *yaml_node_shown(const struct yaml_node *node)
{
	if (node->kind == YAML_SEQUENCE)
		return strdup("a list");
	if (node->kind == YAML_MAPPING)
		return strdup("a mapping");
	return str_escape(node->text, strlen(node->text), SHOWN_MAX);
}
