/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdlib.h>

/*
 * Ownership by scope. A local that owns something carries a cleanup attribute and an initial value;
 * it leaves its scope by TAKE_PTR() or TAKE_FD() (fd.h). Destructors accept NULL and return NULL.
 */

#define CLEANUP(f)         __attribute__((cleanup(f)))
#define must_check         __attribute__((warn_unused_result))
#define format_check(a, b) __attribute__((format(printf, a, b)))

/* For a result that changes nothing any more: the failure was already decided, or the step is done
 * again later. */
#define ignore_result(expression)                              \
	do {                                                   \
		__typeof__(expression) ignored = (expression); \
		(void)ignored;                                 \
	} while (0)

#define TAKE_PTR(p)                                     \
	({                                              \
		__typeof__(p) *take_place = &(p);       \
		__typeof__(p) take_value = *take_place; \
		*take_place = NULL;                     \
		take_value;                             \
	})

/* Defines cleanup_NAME(), the cleanup handler of a variable of pointer type TYPE that FREE ends. */
/* NOLINTBEGIN(bugprone-macro-parentheses): a type is no expression */
#define DEFINE_CLEANUP(type, name, free_function)  \
	static inline void cleanup_##name(type *p) \
	{                                          \
		if (*p)                            \
			(void)free_function(*p);   \
	}

/* NOLINTEND(bugprone-macro-parentheses) */

static inline void cleanup_free_ptr(void *p)
{
	free(*(void **)p);
}

#define cleanup_free CLEANUP(cleanup_free_ptr)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* <sys/param.h>, which other libraries include, has simpler ones. */
#undef MIN
#undef MAX
#define MIN(a, b)                              \
	({                                     \
		__typeof__(a) min_a = (a);     \
		__typeof__(b) min_b = (b);     \
		min_a < min_b ? min_a : min_b; \
	})
#define MAX(a, b)                              \
	({                                     \
		__typeof__(a) max_a = (a);     \
		__typeof__(b) max_b = (b);     \
		max_a > max_b ? max_a : max_b; \
	})
