/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

/*
 * Things that one thread makes and another takes, in a row of few places that are used again and
 * again: a piece of a stream, a block of a file. Whoever has the things has the row in it.
 */
struct layer_row {
	unsigned places;
	/* Makes the thing of this place. True: it is the last one. */
	bool (*make)(void *context, unsigned place);
	void *context;
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t changed;
	bool is_ended;
	bool is_cancelled;
	unsigned made;  /* so many, ever */
	unsigned taken; /* and so many of them are the taker's, the last one still in use */
};

void layer_row_init(struct layer_row *row, unsigned places, bool (*make)(void *, unsigned),
		    void *context);
/* The maker has ended then. */
void layer_row_done(struct layer_row *row);

/* From now on things are made ahead. Where no thread can be had they are made when they are taken,
 * as before. Only once. */
void layer_row_start(struct layer_row *row);

/* The place of the next thing; the one taken before is given back. Not after the last one. */
unsigned layer_row_take(struct layer_row *row);
