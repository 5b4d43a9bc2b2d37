/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Equality and order of JSON values. jansson's json_equal() tells 1 from 1.0, which JSON Schema
 * does not; and comparing every item of a long array with every other would take minutes, so items
 * are hashed and only those of one hash are compared. Depth is bounded where the text was parsed.
 */

#include "manifest/schema_value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HASH_START UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME UINT64_C(0x100000001b3)
/* Quotients beyond this have no fraction to look at. */
#define EXACT_MAX     9007199254740992.0L
#define INTEGER_LIMIT 9223372036854775808.0 /* 2^63 */
#define TOLERANCE     1e-9L

/* With more digits than either, except under valgrind. */
static long double number_of(const json_t *value)
{
	return json_is_integer(value) ? (long double)json_integer_value(value)
				      : (long double)json_real_value(value);
}

/* Exact, where a double would round the integer. */
static int compare_mixed(json_int_t integer, double real)
{
	json_int_t whole;
	double fraction;

	if (real >= INTEGER_LIMIT)
		return -1;
	if (real < -INTEGER_LIMIT)
		return 1;
	whole = (json_int_t)real;
	fraction = real - (double)whole;
	if (integer != whole)
		return integer < whole ? -1 : 1;
	return (fraction < 0) - (fraction > 0);
}

int schema_value_compare(const json_t *a, const json_t *b)
{
	if (json_is_integer(a) && json_is_integer(b))
		return (json_integer_value(a) > json_integer_value(b)) -
		       (json_integer_value(a) < json_integer_value(b));
	if (json_is_integer(a))
		return compare_mixed(json_integer_value(a), json_real_value(b));
	if (json_is_integer(b))
		return -compare_mixed(json_integer_value(b), json_real_value(a));
	return (json_real_value(a) > json_real_value(b)) -
	       (json_real_value(a) < json_real_value(b));
}

bool schema_value_is_integral(const json_t *value)
{
	double number;

	if (json_is_integer(value))
		return true;
	number = json_real_value(value);
	return json_is_real(value) && isfinite(number) && floor(number) == number;
}

bool schema_value_is_multiple(const json_t *value, const json_t *of)
{
	long double quotient;

	if (json_is_integer(value) && json_is_integer(of))
		return json_integer_value(value) % json_integer_value(of) == 0;
	quotient = number_of(value) / number_of(of);
	if (!isfinite(quotient))
		return false;
	if (fabsl(quotient) >= EXACT_MAX)
		return fmodl(number_of(value), number_of(of)) == 0;
	return fabsl(quotient - roundl(quotient)) <= TOLERANCE;
}

static bool pay(uint64_t *budget, uint64_t price)
{
	if (price > *budget) {
		*budget = 0;
		return false;
	}
	*budget -= price;
	return true;
}

static bool arrays_are_equal(const json_t *a, const json_t *b, uint64_t *budget)
{
	size_t n = json_array_size(a);

	if (n != json_array_size(b))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!schema_value_is_equal(json_array_get(a, i), json_array_get(b, i), budget))
			return false;
	}
	return true;
}

static bool objects_are_equal(const json_t *a, const json_t *b, uint64_t *budget)
{
	const char *key;
	json_t *value;

	if (json_object_size(a) != json_object_size(b))
		return false;
	json_object_foreach((json_t *)a, key, value)
	{
		const json_t *other = json_object_get(b, key);

		if (!other || !schema_value_is_equal(value, other, budget))
			return false;
	}
	return true;
}

bool schema_value_is_equal(const json_t *a, const json_t *b, uint64_t *budget)
{
	size_t length;

	if (!pay(budget, 1))
		return false;
	if (json_is_number(a) && json_is_number(b))
		return schema_value_compare(a, b) == 0;
	if (json_typeof(a) != json_typeof(b))
		return false;
	switch (json_typeof(a)) {
	case JSON_OBJECT:
		return objects_are_equal(a, b, budget);
	case JSON_ARRAY:
		return arrays_are_equal(a, b, budget);
	case JSON_STRING:
		length = json_string_length(a);
		return length == json_string_length(b) && pay(budget, length / 64) &&
		       memcmp(json_string_value(a), json_string_value(b), length) == 0;
	default:
		return true;
	}
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * HASH_PRIME;
	return hash;
}

static uint64_t hash_value(const json_t *value, uint64_t *budget);

static uint64_t hash_members(uint64_t hash, const json_t *object, uint64_t *budget)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		size_t length = strlen(key);

		if (!pay(budget, length / 64))
			return hash;
		hash += hash_bytes(hash_value(value, budget), key, length);
	}
	return hash;
}

static uint64_t hash_items(uint64_t hash, const json_t *array, uint64_t *budget)
{
	for (size_t i = 0; i < json_array_size(array) && *budget > 0; i++)
		hash = hash * HASH_PRIME + hash_value(json_array_get(array, i), budget);
	return hash;
}

/* Equal values have equal hashes, whatever the spelling of numbers and the order of members. */
static uint64_t hash_value(const json_t *value, uint64_t *budget)
{
	int type = json_is_number(value) ? (int)JSON_REAL : (int)json_typeof(value);
	uint64_t hash = hash_bytes(HASH_START, &type, sizeof(type));
	double number;

	if (!pay(budget, 1))
		return hash;
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return hash_members(hash, value, budget);
	case JSON_ARRAY:
		return hash_items(hash, value, budget);
	case JSON_STRING:
		if (!pay(budget, json_string_length(value) / 64))
			return hash;
		return hash_bytes(hash, json_string_value(value), json_string_length(value));
	case JSON_INTEGER:
	case JSON_REAL:
		/* -0.0 and 0 are equal; adding 0 makes them the same bits. */
		number = json_number_value(value) + 0.0;
		return hash_bytes(hash, &number, sizeof(number));
	default:
		return hash;
	}
}

struct hashed {
	uint64_t hash;
	const json_t *value;
};

static int compare_hashes(const void *a, const void *b)
{
	const struct hashed *x = a;
	const struct hashed *y = b;

	return (x->hash > y->hash) - (x->hash < y->hash);
}

static bool has_equal(const struct hashed *items, size_t count, uint64_t *budget)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t j = i + 1; j < count && items[j].hash == items[i].hash; j++) {
			if (schema_value_is_equal(items[i].value, items[j].value, budget))
				return true;
			if (*budget == 0)
				return false;
		}
	}
	return false;
}

int schema_value_has_equal_items(const json_t *array, uint64_t *budget, bool *ret)
{
	cleanup_free struct hashed *items = NULL;
	size_t n = json_array_size(array);

	if (n < 2) {
		*ret = false;
		return 0;
	}
	items = calloc(n, sizeof(*items));
	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		items[i] = (struct hashed){hash_value(json_array_get(array, i), budget),
					   json_array_get(array, i)};
	qsort(items, n, sizeof(*items), compare_hashes);
	*ret = has_equal(items, n, budget);
	return 0;
}
