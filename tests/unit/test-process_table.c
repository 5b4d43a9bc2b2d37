/* SPDX-License-Identifier: Apache-2.0 */

#include "netprobe/process_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/netprobe.h>

#include <cmocka.h>

#include "netprobe/procfs.h"

/* Numbers that no process has: above the kernel's highest. */
#define NOBODY   0x500000U
#define IDLE_MAX 8192U

static struct probe_owner owner_number(uint32_t tgid, uint64_t start_ns)
{
	return (struct probe_owner){.tgid = tgid, .start_ns = start_ns, .comm = "name"};
}

static void exec(struct process_table *table, uint32_t tgid, const char *word)
{
	struct probe_exec exec = {.owner = owner_number(tgid, 1), .arguments = 3};

	(void)snprintf(exec.argv0, sizeof(exec.argv0), "%s", word);
	process_table_exec(table, &exec);
}

static void the_name_at_exec_outlives_the_process(void **state)
{
	cleanup_process_table struct process_table *table = process_table_new(NULL);
	struct probe_owner owner = owner_number(NOBODY, 1);
	struct process *process;
	struct flow_owner shown;

	(void)state;
	exec(table, NOBODY, "/usr/bin/short");
	process = process_table_take(table, &owner);
	process_to_owner(process, NOBODY + 1, &shown);
	assert_string_equal(shown.cmdline, "/usr/bin/short");
	assert_int_equal(shown.arguments, 3);
	assert_int_equal(shown.tgid, NOBODY);
	assert_int_equal(shown.pid, NOBODY + 1);
	assert_string_equal(shown.comm, "name");
}

static void a_number_with_another_start_is_another_process(void **state)
{
	cleanup_process_table struct process_table *table = process_table_new(NULL);
	struct probe_owner first = owner_number(NOBODY, 1);
	struct probe_owner second = owner_number(NOBODY, 2);

	(void)state;
	exec(table, NOBODY, "first");
	assert_string_equal(process_table_take(table, &first)->word, "first");
	assert_null(process_table_take(table, &second)->word);
	assert_int_equal(process_table_size(table), 2);
}

static void a_living_process_is_read_only_if_its_start_is_the_same(void **state)
{
	cleanup_process_table struct process_table *table = process_table_new(NULL);
	struct procfs_process self;
	struct probe_owner owner;

	(void)state;
	assert_int_equal(procfs_read_process((uint32_t)getpid(), &self), 0);
	owner = owner_number((uint32_t)getpid(), self.start_ns + PROCFS_TICK_NS - 1);
	assert_string_equal(process_table_take(table, &owner)->word, self.command_line.word);
	owner.start_ns = self.start_ns - 1;
	assert_null(process_table_take(table, &owner)->word);
}

static void a_forked_process_that_is_gone_is_what_its_parent_is(void **state)
{
	cleanup_process_table struct process_table *table = process_table_new(NULL);
	struct probe_owner child = owner_number(NOBODY + 1, 2);
	struct probe_owner other = owner_number(NOBODY + 2, 2);

	(void)state;
	exec(table, NOBODY, "/usr/sbin/server");
	child.parent = NOBODY;
	child.parent_start_ns = 1;
	other.parent = NOBODY;
	other.parent_start_ns = 1;
	assert_string_equal(process_table_take(table, &child)->word, "/usr/sbin/server");
	/* Another name: it ran another program before anybody looked. */
	memcpy(other.comm, "other", sizeof("other"));
	assert_null(process_table_take(table, &other)->word);
}

static void processes_without_flows_are_kept_up_to_a_bound(void **state)
{
	cleanup_process_table struct process_table *table = process_table_new(NULL);
	struct probe_owner owner = owner_number(NOBODY, 1);
	struct process *process = process_table_take(table, &owner);

	(void)state;
	for (uint32_t i = 1; i <= 2 * IDLE_MAX; i++)
		exec(table, NOBODY + i, "word");
	assert_int_equal(process_table_size(table), IDLE_MAX + 1);
	/* Its flow keeps it, and it ages with the others from the moment that it has none. */
	assert_ptr_equal(process_table_take(table, &owner), process);
	(void)process_table_drop(table, process);
	(void)process_table_drop(table, process);
	assert_int_equal(process_table_size(table), IDLE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_name_at_exec_outlives_the_process),
		cmocka_unit_test(a_number_with_another_start_is_another_process),
		cmocka_unit_test(a_living_process_is_read_only_if_its_start_is_the_same),
		cmocka_unit_test(a_forked_process_that_is_gone_is_what_its_parent_is),
		cmocka_unit_test(processes_without_flows_are_kept_up_to_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
