/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From assignments to what one host gets. First the order alone decides which assignment wins, then
 * the gates decide whether the host can have what it says: a host that cannot is told so, it does
 * not silently get what another assignment would have given it. What it runs it keeps.
 *
 * `latest` is the newest approved version, pre-releases left out, that passes all gates on this
 * host; where none does, the newest of all tells why. A pre-release counts on a host that runs it:
 * the release before it would be a downgrade.
 */

#include "control/assign.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manifest/version.h"

static const char *const verdict_names[ASSIGN_VERDICT_N] = {
	[ASSIGN_OFFERED] = "offered",
	[ASSIGN_NOT_ASSIGNED] = "not-assigned",
	[ASSIGN_DISABLED] = "disabled",
	[ASSIGN_NOT_APPROVED] = "not-approved",
	[ASSIGN_REVOKED] = "revoked",
	[ASSIGN_PLATFORM] = "platform",
	[ASSIGN_NO_ARTIFACT] = "no-artifact",
	[ASSIGN_BASE_AGENT] = "base-agent",
	[ASSIGN_AGENT_CAPABILITY] = "agent-capability",
};

const char *assign_verdict_to_string(enum assign_verdict verdict)
{
	return (unsigned)verdict < ASSIGN_VERDICT_N ? verdict_names[verdict] : NULL;
}

void assign_host_done(struct assign_host *host)
{
	free(host->name);
	free(host->os);
	free(host->arch);
	free(host->agent_version);
	strv_done(&host->agent_capabilities);
	strv_done(&host->words);
	free(host->labels);
	*host = ASSIGN_HOST_INIT;
}

static int add_words(struct strv *list, const char *text)
{
	cleanup_free char *copy = strdup(text);
	char *rest = copy;
	char *word;
	int r = 0;

	if (!copy)
		return -ENOMEM;
	while (r == 0 && (word = strsep(&rest, " ,")) != NULL) {
		if (*word != '\0')
			r = strv_add(list, word);
	}
	return r;
}

static int load_facts(struct store *store, struct assign_host *host)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select(store, &rows,
			 "SELECT name, os, arch, agent_version, agent_capabilities, "
			 "removal_confirmed IS NOT NULL FROM host WHERE id = $1",
			 STORE_INT(host->id));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0)
		return r;
	if (!row)
		return 1;
	host->name = strdup(store_text(rows, 0));
	host->os = strdup(store_text(rows, 1));
	host->arch = strdup(store_text(rows, 2));
	host->agent_version = strdup(store_text(rows, 3));
	host->has_confirmed = store_int(rows, 5) != 0;
	if (!host->name || !host->os || !host->arch || !host->agent_version)
		return -ENOMEM;
	return add_words(&host->agent_capabilities, store_text(rows, 4));
}

static int load_labels(struct store *store, struct assign_host *host)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = true;
	int r;

	r = store_select(store, &rows, "SELECT key, value FROM label WHERE host = $1",
			 STORE_INT(host->id));
	while (r == 0) {
		r = store_next(rows, &row);
		if (r != 0 || !row)
			return r;
		r = strv_add(&host->words, store_text(rows, 0));
		if (r == 0)
			r = strv_add(&host->words, store_text(rows, 1));
	}
	return r;
}

int assign_host_load(struct store *store, int64_t id, struct assign_host *ret)
{
	cleanup_assign_host struct assign_host host = {.id = id};
	const struct selector_label *built_in;
	int r;

	r = load_facts(store, &host);
	if (r == 0)
		r = load_labels(store, &host);
	if (r != 0)
		return r;
	/* First, so that no label of that name comes before them. */
	built_in = (const struct selector_label[]){
		{"os",    host.os           },
		{"arch",  host.arch         },
		{"host",  host.name         },
		{"agent", host.agent_version}
        };
	host.n_labels = 4 + host.words.count / 2;
	host.labels = calloc(host.n_labels, sizeof(*host.labels));
	if (!host.labels)
		return -ENOMEM;
	memcpy(host.labels, built_in, 4 * sizeof(*built_in));
	for (size_t i = 0; i < host.words.count / 2; i++)
		host.labels[4 + i] = (struct selector_label){host.words.items[2 * i],
							     host.words.items[2 * i + 1]};
	*ret = host;
	host = ASSIGN_HOST_INIT;
	return 0;
}

