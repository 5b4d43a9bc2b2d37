/* SPDX-License-Identifier: Apache-2.0 */

/* install, configure, repair: the verbs that make a new plan, and what must hold before one is
 * tried. */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "engine/delivery.h"
#include "engine/operation.h"
#include "engine/platform.h"
#include "engine/running.h"
#include "engine/stopped.h"
#include "engine/transaction.h"
#include "plan/apply.h"
#include "plan/diff.h"
#include "plan/plan_own.h"
#include "plan/plan_paths.h"

/* An id is bound to the key of its first install; another needs a policy that names the id, or the
 * administrator. */
static int check_binding(struct operation *operation, const struct delivery *delivery)
{
	const struct record *record = operation->record;

	if (record->bound_key[0] == '\0' ||
	    strcmp(record->bound_key, delivery->bundle->key_id) == 0 || operation->call->is_admin)
		return 0;
	if (delivery->key->has_policy && strv_has(&delivery->key->ids, record->id))
		return 0;
	return refuse(
		&operation->refusal, REFUSAL_KEY_BINDING,
		"'%s' is bound to key %s and this bundle is signed by %s; name the id in the policy of '%s', or install it as the administrator",
		record->id, record->bound_key, delivery->bundle->key_id, delivery->key->name);
}

/* The bundle that runs, after a rollback perhaps, is no step back: it may be granted less. */
static int check_floor(struct operation *operation, const struct plan *plan)
{
	const struct record *record = operation->record;
	const struct identity *floor = &record->floor.identity;
	const struct identity *identity = &plan->identity;

	if (record->current && digest_is_equal(&record->current->bundle, &plan->bundle))
		return 0;
	if (!record->floor.is_set || operation->call->request->allow_downgrade ||
	    identity_compare(identity, floor) >= 0)
		return 0;
	if (identity->epoch == floor->epoch &&
	    version_compare(identity->version, floor->version) == 0)
		return refuse(
			&operation->refusal, REFUSAL_SAME_VERSION,
			"another build of '%s' %s was installed here and this one was made earlier; build a new version",
			record->id, identity->version);
	if (identity->epoch != floor->epoch)
		return refuse(
			&operation->refusal, REFUSAL_DOWNGRADE,
			"'%s' %s is of epoch %llu, and %s of the later epoch %llu was installed here; install a bundle of that epoch, or have the administrator allow it with --allow-downgrade",
			record->id, identity->version, (unsigned long long)identity->epoch,
			floor->version, (unsigned long long)floor->epoch);
	return refuse(
		&operation->refusal, REFUSAL_DOWNGRADE,
		"'%s' %s is older than %s, which was installed here; install a newer version, or have the administrator allow it with --allow-downgrade",
		record->id, identity->version, floor->version);
}

/* Equal rank and other bytes: no order between the two, so neither may replace the other by itself.
 */
static int check_rebuild(struct operation *operation, const struct plan *plan)
{
	const struct plan *current = operation->record->current;

	if (!current || operation->call->request->allow_downgrade ||
	    digest_is_equal(&current->bundle, &plan->bundle) ||
	    identity_compare(&plan->identity, &current->identity) != 0)
		return 0;
	return refuse(
		&operation->refusal, REFUSAL_SAME_VERSION,
		"'%s' %s with other bytes is installed and this bundle was not made later; build a new version",
		operation->record->id, plan->identity.version);
}

/* Of the subject, which *plan* is. */
static int check_quarantine(struct operation *operation, const struct plan *plan)
{
	return record_check_quarantine(operation->record, &operation->subject,
				       plan->identity.version, clock_realtime_sec(),
				       &operation->refusal);
}

/* Whether the subject is. */
static int is_current(struct operation *operation, bool *ret)
{
	const struct plan *current = operation->record->current;
	struct digest digest;
	int r;

	*ret = false;
	if (!current)
		return 0;
	r = plan_digest(current, &digest);
	if (r == 0)
		*ret = digest_is_equal(&digest, &operation->subject);
	return r;
}

/* What was dropped from the configuration is said, whatever became of the rest. */
static int report_dropped(struct operation *operation, const struct strv *dropped)
{
	json_t *list;
	int r;

	if (dropped->count == 0)
		return 0;
	if (!operation->result->data)
		operation->result->data = json_object();
	list = json_array();
	r = operation->result->data ? json_add(operation->result->data, "dropped_keys", list)
				    : -ENOMEM;
	for (size_t i = 0; r == 0 && i < dropped->count; i++)
		r = json_append(list, json_string(dropped->items[i]));
	return r;
}

