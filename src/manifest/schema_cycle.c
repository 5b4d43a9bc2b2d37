/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Cycles without progress: keywords that hold another schema against the same value, and $ref back.
 * A depth-first walk along these keywords only; it keeps its own stack, because a chain of
 * references may be as long as a schema has nodes.
 */

#include "manifest/schema_cycle.h"

#include <errno.h>

struct frame {
	struct schema_node *node;
	size_t next; /* the edge to take; the one before was taken */
};

static struct schema_node *list_at(const struct schema_list *list, size_t *at)
{
	if (*at < list->count)
		return list->items[*at];
	*at -= list->count;
	return NULL;
}

/* The schema behind edge number *edge*, 0 being the reference, which *is_edge* tells from no edge:
 * one may be NULL. */
static struct schema_node *edge_at(const struct schema_node *node, size_t edge, bool *ret_is_edge)
{
	struct schema_node *const single[] = {node->target, node->not_schema, node->if_schema,
					      node->then_schema, node->else_schema};
	const struct schema_list *const lists[] = {&node->all_of, &node->any_of, &node->one_of};

	*ret_is_edge = true;
	if (edge < ARRAY_SIZE(single))
		return single[edge];
	edge -= ARRAY_SIZE(single);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct schema_node *found = list_at(lists[i], &edge);

		if (found)
			return found;
	}
	if (edge < node->dependent_schemas.count)
		return node->dependent_schemas.items[edge].node;
	*ret_is_edge = false;
	return NULL;
}

/* The walk came from the top of the stack to *node*, which is on it: nearest is the reference that
 * is to blame. Without one there is no cycle, since the rest is a tree. */
static void blame(struct frame *stack, size_t depth, const struct schema_node *node)
{
	while (depth-- > 0) {
		if (stack[depth].next == 1) {
			stack[depth].node->is_endless = true;
			return;
		}
		if (stack[depth].node == node)
			return;
	}
}

static void walk(struct frame *stack, struct schema_node *start)
{
	size_t depth = 1;

	stack[0] = (struct frame){.node = start};
	start->visit = SCHEMA_VISIT_OPEN;
	while (depth > 0) {
		struct frame *top = &stack[depth - 1];
		bool is_edge;
		struct schema_node *to = edge_at(top->node, top->next, &is_edge);

		top->next++;
		if (!is_edge) {
			top->node->visit = SCHEMA_VISIT_DONE;
			depth--;
		} else if (to && to->visit == SCHEMA_VISIT_OPEN) {
			blame(stack, depth, to);
		} else if (to && to->visit == SCHEMA_VISIT_NONE) {
			to->visit = SCHEMA_VISIT_OPEN;
			stack[depth++] = (struct frame){.node = to};
		}
	}
}

int schema_cycle_mark(struct schema *schema)
{
	/* Each node is on it once. */
	cleanup_free struct frame *stack = calloc(schema->n_nodes, sizeof(*stack));
	/* So that the same text is always blamed in the same place. */
	cleanup_free struct schema_node **in_order =
		calloc(schema->n_nodes, sizeof(struct schema_node *));

	if (!stack || !in_order)
		return -ENOMEM;
	for (size_t i = 0; i < schema->n_nodes; i++)
		in_order[schema->nodes[i]->number] = schema->nodes[i];
	for (size_t i = 0; i < schema->n_nodes; i++) {
		if (in_order[i]->visit == SCHEMA_VISIT_NONE)
			walk(stack, in_order[i]);
	}
	return 0;
}
