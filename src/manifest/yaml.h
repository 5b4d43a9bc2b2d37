/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "ipc/diagnostic.h"

/* Bounds on one document, whatever its size in bytes. */
#define YAML_DEPTH_MAX      16U
#define YAML_NODES_MAX      16384U
#define YAML_INDICATORS_MAX 16384U
#define YAML_BLANKS_MAX     1024U

enum yaml_kind {
	YAML_SCALAR,
	YAML_SEQUENCE,
	YAML_MAPPING,
};

/* How an unquoted scalar reads under YAML 1.2's core schema; a quoted one is always text. */
enum yaml_type {
	YAML_TEXT,
	YAML_NULL,
	YAML_BOOL,
	YAML_INTEGER,
	YAML_FLOAT,
};

/* A value with its place. Everything is owned by the document. */
struct yaml_node {
	enum yaml_kind kind;
	enum yaml_type type; /* scalars */
	bool is_broken;      /* its problem was already reported: say no more about it */
	unsigned line;       /* from 1 */
	unsigned column;     /* from 1 */
	char *text;          /* scalars: UTF-8 without NUL */
	char *key;           /* members of a mapping, else NULL */
	unsigned key_line;
	unsigned key_column;
	size_t index; /* among its parent's children */
	size_t count; /* of children */
	struct yaml_node *parent;
	struct yaml_node *first;
	struct yaml_node *last;
	struct yaml_node *next;
	struct yaml_node *made_before; /* the list of all nodes */
};

struct yaml_document {
	struct yaml_node *root;
	struct yaml_node *made_last;
	size_t n_nodes;
};

/* One file being read: where its problems go, and how many there were. */
struct yaml_reader {
	const char *file;
	enum refusal_code code;
	struct diagnostics *diagnostics;
	size_t problems;
	int error; /* the first -errno; what follows is skipped */
};

/* Reports a problem at a node, at a node's key (or the node, if it has none), or at a place. */
void yaml_problem(struct yaml_reader *reader, const struct yaml_node *node, const char *format, ...)
	format_check(3, 4);
void yaml_problem_key(struct yaml_reader *reader, const struct yaml_node *node, const char *format,
		      ...) format_check(3, 4);
void yaml_problem_at(struct yaml_reader *reader, unsigned line, unsigned column, const char *format,
		     ...) format_check(4, 5);

/*
 * Parses one YAML 1.2 document in *size* bytes of UTF-8. Anchors, aliases, tags, directives, merge
 * keys, duplicate keys and keys that are not text are problems; so are bounds. 0 and *ret*, which
 * can be read even if problems were added (what they are about is left out or marked); 1 if
 * problems were added and there is nothing to read; -errno. The caller frees it.
 */
must_check int yaml_parse(const char *text, size_t size, struct yaml_reader *reader,
			  struct yaml_document **ret);
struct yaml_document *yaml_document_free(struct yaml_document *document);

DEFINE_CLEANUP(struct yaml_document *, yaml_document, yaml_document_free)
#define cleanup_yaml_document CLEANUP(cleanup_yaml_document)

/* The member of a mapping, or NULL (also if *mapping* is NULL or none). */
const struct yaml_node *yaml_member(const struct yaml_node *mapping, const char *key);

/* Where a node is, for people: `requires.platforms[0]`. NULL: no memory. */
char *yaml_node_path(const struct yaml_node *node);
/* A node's text, escaped and shortened. NULL: no memory. */
char *yaml_node_shown(const struct yaml_node *node);