bool assign_matches(const struct assignment *assignment, const struct assign_host *host)
{
	if (assignment->host != 0)
		return assignment->host == host->id;
	return assignment->selector &&
	       selector_matches(assignment->selector, host->labels, host->n_labels);
}

static void decide(struct assign_choice *choice, enum assign_verdict verdict, const char *format,
		   ...) format_check(3, 4);

static void decide(struct assign_choice *choice, enum assign_verdict verdict, const char *format,
		   ...)
{
	va_list arguments;

	choice->verdict = verdict;
	va_start(arguments, format);
	(void)vsnprintf(choice->reason, sizeof(choice->reason), format, arguments);
	va_end(arguments);
}

static const struct assign_artifact *find_artifact(const struct assign_package *package,
						   const struct assign_host *host)
{
	for (size_t i = 0; i < package->n_artifacts; i++) {
		const struct assign_artifact *artifact = &package->artifacts[i];

		if (strcmp(artifact->os, host->os) == 0 && strcmp(artifact->arch, host->arch) == 0)
			return artifact;
	}
	return NULL;
}

/* What a host must be and have for a package, the state of the package aside. */
static void ask_gates(const struct assign_package *package, const struct assign_host *host,
		      struct assign_choice *choice)
{
	const char *version = package->version;
	bool holds = false;

	choice->package = package;
	choice->version = version;
	if (!strv_has(&package->platforms, host->os)) {
		decide(choice, ASSIGN_PLATFORM, "%s is not for the platform '%.32s'", version,
		       host->os);
		return;
	}
	choice->artifact = find_artifact(package, host);
	if (!choice->artifact) {
		decide(choice, ASSIGN_NO_ARTIFACT, "there is no bundle of %s for %.32s/%.32s",
		       version, host->os, host->arch);
		return;
	}
	if (!choice->artifact->is_approved) {
		decide(choice, ASSIGN_NOT_APPROVED,
		       "the bundle of %s for %.32s/%.32s came after the approval; approve it again",
		       version, host->os, host->arch);
		return;
	}
	if (version_satisfies(host->agent_version, package->base_agent, &holds) != 0 || !holds) {
		decide(choice, ASSIGN_BASE_AGENT,
		       "%s needs an agent '%.64s', and the host's is '%.64s'", version,
		       package->base_agent, host->agent_version);
		return;
	}
	for (size_t i = 0; i < package->agent_capabilities.count; i++) {
		const char *capability = package->agent_capabilities.items[i];

		if (strv_has(&host->agent_capabilities, capability))
			continue;
		decide(choice, ASSIGN_AGENT_CAPABILITY,
		       "%s needs the agent capability '%.64s', which the host's agent has not",
		       version, capability);
		return;
	}
	decide(choice, ASSIGN_OFFERED, "%s is offered", version);
}

static int is_running(struct store *store, const struct assign_host *host,
		      const struct assign_package *package, bool *ret)
{
	int64_t n = 0;
	int r;

	r = store_number(store, &n, 0,
			 "SELECT 1 FROM observed WHERE host = $1 AND addon = $2 AND running = $3",
			 STORE_INT(host->id), STORE_TEXT(package->addon),
			 STORE_TEXT(package->version));
	*ret = n != 0;
	return r;
}

/* A revoked package stays with the hosts that run it: taking it away is what unassigning is for. */
static int decide_revoked(struct store *store, const struct assign_package *package,
			  const struct assign_host *host, struct assign_choice *choice)
{
	bool running = false;
	int r;

	choice->hangs_on_running = true;
	r = is_running(store, host, package, &running);
	if (r != 0)
		return r;
	if (running)
		ask_gates(package, host, choice);
	if (running && choice->verdict == ASSIGN_OFFERED) {
		choice->is_revoked = true;
		decide(choice, ASSIGN_OFFERED, "%s is revoked, but stays where it runs",
		       package->version);
		return 0;
	}
	if (!running) {
		choice->package = package;
		decide(choice, ASSIGN_REVOKED, "%s is revoked", package->version);
	}
	choice->artifact = NULL;
	return 0;
}

static int decide_exact(const struct assign_catalog *catalog, struct store *store,
			const struct assign_host *host, const char *version,
			struct assign_choice *choice)
{
	const char *addon = choice->assignment->addon;
	const struct assign_package *package = assign_catalog_find(catalog, addon, version);

