/* SPDX-License-Identifier: Apache-2.0 */

#include "agent_world.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/addon_state.h"
#include "agent/state.h"
#include "base/fd.h"
#include "own_directory.h"

static char path[64];
static int state_fd;

static int begin(void **state)
{
	(void)state;
	own_directory_make(path);
	assert_int_equal(state_open(path, &state_fd), 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	state_fd = fd_close(state_fd);
	own_directory_remove(path);
	return 0;
}

static void an_instance_is_a_uuid_of_version_7_and_stays(void **state)
{
	uint8_t first[OPAMP_UID_SIZE];
	uint8_t second[OPAMP_UID_SIZE];
	char text[STATE_UID_TEXT_SIZE];
	bool is_new = false;

	(void)state;
	assert_int_equal(state_load_uid(state_fd, first, &is_new), 0);
	assert_true(is_new);
	assert_int_equal(state_store_uid(state_fd, first), 0);
	assert_int_equal(state_load_uid(state_fd, second, &is_new), 0);
	assert_false(is_new);
	assert_memory_equal(first, second, OPAMP_UID_SIZE);
	assert_int_equal(first[6] >> 4U, 7);
	assert_int_equal(first[8] >> 6U, 2);
	state_format_uid(first, text);
	assert_int_equal(strlen(text), 36);
	assert_int_equal(text[14], '7');
	second[0] ^= 1U;
	assert_int_equal(state_store_uid(state_fd, second), 0);
	assert_int_equal(state_load_uid(state_fd, first, &is_new), 0);
	assert_memory_equal(first, second, OPAMP_UID_SIZE);
}

static void a_secret_is_for_the_agent_alone(void **state)
{
	cleanup_free char *secret = NULL;
	struct stat st;

	(void)state;
	assert_int_equal(state_load_secret(state_fd, STATE_CREDENTIAL, &secret), 0);
	assert_null(secret);
	assert_int_equal(state_store_secret(state_fd, STATE_CREDENTIAL, "s3cret"), 0);
	assert_int_equal(fstatat(state_fd, STATE_CREDENTIAL, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777U, 0600);
	assert_int_equal(state_load_secret(state_fd, STATE_CREDENTIAL, &secret), 0);
	assert_string_equal(secret, "s3cret");
	free(secret);
	secret = NULL;
	assert_int_equal(state_store_secret(state_fd, STATE_CREDENTIAL, "a\nInjected: b"), 0);
	assert_int_equal(state_load_secret(state_fd, STATE_CREDENTIAL, &secret), 0);
	assert_null(secret);
	assert_int_equal(state_remove(state_fd, STATE_CREDENTIAL), 0);
	assert_int_equal(state_remove(state_fd, STATE_CREDENTIAL), 0);
}

static void damaged_json_is_as_if_it_were_not_there(void **state)
{
	cleanup_json json_t *json = NULL;

	(void)state;
	assert_int_equal(state_store_secret(state_fd, STATE_OFFER, "{\"a\":"), 0);
	assert_int_equal(state_load_json(state_fd, STATE_OFFER, &json), 0);
	assert_null(json);
}

static void memory_comes_back_and_nonsense_does_not(void **state)
{
	CLEANUP(memory_done) struct memory memory = MEMORY_INIT;
	CLEANUP(memory_done) struct memory back = MEMORY_INIT;
	struct memory_addon *addon = memory_get(&memory, "probe");
	cleanup_json json_t *json = NULL;
	json_t *members;

	(void)state;
	if (!addon) {
		fail_msg("no memory");
		return;
	}
	(void)snprintf(addon->key, sizeof(addon->key), "key");
	(void)snprintf(addon->failed_text, sizeof(addon->failed_text), "größer");
	addon->failure = MEMORY_QUARANTINED;
	addon->retry_at = 17;
	addon->is_missing = true;
	addon->missing_connection = UINT64_MAX - 1;
	json = memory_to_json(&memory);
	assert_int_equal(memory_from_json(json, &back), 0);
	assert_memory_equal(memory_find(&back, "probe"), addon, sizeof(*addon));
	members = json_object_get(json_object_get(json, "addons"), "probe");
	(void)json_object_set_new(members, "failure", json_string("imagined"));
	memory_done(&back);
	assert_int_equal(memory_from_json(json, &back), 1);
	assert_int_equal(back.count, 0);
}

static struct addon_state judged(const struct step *step, const struct wanted *wanted,
				 const struct host_addon *addon, const struct memory_addon *memory)
{
	return addon_state_judge(step, wanted, addon, memory, ACTIVITY_NONE);
}

static void an_addon_is_one_word(void **state)
{
	struct step none = {.kind = STEP_NONE, .id = "probe"};
	struct step failed = {
		.kind = STEP_WAIT, .id = "probe", .name = "unhealthy", .reason = "it died"};
	struct wanted wanted = {
		.id = "probe", .is_offered = true, .is_enabled = true, .version = "1", .key = "k"};
	struct host_addon addon = {.id = "probe", .state = "running", .is_installed = true};
	struct memory_addon memory = {.failure = MEMORY_QUARANTINED,
				      .failed_key = "k",
				      .failed_name = "unhealthy",
				      .since = 1};

	(void)state;
	assert_string_equal(judged(&none, &wanted, &addon, NULL).word, "running");
	assert_true(judged(&none, &wanted, &addon, NULL).is_healthy);
	assert_string_equal(judged(&failed, &wanted, &addon, &memory).word, "rolled-back");
	assert_string_equal(judged(&failed, &wanted, &addon, &memory).reason, "it died");
	assert_true(judged(&failed, &wanted, &addon, &memory).is_failed);
	assert_string_equal(judged(&failed, &wanted, NULL, &memory).word, "quarantined");
	/* What failed was something else: it is a wait, and what runs runs. */
	(void)snprintf(wanted.key, sizeof(wanted.key), "other");
	assert_string_equal(judged(&failed, &wanted, &addon, &memory).word, "running");
	(void)snprintf(wanted.key, sizeof(wanted.key), "k");
	memory.failure = MEMORY_PERMANENT;
	assert_string_equal(judged(&failed, &wanted, &addon, &memory).word, "degraded");
	assert_string_equal(judged(&failed, &wanted, NULL, &memory).word, "unhealthy");
	(void)snprintf(memory.failed_name, sizeof(memory.failed_name), "wrong-platform");
	(void)snprintf(failed.name, sizeof(failed.name), "wrong-platform");
	assert_string_equal(judged(&failed, &wanted, NULL, &memory).word, "unsupported");
	memory.failure = MEMORY_NO_FAILURE;
	assert_string_equal(judged(&none, &wanted, NULL, NULL).word, "starting");
	addon.restarts = 2;
	assert_string_equal(judged(&none, &wanted, &addon, &memory).word, "restarting");
	memory.restarts = 2;
	assert_string_equal(judged(&none, &wanted, &addon, &memory).word, "running");
	addon.state = "unhealthy";
	addon.reason = "it does not answer";
	assert_string_equal(judged(&none, &wanted, &addon, &memory).word, "unhealthy");
	assert_string_equal(judged(&none, &wanted, &addon, &memory).reason, "it does not answer");
	addon.state = "stopped";
	assert_string_equal(judged(&none, &wanted, &addon, &memory).word, "stopped");
	assert_string_equal(
		addon_state_judge(&none, &wanted, &addon, &memory, ACTIVITY_DOWNLOADING).word,
		"starting");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_instance_is_a_uuid_of_version_7_and_stays),
		TEST(a_secret_is_for_the_agent_alone),
		TEST(damaged_json_is_as_if_it_were_not_there),
		cmocka_unit_test(memory_comes_back_and_nonsense_does_not),
		cmocka_unit_test(an_addon_is_one_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
