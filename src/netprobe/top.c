/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is shown again and again. A flow is the same one in two looks if its socket, protocol and
 * ends are; what it moved in between is its rate. One that began in between moved all it has, one
 * that is only seen for the first time has no rate yet.
 */

#include "netprobe/top.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "netprobe/wall.h"

static void rows_done(struct top_rows *rows)
{
	free(rows->items);
	*rows = (struct top_rows){0};
}

void top_done(struct top *top)
{
	rows_done(&top->now);
	rows_done(&top->before);
}

static struct top_row *rows_add(struct top_rows *rows)
{
	if (rows->count == rows->capacity) {
		size_t capacity = rows->capacity * 2 + 64;
		struct top_row *grown = reallocarray(rows->items, capacity, sizeof(*rows->items));

		if (!grown)
			return NULL;
		rows->items = grown;
		rows->capacity = capacity;
	}
	rows->items[rows->count] = (struct top_row){0};
	return &rows->items[rows->count++];
}

void top_begin(struct top *top, int64_t now_ns)
{
	struct top_rows old = top->before;

	top->before = top->now;
	top->before_ns = top->now_ns;
	top->now = old;
	top->now.count = 0;
	top->now_ns = now_ns;
}

int top_add(struct top *top, const Netprobe__FlowAttributionEvent *flow)
{
	struct top_row *row = rows_add(&top->now);

	if (!row)
		return -ENOMEM;
	row->cookie = flow->socket_address;
	row->tgid = flow->tgid;
	row->bytes = flow->bytes_sent + flow->bytes_received;
	row->retransmits = flow->retransmits;
	row->started_ns = flow->started_unix_nano;
	row->inbound = flow->inbound;
	text_short(flow->transport_protocol, row->protocol, sizeof(row->protocol));
	text_process(flow, row->process);
	text_short(flow->container_id, row->container, sizeof(row->container));
	text_end(flow->local_ip, flow->local_port, row->local);
	text_end(flow->remote_ip, flow->remote_port, row->remote);
	return 0;
}

static int compare_identity(const void *first, const void *second)
{
	const struct top_row *a = first;
	const struct top_row *b = second;
	int r;

	if (a->cookie != b->cookie)
		return a->cookie < b->cookie ? -1 : 1;
	r = strcmp(a->protocol, b->protocol);
	if (r == 0)
		r = strcmp(a->local, b->local);
	return r != 0 ? r : strcmp(a->remote, b->remote);
}

static void set_rate(const struct top *top, struct top_row *row)
{
	uint64_t elapsed = (uint64_t)MAX(top->now_ns - top->before_ns, WALL_NS_PER_MSEC);
	const struct top_row *old = NULL;
	uint64_t moved = 0;

	if (top->before_ns == 0)
		return;
	if (top->before.count > 0)
		old = bsearch(row, top->before.items, top->before.count, sizeof(*row),
			      compare_identity);
	if (old)
		moved = row->bytes > old->bytes ? row->bytes - old->bytes : 0;
	else if (row->started_ns >= top->before_ns)
		moved = row->bytes;
	row->rate = (uint64_t)((double)moved * (double)WALL_NS_PER_SEC / (double)elapsed);
}

void top_end(struct top *top)
{
	/* The next look searches in it. */
	if (top->now.count > 1)
		qsort(top->now.items, top->now.count, sizeof(*top->now.items), compare_identity);
	for (size_t i = 0; i < top->now.count; i++)
		set_rate(top, &top->now.items[i]);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return a == b ? 0 : (a > b ? -1 : 1);
}

/* Most first for numbers, the alphabet for texts. */
static int compare_by(enum command_sort sort, const struct top_row *a, const struct top_row *b)
{
	switch (sort) {
	case COMMAND_SORT_BYTES:
		return compare_numbers(a->bytes, b->bytes);
	case COMMAND_SORT_RETRANSMITS:
		return compare_numbers(a->retransmits, b->retransmits);
	case COMMAND_SORT_PROCESS:
		return strcasecmp(a->process, b->process);
	case COMMAND_SORT_REMOTE:
		return strcmp(a->remote, b->remote);
	case COMMAND_SORT_START:
		return compare_numbers((uint64_t)a->started_ns, (uint64_t)b->started_ns);
	default:
		return compare_numbers(a->rate, b->rate);
	}
}

