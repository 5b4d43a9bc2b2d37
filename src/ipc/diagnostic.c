/* SPDX-License-Identifier: Apache-2.0 */

/* Diagnostics are collected, not thrown: an author sees every problem of an add-on at once. */

#include "ipc/diagnostic.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static int append(struct diagnostics *list, const struct diagnostic *item)
{
	struct diagnostic *larger = reallocarray(list->items, list->count + 1, sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	list->items = larger;
	larger[list->count++] = *item;
	return 0;
}

int diagnostics_add(struct diagnostics *list, enum refusal_code code, const char *file,
		    unsigned line, unsigned column, const char *format, ...)
{
	cleanup_free char *message = NULL;
	cleanup_free char *name = NULL;
	va_list arguments;
	int r;

	if (list->count >= DIAGNOSTICS_MAX)
		return 0;
	va_start(arguments, format);
	r = str_vformat(&message,
			list->count + 1 < DIAGNOSTICS_MAX
				? format
				: "too many problems, the rest is left out",
			arguments);
	va_end(arguments);
	if (r < 0)
		return r;
	name = strdup(file);
	if (!name)
		return -ENOMEM;
	r = append(list, &(struct diagnostic){name, line, column, code, message});
	if (r < 0)
		return r;
	name = NULL;
	message = NULL;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct diagnostic *x = a;
	const struct diagnostic *y = b;
	int r = strcmp(x->file, y->file);

	if (r != 0)
		return r;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	return strcmp(x->message, y->message);
}

void diagnostics_sort(struct diagnostics *list)
{
	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), compare);
}

int diagnostics_refuse(const struct diagnostics *list, struct refusal *reterr_refusal)
{
	const struct diagnostic *first = list->items;

	if (list->count == 0)
		return 0;
	if (list->count == 1)
		return refuse(reterr_refusal, first->code, "%s:%u:%u: %s", first->file, first->line,
			      first->column, first->message);
	return refuse(reterr_refusal, first->code,
		      "%s:%u:%u: %s (and %zu more; 'affix check' shows all)", first->file,
		      first->line, first->column, first->message, list->count - 1);
}

void diagnostics_done(struct diagnostics *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].file);
		free(list->items[i].message);
	}
	free(list->items);
	*list = DIAGNOSTICS_INIT;
}
