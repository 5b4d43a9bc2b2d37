/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "manifest/yaml.h"

/* What a key's value is, and as what it is stored. */
enum yaml_field_type {
	YAML_FIELD_TEXT,     /* char * */
	YAML_FIELD_TEXTS,    /* struct strv, no item twice */
	YAML_FIELD_UNSIGNED, /* unsigned */
	YAML_FIELD_UINT64,   /* uint64_t */
	YAML_FIELD_BOOL,     /* bool */
	YAML_FIELD_CHOICE,   /* an enum: the place in *choices* */
	YAML_FIELD_MAPPING,  /* what *fields* says */
	YAML_FIELD_MAPPINGS, /* a list of those; checked, not stored */
	YAML_FIELD_SCALAR,   /* text or a number; checked, not stored */
	YAML_FIELD_ANY,      /* not looked at */
};

/* The offset of a value that is checked and not stored. */
#define YAML_FIELD_UNUSED SIZE_MAX
/* Longest text and list that are taken where a field says nothing smaller. */
#define YAML_FIELD_TEXT_MAX 4096U
#define YAML_FIELD_LIST_MAX 256U

/* A key of a mapping. A table of them ends with a NULL key. */
struct yaml_field {
	const char *key;
	enum yaml_field_type type;
	bool is_required;
	bool is_open;     /* MAPPING, MAPPINGS: keys that *fields* does not have are ignored */
	bool is_repeated; /* TEXTS: an item may stand there twice */
	size_t offset;    /* in the struct that is filled */
	uint64_t min;     /* of a number; of a list's length */
	uint64_t max;     /* of a number */
	bool (*is_valid)(const char *text);                  /* may be NULL */
	int (*normalize)(const char *text, char **ret_text); /* 0, 1 not valid, -ENOMEM; or NULL */
	const char *expected; /* behind "expected", for what the two above refuse */
	const char *const *choices;
	const struct yaml_field *fields;
};

/* A row of a table, and its end. */
#define YAML_FIELD(name, kind, ...)                        \
	{                                                  \
		.key = (name), .type = (kind), __VA_ARGS__ \
	}
#define YAML_FIELD_END      \
	{                   \
		.key = NULL \
	}

/*
 * Holds *mapping* against *fields* and fills *target* (zeroed or holding defaults; strings and
 * lists that it holds are replaced). Unknown keys that do not begin with "x-" are problems, as all
 * else. What had a problem is not stored. Errors stand in *reader*.
 */
void yaml_fields_read(struct yaml_reader *reader, const struct yaml_node *mapping,
		      const struct yaml_field *fields, void *target);

/* One list of texts, as a field of type YAML_FIELD_TEXTS. */
void yaml_texts_read(struct yaml_reader *reader, const struct yaml_node *node,
		     const struct yaml_field *field, struct strv *list);

/* Whether *node* is text that *field* takes; reports what is wrong. *ret* is the (normalized) copy.
 */
bool yaml_text_read(struct yaml_reader *reader, const struct yaml_node *node,
		    const struct yaml_field *field, char **ret);

/* Reports "'PATH' SENTENCE" for a node of the tree. */
void yaml_problem_value(struct yaml_reader *reader, const struct yaml_node *node,
			const char *sentence);