static int run_plan(struct operation *operation, struct delivery *delivery, struct bundle *bundle,
		    struct plan *plan, enum record_operation kind)
{
	struct transaction_order order = {
		.operation = kind,
		.to = plan,
		.bundle = bundle,
		.config = delivery->config ? delivery->config : operation->record->config,
	};
	int r = transaction_run(operation, &order);

	(void)plan_free(order.to);
	return r == 0 ? report_dropped(operation, &delivery->dropped) : r;
}

/* Whether the request leaves the fleet's part of the configuration as it is; none is an empty one.
 */
static bool keeps_config(const struct operation *operation, const struct delivery *delivery)
{
	const json_t *kept = operation->record->config;

	if (!delivery->config)
		return true;
	if (!kept)
		return json_object_size(delivery->config) == 0;
	return json_equal(delivery->config, kept);
}

/* An install of what is there, or with another configuration, is a configure by another name. */
static int check_protected(struct operation *operation, const struct delivery *delivery,
			   const struct plan *plan)
{
	const struct record *record = operation->record;

	if (operation->call->is_admin || !record->current ||
	    !strv_has(&operation->policy->protected_ids, record->id))
		return 0;
	if (keeps_config(operation, delivery) &&
	    !digest_is_equal(&record->current->bundle, &plan->bundle))
		return 0;
	return refuse(
		&operation->refusal, REFUSAL_PROTECTED,
		"'%s' is protected on this host: the fleet may bring another version of it, with the configuration that it has; its administrator can change that in " HOST_POLICY_PATH,
		record->id);
}

static int check_install(struct operation *operation, const struct delivery *delivery,
			 const struct plan *plan)
{
	int r;

	r = operation_check_fleet(operation, plan->identity.id, false);
	if (r == 0)
		r = check_protected(operation, delivery, plan);
	if (r == 0)
		r = check_binding(operation, delivery);
	if (r == 0)
		r = check_floor(operation, plan);
	if (r == 0)
		r = check_rebuild(operation, plan);
	if (r == 0)
		r = check_quarantine(operation, plan);
	if (r == 0 && plan_owns_user(plan))
		r = tree_check_user(&operation->tree, plan->user, &operation->refusal);
	if (r == 0)
		r = apply_preflight(&operation->tree, plan, operation->record->current,
				    &operation->refusal);
	return r;
}

/* A request may name what it expects the bundle to be. */
static int check_expected(struct operation *operation, const struct delivery *delivery)
{
	const char *id = operation->call->request->id;

	if (id[0] == '\0' || strcmp(id, delivery->bundle->identity.id) == 0)
		return 0;
	return refuse(&operation->refusal, REFUSAL_IDENTITY_MISMATCH,
		      "the request is for '%s' and the bundle is '%s'; send the right bundle", id,
		      delivery->bundle->identity.id);
}

/* Older programs read what newer ones wrote, in the guest of an image that was in use. */
static int check_own(struct operation *operation, const struct plan *plan)
{
	const struct plan *current = operation->record->current;
	int r = plan_check_own(plan);

	if (r == 0 && current && !operation->call->request->allow_downgrade &&
	    version_compare(plan->identity.version, current->identity.version) < 0)
		return refuse(&operation->refusal, REFUSAL_DOWNGRADE,
			      "'%s' %s is older than %s, which is installed there; use the newer "
			      "affix, or allow it with --allow-downgrade",
			      plan->identity.id, plan->identity.version, current->identity.version);
	if (r == 0)
		r = platform_check(&operation->tree, &plan->identity, &operation->refusal);
	if (r == 0 && plan_owns_user(plan))
		r = tree_check_user(&operation->tree, plan->user, &operation->refusal);
	return r != 0 ? r : apply_preflight(&operation->tree, plan, current, &operation->refusal);
}

/* Whether *plan* is installed, and whole. */
static int is_intact(struct operation *operation, const struct plan *plan, bool *ret_same,
		     bool *ret_intact)
{
	cleanup_diff struct diff diff = DIFF_INIT;
	int r = is_current(operation, ret_same);

	if (r == 0 && *ret_same)
		r = plan_diff(plan, &operation->tree, &diff);
	*ret_intact = r == 0 && *ret_same && diff_count_damage(&diff) == 0;
	return r;
}