static int compare_rows(const void *first, const void *second, void *context)
{
	const struct top_order *order = context;
	int r = compare_by(order->sort, first, second);

	if (r == 0)
		r = compare_numbers(((const struct top_row *)first)->bytes,
				    ((const struct top_row *)second)->bytes);
	if (r == 0)
		r = compare_identity(first, second);
	return order->reverse ? -r : r;
}

static void sort_rows(struct top_rows *rows, const struct top_order *order)
{
	if (rows->count > 1)
		qsort_r(rows->items, rows->count, sizeof(*rows->items), compare_rows,
			(void *)order);
}

static bool takes(const char *filter, const struct top_row *row)
{
	return str_is_empty(filter) || strcasestr(row->process, filter) ||
	       strcasestr(row->container, filter) || strcasestr(row->remote, filter) ||
	       strcasestr(row->local, filter) || strcasestr(row->protocol, filter);
}

static int choose(const struct top *top, const char *filter, struct top_rows *ret)
{
	for (size_t i = 0; i < top->now.count; i++) {
		struct top_row *row;

		if (!takes(filter, &top->now.items[i]))
			continue;
		row = rows_add(ret);
		if (!row)
			return -ENOMEM;
		*row = top->now.items[i];
	}
	return 0;
}

static int compare_processes(const void *first, const void *second)
{
	const struct top_row *a = first;
	const struct top_row *b = second;

	if (a->tgid != b->tgid)
		return a->tgid < b->tgid ? -1 : 1;
	return strcmp(a->process, b->process);
}

/* A row for each process, of *flows*, which are in the order of their processes. */
static int sum_up(const struct top_rows *flows, struct top_rows *ret)
{
	struct top_row *sum = NULL;

	for (size_t i = 0; i < flows->count; i++) {
		const struct top_row *flow = &flows->items[i];

		if (!sum || compare_processes(sum, flow) != 0) {
			sum = rows_add(ret);
			if (!sum)
				return -ENOMEM;
			sum->tgid = flow->tgid;
			sum->cookie = i; /* where its flows begin */
			sum->started_ns = flow->started_ns;
			memcpy(sum->process, flow->process, sizeof(sum->process));
			memcpy(sum->container, flow->container, sizeof(sum->container));
		}
		sum->flows++;
		sum->bytes += flow->bytes;
		sum->rate += flow->rate;
		sum->retransmits += flow->retransmits;
		sum->started_ns = MIN(sum->started_ns, flow->started_ns);
	}
	return 0;
}

/* The flows of each of *sums* below it. */
static int interleave(const struct top_rows *sums, struct top_rows *flows,
		      const struct top_order *order, struct top_rows *ret)
{
	for (size_t i = 0; i < sums->count; i++) {
		struct top_row *row = rows_add(ret);
		struct top_rows part = {.items = flows->items + sums->items[i].cookie,
					.count = sums->items[i].flows};

		if (!row)
			return -ENOMEM;
		*row = sums->items[i];
		sort_rows(&part, order);
		for (size_t k = 0; k < part.count; k++) {
			row = rows_add(ret);
			if (!row)
				return -ENOMEM;
			*row = part.items[k];
		}
	}
	return 0;
}

static int make_tree(struct top_rows *flows, const struct top_order *order, struct top_rows *ret)
{
	CLEANUP(rows_done) struct top_rows sums = {0};
	int r;

	if (flows->count > 1)
		qsort(flows->items, flows->count, sizeof(*flows->items), compare_processes);
	r = sum_up(flows, &sums);
	if (r < 0)
		return r;
	sort_rows(&sums, order);
	return interleave(&sums, flows, order, ret);
}

int top_arrange(const struct top *top, const struct top_order *order, struct top_rows *ret)
{
	CLEANUP(rows_done) struct top_rows chosen = {0};
	CLEANUP(rows_done) struct top_rows result = {0};
	int r = choose(top, order->filter, &chosen);

	if (r == 0 && order->tree) {
		r = make_tree(&chosen, order, &result);
	} else if (r == 0) {
		sort_rows(&chosen, order);
		result = chosen;
		chosen = (struct top_rows){0};
	}
	if (r < 0)
		return r;
	*ret = result;
	result = (struct top_rows){0};
	return 0;
}
