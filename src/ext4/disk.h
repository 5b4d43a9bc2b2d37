/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#include "base/problem.h"

/* Where in a file a file system lies. */
struct disk_place {
	uint64_t offset;
	uint64_t size;
};

/*
 * The file system of an image file: the whole file (*partition* 0), or that partition of a GPT or
 * MBR disk image, logical ones from 5 on. The place lies inside the file. 0; PROBLEM_E_REFUSED;
 * -errno.
 */
must_check int disk_find(int fd, const char *name, unsigned partition, struct disk_place *ret,
			 struct problem *reterr_problem);