/* *damage*: how much of it is otherwise, as far as could be seen: *error*. */
static int answer_installed(struct operation *operation, const struct plan *plan, size_t damage,
			    int error)
{
	const char *id = plan->identity.id;
	char rest[256] = "";
	int r;

	if (error < 0)
		(void)snprintf(rest, sizeof(rest),
			       "; whether it is as it was installed cannot be seen: %s",
			       strerrordesc_np(-error));
	else if (damage > 0)
		(void)snprintf(rest, sizeof(rest),
			       "; it is not as it was installed, 'affix drift %s' says where", id);
	r = result_set(operation->result, RESULT_DONE, "",
		       "'%s' %s is installed already, nothing changed%s", id,
		       plan->identity.version, rest);
	operation->result->is_unchanged = r == 0;
	return r;
}

/* affix itself: its own files, that nobody signed, and only into the copy of an image. */
static int install_own(struct operation *operation, struct engine_own *own)
{
	struct transaction_order order = {.operation = RECORD_INSTALL, .bundle = own->bundle};
	const struct plan *plan = own->plan;
	bool same = false;
	bool intact = false;
	int r;

	assert(operation->call->is_copy);
	r = operation_lock(operation, plan->identity.id);
	if (r == 0)
		r = operation_set_subject(operation, plan);
	if (r == 0)
		r = is_intact(operation, plan, &same, &intact);
	if (r == 0 && intact)
		return answer_installed(operation, plan, 0, 0);
	if (r == 0)
		r = check_own(operation, plan);
	/* What was removed once left a machine its own files. */
	if (r == 0 && (operation->record->current || !operation->record->floor.is_set))
		r = apply_clear_seeds(&operation->tree, plan, operation->record->current);
	if (r != 0)
		return r;
	if (same)
		order.operation = RECORD_REPAIR;
	order.to = TAKE_PTR(own->plan);
	r = transaction_run(operation, &order);
	(void)plan_free(order.to);
	return r;
}

/* How much is otherwise than *plan*, the current one, has it; what is masked is so on purpose. */
static int count_damage(struct operation *operation, const struct plan *plan, size_t *ret)
{
	cleanup_diff struct diff diff = DIFF_INIT;
	int r = plan_diff(plan, &operation->tree, &diff);

	*ret = r == 0 ? stopped_count_damage(operation->record, &diff) : 0;
	for (size_t i = 0; r == 0 && i < diff.count; i++)
		*ret -= diff.items[i].kind == DIFF_MASKED;
	return r;
}

/* What is installed. In an image nobody repairs it who does not bring its bundle; elsewhere
 * repairs are asked for, and a look that fails is no reason to try again. */
static int install_again(struct operation *operation, struct delivery *delivery, struct plan *plan)
{
	cleanup_plan struct plan *to = plan;
	size_t n = 0;
	int r = count_damage(operation, to, &n);

	if (!operation->call->is_copy || (r == 0 && n == 0))
		return answer_installed(operation, to, n, r);
	if (r == 0)
		r = apply_preflight(&operation->tree, to, operation->record->current,
				    &operation->refusal);
	return r != 0 ? r
		      : run_plan(operation, delivery, delivery->bundle, TAKE_PTR(to),
				 RECORD_REPAIR);
}

int operation_install(struct operation *operation)
{
	cleanup_delivery struct delivery delivery = DELIVERY_INIT;
	cleanup_plan struct plan *plan = NULL;
	bool same = false;
	int r;

	if (operation->call->own)
		return install_own(operation, operation->call->own);
	r = delivery_receive(operation, true, &delivery);
	if (r == 0)
		r = check_expected(operation, &delivery);
	if (r == 0)
		r = operation_lock(operation, delivery.bundle->identity.id);
	if (r == 0)
		r = delivery_make_plan(operation, &delivery, operation->record->config, &plan);
	if (r == 0)
		r = is_current(operation, &same);
	if (r == 0 && same)
		return install_again(operation, &delivery, TAKE_PTR(plan));
	if (r == 0)
		r = check_install(operation, &delivery, plan);
	return r != 0 ? r
		      : run_plan(operation, &delivery, delivery.bundle, TAKE_PTR(plan),
				 RECORD_INSTALL);
}

