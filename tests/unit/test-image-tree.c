/* SPDX-License-Identifier: Apache-2.0 */

#include "ext4/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "ext4/tree_private.h"

#define VALUE_SIZE 4000U
#define WAITS      1000U

static int put(struct tree *tree, const struct layer_entry *entry, uint16_t layer)
{
	struct problem problem = PROBLEM_INIT;
	struct tree_inode *inode = NULL;

	return tree_put(tree, NULL, entry, layer, &inode, &problem);
}

static void all_that_a_layer_says_counts_and_has_a_bound(void **state)
{
	static const char value[VALUE_SIZE];
	struct layer_xattr xattr = {.name = "user.x", .value = value, .size = VALUE_SIZE};
	struct layer_entry entry = {
		.path = "a", .mode = S_IFREG | 0644, .xattrs = &xattr, .xattr_count = 1};
	cleanup_tree struct tree *tree = NULL;
	uint64_t before;

	(void)state;
	assert_int_equal(tree_new(&tree), 0);
	/* The same name over and over. */
	for (unsigned i = 1; i <= 10; i++) {
		before = tree->bytes;
		assert_int_equal(put(tree, &entry, 2), 0);
		assert_true(tree->bytes >= before + VALUE_SIZE + sizeof(struct tree_inode));
	}
	before = tree->bytes;
	entry = (struct layer_entry){.path = "b", .target = "nowhere"};
	assert_int_equal(put(tree, &entry, 2), 0);
	assert_true(tree->bytes >= before + sizeof(struct tree_node) + sizeof(struct tree_wait));
	tree->bytes = TREE_BYTES_MAX + 1;
	assert_int_equal(put(tree, &entry, 2), PROBLEM_E_REFUSED);
}

static void links_that_wait_take_time_that_has_a_bound(void **state)
{
	struct layer_entry link = {.target = "nowhere"};
	struct layer_entry other = {.path = "nowhere", .mode = S_IFREG | 0644};
	cleanup_tree struct tree *tree = NULL;
	uint64_t before;

	(void)state;
	assert_int_equal(tree_new(&tree), 0);
	for (unsigned i = 0; i < WAITS; i++) {
		(void)snprintf(link.path, sizeof(link.path), "%u", i);
		assert_int_equal(put(tree, &link, 2), 0);
	}
	assert_true(tree_is_waiting(tree, 2));
	assert_false(tree_is_waiting(tree, 3));
	before = tree->work;
	/* Of their own layer: they are looked at, and wait on. */
	assert_int_equal(put(tree, &other, 2), 0);
	assert_true(tree->work >= before + WAITS);
	assert_true(tree_is_waiting(tree, 2));
	/* Of one below: it is what they wait for. */
	assert_int_equal(put(tree, &other, 1), 0);
	assert_false(tree_is_waiting(tree, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_a_layer_says_counts_and_has_a_bound),
		cmocka_unit_test(links_that_wait_take_time_that_has_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
