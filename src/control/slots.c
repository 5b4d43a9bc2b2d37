/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A table of pointers whose index, with a count of how often the place was used above it, is the
 * number that goes out. Looking up is one step and memory is 16 bytes a thing, which counts where
 * there are a hundred thousand of them.
 */

#include "control/slots.h"

#include <errno.h>

#define INDEX_BITS 24U
#define INDEX_MASK ((1U << INDEX_BITS) - 1)
#define FIRST_SIZE 64U

static struct slot *find(const struct slots *slots, uint64_t number)
{
	uint32_t place = (uint32_t)(number & INDEX_MASK);

	if (place >= slots->count || slots->slots[place].turn != number >> INDEX_BITS)
		return NULL;
	return slots->slots[place].item ? &slots->slots[place] : NULL;
}

static int grow(struct slots *slots)
{
	uint32_t count = slots->count > 0 ? slots->count * 2 : FIRST_SIZE;
	struct slot *larger;

	if (count > INDEX_MASK)
		return -ENOMEM;
	larger = reallocarray(slots->slots, count, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	slots->slots = larger;
	for (uint32_t i = count; i > slots->count; i--) {
		larger[i - 1] = (struct slot){.next_free = slots->free_one};
		slots->free_one = i;
	}
	slots->count = count;
	return 0;
}

int slots_add(struct slots *slots, void *item, uint64_t *ret_number)
{
	struct slot *slot;
	uint32_t place;
	int r;

	if (slots->free_one == 0) {
		r = grow(slots);
		if (r < 0)
			return r;
	}
	place = slots->free_one - 1;
	slot = &slots->slots[place];
	slots->free_one = slot->next_free;
	slot->item = item;
	/* Starting with 1: no number is 0. */
	slot->turn = (slot->turn + 1) & INDEX_MASK;
	if (slot->turn == 0)
		slot->turn = 1;
	slots->used++;
	*ret_number = (uint64_t)slot->turn << INDEX_BITS | place;
	return 0;
}

void *slots_get(const struct slots *slots, uint64_t number)
{
	const struct slot *slot = find(slots, number);

	return slot ? slot->item : NULL;
}

void slots_remove(struct slots *slots, uint64_t number)
{
	struct slot *slot = find(slots, number);

	if (!slot)
		return;
	slot->item = NULL;
	slot->next_free = slots->free_one;
	slots->free_one = (uint32_t)(number & INDEX_MASK) + 1;
	slots->used--;
}

void *slots_at(const struct slots *slots, uint32_t index)
{
	return index < slots->count ? slots->slots[index].item : NULL;
}

void slots_done(struct slots *slots)
{
	free(slots->slots);
	*slots = SLOTS_INIT;
}
