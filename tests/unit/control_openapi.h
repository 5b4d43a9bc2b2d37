/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

/*
 * docs/openapi.json, found by AFFIX_SOURCE in the environment, which `meson test` sets. Answers are
 * held against it: each status must be there, each body must fit its schema, with no member more
 * and none less.
 */
#define OPENAPI_REFERENCE "#/components/schemas/"

const json_t *openapi_load(void);
/* The operation of a method at a path, or NULL. */
const json_t *openapi_operation(const char *method, const char *path);
/* Fails the test unless the answer is as described. */
void openapi_check(const char *method, const char *path, unsigned status, const json_t *body);
