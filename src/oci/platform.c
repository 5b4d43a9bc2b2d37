/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The choice among the manifests of an index. Architectures have the names that Go has for them.
 * Variants are ranked only where a machine of the higher one runs the lower one's programs.
 */

#include "oci/document.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/str.h"

/* Names by uname(2), the architecture's, and what such a machine runs at best. */
static const struct {
	const char *machine;
	const char *arch;
	const char *variant;
} machines[] = {
	{"x86_64",  "amd64",   ""  },
        {"aarch64", "arm64",   "v8"},
        {"armv7l",  "arm",     "v7"},
	{"armv6l",  "arm",     "v6"},
        {"i686",    "386",     ""  },
        {"riscv64", "riscv64", ""  },
	{"ppc64le", "ppc64le", ""  },
        {"s390x",   "s390x",   ""  },
};

void oci_platform_of_machine(struct oci_platform *ret)
{
	struct utsname name;

	*ret = (struct oci_platform){.os = "linux"};
	if (uname(&name) < 0)
		return;
	(void)snprintf(ret->arch, sizeof(ret->arch), "%.*s", (int)sizeof(ret->arch) - 1,
		       name.machine);
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		if (strcmp(machines[i].machine, name.machine) != 0)
			continue;
		(void)snprintf(ret->arch, sizeof(ret->arch), "%s", machines[i].arch);
		(void)snprintf(ret->variant, sizeof(ret->variant), "%s", machines[i].variant);
	}
}

/* "v7" as 7; what is no such thing, and none, as 0. An arm64 without variant is v8. */
static int variant_rank(const char *arch, const char *variant)
{
	if (!*variant && strcmp(arch, "arm64") == 0)
		return 8;
	if (variant[0] == 'v' && variant[1] >= '1' && variant[1] <= '9' && variant[2] == '\0')
		return variant[1] - '0';
	return 0;
}

/* How good *item* is for *wanted*: below 0 not at all. */
static int judge(const struct oci_descriptor *item, const struct oci_platform *wanted)
{
	int rank = variant_rank(item->arch, item->variant);

	if (strcmp(item->os, wanted->os) != 0 || strcmp(item->arch, wanted->arch) != 0)
		return -1;
	if (strcmp(item->variant, wanted->variant) == 0)
		return 100;
	if (!*wanted->variant)
		return 50 - rank;
	return rank <= variant_rank(wanted->arch, wanted->variant) ? rank : -1;
}

const struct oci_descriptor *oci_platform_choose(const struct oci_document *index,
						 const struct oci_platform *wanted)
{
	const struct oci_descriptor *best = NULL;
	int best_rank = -1;

	for (size_t i = 0; i < index->count; i++) {
		int rank = judge(&index->items[i], wanted);

		if (rank > best_rank) {
			best = &index->items[i];
			best_rank = rank;
		}
	}
	return best;
}
