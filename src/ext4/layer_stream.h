/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/problem.h"

/* More than this comes out of no layer: what is behind it is a bomb. */
#define LAYER_STREAM_MAX (4ULL << 40)

/* The tar stream in a layer's blob: plain, or of any number of gzip members or zstd frames. */
struct layer_stream;

/*
 * *fd* is borrowed and read by offset, from 0. *name* is for sentences. *digest*, "sha256:" and 64
 * digits, is what the file must have (NULL: it is not looked at); both are borrowed. 0 or -errno.
 */
must_check int layer_stream_open(int fd, const char *name, const char *digest,
				 struct layer_stream **ret);
struct layer_stream *layer_stream_close(struct layer_stream *stream);

DEFINE_CLEANUP(struct layer_stream *, layer_stream, layer_stream_close)
#define cleanup_layer_stream CLEANUP(cleanup_layer_stream)

/*
 * The next piece, valid until the next call; of size 0 at the end, when the file was read whole and
 * its digest was right. 0; PROBLEM_E_REFUSED; -errno.
 */
must_check int layer_stream_read(struct layer_stream *stream, const void **ret, size_t *ret_size,
				 struct problem *reterr_problem);

/* Passes over up to *wanted* bytes at no cost, where that can be done; how many. Only for bytes
 * that no piece had yet. */
uint64_t layer_stream_skip(struct layer_stream *stream, uint64_t wanted);
