/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The maker's thread touches the thing whose turn it is and nothing that was made before it, and
 * stays a place behind the one that is in use. What goes wrong in it is a thing too, and the last
 * one: it is found in its place in the row. Who has to wait does so for half a row, since to wake
 * somebody costs about as much as to write a piece.
 */

#include "ext4/layer_row.h"

#include "base/cleanup.h"
#include "base/thread.h"

void layer_row_init(struct layer_row *row, unsigned places, bool (*make)(void *, unsigned),
		    void *context)
{
	*row = (struct layer_row){.places = places, .make = make, .context = context};
	(void)pthread_mutex_init(&row->mutex, NULL);
	(void)pthread_cond_init(&row->changed, NULL);
}

void layer_row_done(struct layer_row *row)
{
	if (row->has_thread)
		thread_end(row->thread, &row->mutex, &row->changed, &row->is_cancelled);
	(void)pthread_cond_destroy(&row->changed);
	(void)pthread_mutex_destroy(&row->mutex);
}

static unsigned half(const struct layer_row *row)
{
	return row->places / 2;
}

/* The one that was taken last, too. */
static unsigned in_use(const struct layer_row *row)
{
	return row->made - row->taken + 1;
}

static bool is_ready(const struct layer_row *row)
{
	return row->is_ended || row->made - row->taken >= half(row);
}

static void *run(void *argument)
{
	struct layer_row *row = argument;

	(void)pthread_mutex_lock(&row->mutex);
	while (!row->is_cancelled && !row->is_ended) {
		bool is_last;

		if (in_use(row) >= row->places) {
			while (!row->is_cancelled && in_use(row) > row->places - half(row))
				(void)pthread_cond_wait(&row->changed, &row->mutex);
			continue;
		}
		(void)pthread_mutex_unlock(&row->mutex);
		is_last = row->make(row->context, row->made % row->places);
		(void)pthread_mutex_lock(&row->mutex);
		row->is_ended = is_last;
		row->made++;
		if (is_ready(row))
			(void)pthread_cond_signal(&row->changed);
	}
	(void)pthread_mutex_unlock(&row->mutex);
	return NULL;
}

void layer_row_start(struct layer_row *row)
{
	row->has_thread = !row->is_ended && thread_start(&row->thread, NULL, run, row) == 0;
}

unsigned layer_row_take(struct layer_row *row)
{
	unsigned place;

	/* One place is enough, and it stays in the processor's cache. */
	if (!row->has_thread) {
		row->is_ended = row->make(row->context, 0);
		row->made++;
		row->taken++;
		return 0;
	}
	place = row->taken % row->places;
	(void)pthread_mutex_lock(&row->mutex);
	if (row->made == row->taken) {
		while (!is_ready(row))
			(void)pthread_cond_wait(&row->changed, &row->mutex);
	}
	row->taken++;
	if (in_use(row) <= row->places - half(row))
		(void)pthread_cond_signal(&row->changed);
	(void)pthread_mutex_unlock(&row->mutex);
	return place;
}
