/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "netprobe/container_cache.h"
#include "netprobe/flow_table.h"
#include "netprobe/hash.h"
#include "netprobe/match.h"
#include "netprobe/process_table.h"

static unsigned seeds;

void __real_randombytes_buf(void *buffer, size_t size);
void __wrap_randombytes_buf(void *buffer, size_t size);

void __wrap_randombytes_buf(void *buffer, size_t size)
{
	seeds += size >= sizeof(struct hash_key);
	__real_randombytes_buf(buffer, size);
}

static void every_table_whose_keys_others_choose_has_a_seed_of_its_own(void **state)
{
	cleanup_match struct match *match = NULL;
	cleanup_flow_table struct flow_table *flows = NULL;
	struct container_cache *containers;
	struct process_table *processes;

	(void)state;
	seeds = 0;
	match = match_new();
	assert_int_equal(seeds, 1);
	flows = flow_table_new(8);
	assert_int_equal(seeds, 2);
	containers = container_cache_new(-EBADF);
	assert_int_equal(seeds, 3);
	processes = process_table_new(containers);
	assert_int_equal(seeds, 4);
	(void)process_table_free(processes);
	(void)container_cache_free(containers);
}

static void a_hash_depends_on_its_seed_and_on_every_byte(void **state)
{
	const struct hash_key first = hash_key_new();
	const struct hash_key second = hash_key_new();
	uint8_t data[40] = {0};
	uint64_t before = hash_of(&first, data, sizeof(data));

	(void)state;
	assert_memory_not_equal(&first, &second, sizeof(first));
	assert_true(before != hash_of(&second, data, sizeof(data)));
	for (size_t i = 0; i < sizeof(data); i++) {
		data[i] = 1;
		assert_true(before != hash_of(&first, data, sizeof(data)));
		data[i] = 0;
	}
	assert_true(before == hash_of(&first, data, sizeof(data)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_table_whose_keys_others_choose_has_a_seed_of_its_own),
		cmocka_unit_test(a_hash_depends_on_its_seed_and_on_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