	choice->version = version;
	if (!package) {
		decide(choice, ASSIGN_NOT_APPROVED, "%s was never imported", version);
		return 0;
	}
	if (package->state == PACKAGE_REVOKED)
		return decide_revoked(store, package, host, choice);
	if (package->state == PACKAGE_APPROVED) {
		ask_gates(package, host, choice);
		return 0;
	}
	choice->package = package;
	decide(choice, ASSIGN_NOT_APPROVED, "%s is imported, but not approved", version);
	return 0;
}

/* ASSIGN_NOT_ASSIGNED: a pre-release that the host does not run. */
static int decide_release(struct store *store, const struct assign_package *package,
			  const struct assign_host *host, struct assign_choice *choice)
{
	bool running = true;
	int r = 0;

	if (assign_is_prerelease(package->version)) {
		choice->hangs_on_running = true;
		r = is_running(store, host, package, &running);
	}
	if (running)
		ask_gates(package, host, choice);
	else
		decide(choice, ASSIGN_NOT_ASSIGNED, "%s is a pre-release", package->version);
	return r;
}

/* Newest first: whatever passes is it, and so is a revoked one that the host runs, because what is
 * older would be a downgrade. */
static int decide_latest(const struct assign_catalog *catalog, struct store *store,
			 const struct assign_host *host, struct assign_choice *choice)
{
	struct assign_choice newest = *choice;
	bool hangs_on_running = false;
	bool is_found = false;
	int r = 0;

	decide(&newest, ASSIGN_NOT_APPROVED, "no version is approved");
	for (size_t i = 0; i < catalog->n_packages && r == 0; i++) {
		const struct assign_package *package = &catalog->packages[i];
		struct assign_choice one = *choice;

		if (strcmp(package->addon, choice->assignment->addon) != 0 ||
		    package->state == PACKAGE_IMPORTED)
			continue;
		if (package->state == PACKAGE_REVOKED)
			r = decide_revoked(store, package, host, &one);
		else
			r = decide_release(store, package, host, &one);
		hangs_on_running = hangs_on_running || one.hangs_on_running;
		if (one.verdict == ASSIGN_NOT_ASSIGNED)
			continue;
		if (r == 0 && one.verdict == ASSIGN_OFFERED) {
			*choice = one;
			choice->hangs_on_running = hangs_on_running;
			return 0;
		}
		if (!is_found && package->state == PACKAGE_APPROVED) {
			newest = one;
			is_found = true;
		}
	}
	*choice = newest;
	choice->hangs_on_running = hangs_on_running;
	return r;
}

static int is_in_rollout(struct store *store, const struct assignment *assignment,
			 const struct assign_host *host, bool *ret)
{
	int64_t n = 0;
	int r = 0;

	if (assignment->rollout != 0)
		r = store_number(store, &n, 0,
				 "SELECT 1 FROM rollout_host WHERE rollout = $1 AND host = $2 "
				 "AND wave <= $3",
				 STORE_INT(assignment->rollout), STORE_INT(host->id),
				 STORE_INT(assignment->rollout_wave));
	*ret = n != 0;
	return r;
}

static void offer_instead(const struct assign_package *package,
			  const struct assign_artifact *artifact, const char *how,
			  struct assign_choice *choice)
{
	size_t length = strlen(choice->reason);

	(void)snprintf(choice->reason + length, sizeof(choice->reason) - length, "; %.64s %s",
		       package->version, how);
	choice->package = package;
	choice->artifact = artifact;
	choice->version = package->version;
	choice->is_revoked = package->state == PACKAGE_REVOKED;
	choice->by_rollout = choice->by_rollout &&
			     strcmp(package->version, choice->assignment->rollout_version) == 0;
}

/* A host that cannot have what it is to have keeps what it runs of it: not to be offered it would
 * be to lose it, which is what unassigning is for. */
