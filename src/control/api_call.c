/* SPDX-License-Identifier: Apache-2.0 */

/* What handlers share: reading parameters, writing answers. */

#include "control/api_call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/package_arrival.h"

#define ID_DIGITS 18U

const char *api_query(const struct api_call *call, const char *name)
{
	for (size_t i = 0; i < call->n_query; i++) {
		if (str_equal(call->query[i].name, name))
			return call->query[i].value;
	}
	return NULL;
}

int api_query_known(struct api_call *call, const char *const *known)
{
	for (size_t i = 0; i < call->n_query; i++) {
		const char *name = call->query[i].name;
		size_t k = 0;

		while (known[k] && strcmp(known[k], name) != 0)
			k++;
		if (!known[k])
			return api_refuse(&call->problem, 400, "bad-request", name,
					  "this takes no such parameter");
	}
	return 0;
}

/* Decimal digits only; -1 for anything else. */
static int64_t read_id(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > ID_DIGITS || text[digits] != '\0')
		return -1;
	return (int64_t)strtoull(text, NULL, 10);
}

int api_parameter_id(struct api_call *call, unsigned index, int64_t *ret)
{
	int64_t id = read_id(call->parameters[index]);

	if (id <= 0)
		return api_refuse(&call->problem, 404, "not-found", NULL,
				  "there is nothing at this path; expected a number in it");
	*ret = id;
	return 0;
}

int api_page(struct api_call *call, struct api_page *ret)
{
	const char *limit = api_query(call, "limit");
	const char *after = api_query(call, "after");
	struct api_page page = {.limit = API_LIMIT_DEFAULT};
	int64_t number;

	if (limit) {
		number = read_id(limit);
		if (number < 1 || number > (int64_t)API_LIMIT_MAX)
			return api_refuse(&call->problem, 400, "bad-request", "limit",
					  "expected a number from 1 to %u", API_LIMIT_MAX);
		page.limit = (size_t)number;
	}
	if (after) {
		page.after = read_id(after);
		if (page.after < 0)
			return api_refuse(&call->problem, 400, "bad-request", "after",
					  "expected 'next' of the page before");
	}
	*ret = page;
	return 0;
}

int api_answer_text(struct api_call *call, const char *content_type, char *text, size_t size)
{
	if (!text)
		return -ENOMEM;
	call->response->status = 200;
	call->response->content_type = content_type;
	call->response->body = text;
	call->response->body_size = size;
	return 0;
}

int api_answer(struct api_call *call, unsigned status, json_t *object)
{
	cleanup_json json_t *owned = object;
	cleanup_json json_t *answer = json_pack("{s:i}", "schema", 1);
	char *text;
	int r;

	if (!owned || !answer || json_object_update(answer, owned) < 0)
		return -ENOMEM;
	text = json_dumps(answer, JSON_COMPACT);
	r = api_answer_text(call, "application/json", text, text ? strlen(text) : 0);
	if (r == 0)
		call->response->status = status;
	return r;
}

int api_answer_list(struct api_call *call, json_t *items, int64_t next)
{
	return api_answer(call, 200,
			  json_pack("{s:o, s:o}", "items", items, "next",
				    next != 0 ? json_integer(next) : json_null()));
}

int api_page_rows(struct api_call *call, const struct api_page *page, struct store_rows *rows,
		  int (*make)(struct api_call *call, struct store_rows *rows, json_t **ret))
{
	cleanup_json json_t *items = json_array();
	int64_t last = page->after;
	int64_t next = 0;
	int r = items ? 0 : -ENOMEM;

	while (r == 0) {
		json_t *item = NULL;
		bool row = false;

		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		/* There is one more, so another page begins after the last one of this. */
		if (json_array_size(items) == page->limit) {
			next = last;
			break;
		}
		last = store_int(rows, 0);
		r = make(call, rows, &item);
		if (r == 0)
			r = json_append(items, item);
	}
	return r == 0 ? api_answer_list(call, TAKE_PTR(items), next) : r;
}

int api_answer_rows(struct api_call *call, const char *const *filters, const char *sql,
		    int (*make)(struct api_call *call, struct store_rows *rows, json_t **ret))
{
	const char *known[API_FILTERS_MAX + 3] = {"limit", "after"};
	struct store_value values[API_FILTERS_MAX + 1] = {STORE_NULL};
	cleanup_rows struct store_rows *rows = NULL;
	struct api_page page = {0};
	size_t n = 0;
	int r;

	for (; n < API_FILTERS_MAX && filters[n]; n++) {
		known[n + 2] = filters[n];
		values[n + 1] = STORE_TEXT(api_query(call, filters[n]));
	}
	r = api_query_known(call, known);
	if (r == 0)
		r = api_page(call, &page);
	values[0] = STORE_INT(page.after);
	if (r == 0)
		r = store_select_values(call->fleet->store, &rows, sql, values, n + 1);
	return r == 0 ? api_page_rows(call, &page, rows, make) : r;
}

int api_answer_nothing(struct api_call *call)
{
	call->response->status = 204;
	return 0;
}

static const json_t *member(const struct api_call *call, const char *key)
{
	const json_t *value = json_object_get(call->body, key);

	return json_is_null(value) ? NULL : value;
}

static int refuse_member(struct api_call *call, const char *key, const char *expected)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/%.50s", key);
	return api_refuse(&call->problem, 400, "bad-request", path, "expected %s", expected);
}

int api_body_uint(struct api_call *call, const char *key, uint64_t max, uint64_t fallback,
		  uint64_t *ret)
{
	const json_t *value = member(call, key);
	char expected[64];

	*ret = fallback;
	if (!value)
		return 0;
	(void)snprintf(expected, sizeof(expected), "a whole number from 0 to %llu",
		       (unsigned long long)max);
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    (uint64_t)json_integer_value(value) > max)
		return refuse_member(call, key, expected);
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

int api_body_text(struct api_call *call, const char *key, const char *fallback, const char **ret)
{
	const json_t *value = member(call, key);

	*ret = fallback;
	if (!value && fallback)
		return 0;
	if (!json_is_string(value))
		return refuse_member(call, key, "a text");
	*ret = json_string_value(value);
	return 0;
}

int api_body_bool(struct api_call *call, const char *key, bool fallback, bool *ret)
{
	const json_t *value = member(call, key);

	*ret = fallback;
	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return refuse_member(call, key, "true or false");
	*ret = json_is_true(value);
	return 0;
}

int api_body_known(struct api_call *call, const char *const *known)
{
	const char *key = json_unknown_key(call->body, known);

	return key ? refuse_member(call, key, "no such member") : 0;
}

int api_import(struct api_call *call,
	       int (*begin)(struct api_call *call, struct package_arrival **ret),
	       int (*finish)(struct api_call *call, const struct package_arrival *arrival))
{
	struct package_arrival **checked = call->request->arrival;
	cleanup_package_arrival struct package_arrival *arrival = NULL;
	int r;

	if (checked && *checked)
		return finish(call, *checked);
	r = begin(call, &arrival);
	if (r != 0 || !arrival)
		return r;
	if (checked) {
		*checked = TAKE_PTR(arrival);
		call->response->status = 100;
		return 0;
	}
	package_arrival_check(arrival);
	return finish(call, arrival);
}