/* configure: the plan again, from the bundle that is installed, with another configuration. */
int operation_configure(struct operation *operation)
{
	const char *id = operation->call->request->id;
	cleanup_delivery struct delivery delivery = DELIVERY_INIT;
	cleanup_plan struct plan *plan = NULL;
	bool same = false;
	int r;

	r = delivery_receive_config(operation, &delivery.config);
	if (r == 0)
		r = operation_lock(operation, id);
	if (r == 0)
		r = operation_check_installed(operation, id);
	if (r == 0)
		r = operation_check_fleet(operation, id, true);
	if (r == 0)
		r = delivery_load_installed(operation, operation->record->current, &delivery);
	if (r == 0)
		r = delivery_make_plan(operation, &delivery, operation->record->config, &plan);
	if (r == 0)
		r = is_current(operation, &same);
	if (r == 0 && same)
		return result_set(operation->result, RESULT_DONE, "",
				  "'%s' has this configuration already, nothing changed", id);
	if (r == 0)
		r = check_quarantine(operation, plan);
	if (r == 0)
		r = apply_preflight(&operation->tree, plan, operation->record->current,
				    &operation->refusal);
	return r != 0 ? r : run_plan(operation, &delivery, NULL, TAKE_PTR(plan), RECORD_CONFIGURE);
}

/* Bytes of the bundle come from a bundle only; everything else is in the record. */
static int repair_bytes(struct operation *operation, struct delivery *delivery)
{
	const struct record *record = operation->record;
	bool has_bytes = false;
	int r;

	r = apply_has_bytes(&operation->tree, record->current, &has_bytes);
	if (r < 0)
		return r;
	if (!has_bytes && manifest_id_is_own(record->id))
		return operation_refuse_own(operation, record->id);
	if (!delivery->bundle)
		return has_bytes
			       ? 0
			       : refuse(&operation->refusal, REFUSAL_NEEDS_BUNDLE,
					"files of '%s' %s are changed or missing and only its bundle has them; repair it with 'affix repair %s --bundle FILE'",
					record->id, record->current->identity.version, record->id);
	if (!digest_is_equal(&delivery->bundle->digest, &record->current->bundle))
		return refuse(
			&operation->refusal, REFUSAL_NEEDS_BUNDLE,
			"this is not the bundle that '%s' %s was installed from; bring that one",
			record->id, record->current->identity.version);
	return 0;
}

/* What was masked by hand starts again for whoever could have masked it, where that is by the link
 * in place of the unit's file. */
static int check_masked(struct operation *operation, const struct diff *diff)
{
	for (size_t i = 0; i < diff->count; i++) {
		const struct diff_item *item = &diff->items[i];

		if (item->kind != DIFF_MASKED ||
		    (operation->call->is_admin && path_is_below(item->path, PLAN_UNIT_BASE)))
			continue;
		return refuse(
			&operation->refusal, REFUSAL_HELD,
			"'%s' masks a unit of '%s', so its administrator wants it off; only the administrator may start it again, by removing that link first",
			item->path, operation->record->id);
	}
	return 0;
}

int operation_repair(struct operation *operation)
{
	const char *id = operation->call->request->id;
	cleanup_delivery struct delivery delivery = DELIVERY_INIT;
	cleanup_diff struct diff diff = DIFF_INIT;
	struct transaction_order order = {.operation = RECORD_REPAIR};
	bool needs_start = false;
	int r = 0;

	if (operation->call->fds[REQUEST_FD_BUNDLE] >= 0)
		r = delivery_receive(operation, true, &delivery);
	if (r == 0)
		r = operation_lock(operation, id);
	if (r == 0)
		r = operation_check_installed(operation, id);
	if (r == 0)
		r = operation_check_fleet(operation, id, false);
	if (r == 0)
		r = operation_set_subject(operation, operation->record->current);
	if (r == 0)
		r = plan_diff(operation->record->current, &operation->tree, &diff);
	if (r == 0)
		r = check_masked(operation, &diff);
	if (r == 0)
		r = running_needs_start(operation, operation->record, &needs_start);
	if (r == 0 && stopped_count_damage(operation->record, &diff) == 0 && !needs_start)
		return result_set(operation->result, RESULT_DONE, "",
				  "'%s' is as it should be, nothing changed", id);
	if (r == 0)
		r = apply_check_places(&operation->tree, operation->record->current,
				       operation->record->current, &operation->refusal);
	if (r == 0)
		r = repair_bytes(operation, &delivery);
	if (r == 0)
		r = plan_clone(operation->record->current, &order.to);
	if (r != 0)
		return r;
	order.bundle = delivery.bundle;
	order.config = operation->record->config;
	r = transaction_run(operation, &order);
	(void)plan_free(order.to);
	return r;
}