static int keep_running(const struct assign_catalog *catalog, struct store *store,
			const struct assign_host *host, struct assign_choice *choice)
{
	const char *addon = choice->assignment->addon;
	const struct assign_artifact *artifact = NULL;
	const struct assign_package *package = NULL;
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	choice->hangs_on_running = true;
	r = store_select(store, &rows,
			 "SELECT running FROM observed WHERE host = $1 AND addon = $2 AND "
			 "running IS NOT NULL",
			 STORE_INT(host->id), STORE_TEXT(addon));
	if (r == 0)
		r = store_next(rows, &row);
	if (r == 0 && row)
		package = assign_catalog_find(catalog, addon, store_text(rows, 0));
	if (package && package->state != PACKAGE_IMPORTED)
		artifact = find_artifact(package, host);
	if (artifact && artifact->is_approved)
		offer_instead(package, artifact, "stays where it runs", choice);
	return r;
}

/* The version that a rollout moves the assignment from, where the new one cannot be had. */
static int fall_back(const struct assign_catalog *catalog, struct store *store,
		     const struct assign_host *host, struct assign_choice *choice)
{
	struct assign_choice old = {.assignment = choice->assignment};
	int r;

	r = decide_exact(catalog, store, host, choice->assignment->version, &old);
	choice->hangs_on_running = choice->hangs_on_running || old.hangs_on_running;
	if (r == 0 && old.verdict == ASSIGN_OFFERED)
		offer_instead(old.package, old.artifact, "is offered", choice);
	return r;
}

static int decide_winner(const struct assign_catalog *catalog, struct store *store,
			 const struct assign_host *host, const struct assignment *winner,
			 struct assign_choice *ret)
{
	struct assign_choice choice = {.assignment = winner, .version = ""};
	int r = 0;

	choice.verdict = ASSIGN_NOT_APPROVED;
	if (!winner->enabled)
		decide(&choice, ASSIGN_DISABLED, "assignment %lld wins and is disabled",
		       (long long)winner->id);
	else
		r = is_in_rollout(store, winner, host, &choice.by_rollout);
	if (r == 0 && winner->enabled)
		r = !choice.by_rollout && strcmp(winner->version, ASSIGN_LATEST) == 0
			    ? decide_latest(catalog, store, host, &choice)
			    : decide_exact(catalog, store, host,
					   choice.by_rollout ? winner->rollout_version
							     : winner->version,
					   &choice);
	if (choice.verdict != ASSIGN_OFFERED)
		choice.artifact = NULL;
	if (r == 0 && winner->enabled && !assign_is_offered(&choice))
		r = keep_running(catalog, store, host, &choice);
	if (r == 0 && choice.by_rollout && !assign_is_offered(&choice))
		r = fall_back(catalog, store, host, &choice);
	if (r == 0)
		*ret = choice;
	return r;
}

const char *assign_config(const struct assign_choice *choice)
{
	const struct assignment *assignment = choice->assignment;

	for (size_t i = 0; choice->package && i < assignment->n_kept; i++) {
		if (assignment->kept[i].package == choice->package->id)
			return assignment->kept[i].config;
	}
	return assignment->config;
}

int assign_decide(const struct assign_catalog *catalog, struct store *store,
		  const struct assign_host *host, struct assign_choice **ret, size_t *ret_n)
{
	cleanup_free struct assign_choice *choices = NULL;
	const char *decided = "";
	size_t n = 0;

	for (size_t i = 0; i < catalog->n_assignments; i++) {
		const struct assignment *assignment = &catalog->assignments[i];
		struct assign_choice *list;
		int r;

		if (strcmp(assignment->addon, decided) == 0 || !assign_matches(assignment, host))
			continue;
		decided = assignment->addon;
		list = reallocarray(choices, n + 1, sizeof(*list));
		if (!list)
			return -ENOMEM;
		choices = list;
		r = decide_winner(catalog, store, host, assignment, &choices[n]);
		if (r != 0)
			return r;
		n++;
	}
	*ret = TAKE_PTR(choices);
	*ret_n = n;
	return 0;
}

int assign_decide_one(const struct assign_catalog *catalog, struct store *store,
		      const struct assign_host *host, const char *addon, struct assign_choice *ret)
{
	for (size_t i = 0; i < catalog->n_assignments; i++) {
		const struct assignment *assignment = &catalog->assignments[i];

		if (strcmp(assignment->addon, addon) == 0 && assign_matches(assignment, host))
			return decide_winner(catalog, store, host, assignment, ret);
	}
	*ret = (struct assign_choice){.version = ""};
	decide(ret, ASSIGN_NOT_ASSIGNED, "no assignment of it matches the host");
	return 0;
}
