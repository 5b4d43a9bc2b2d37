/* SPDX-License-Identifier: Apache-2.0 */

/* What a signature binds, what the manifest says and what the files are: three accounts of one
 * add-on, which must be the same account. */

#include "bundle/agree.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bundle/elf_head.h"
#include "manifest/schema.h"

static int mismatch(const char *field, const char *wanted, const char *got,
		    struct refusal *reterr_refusal)
{
	return refuse(reterr_refusal, REFUSAL_IDENTITY_MISMATCH,
		      "the signature is for %s '%s' and the bundle's manifest says '%s': sign the "
		      "bundle that was meant",
		      field, wanted, got);
}

static int check_identity(struct bundle *bundle, const struct identity *identity,
			  struct refusal *reterr_refusal)
{
	const struct manifest *manifest = bundle->manifest;

	if (!str_equal(identity->id, manifest->id))
		return mismatch("id", identity->id, manifest->id, reterr_refusal);
	if (!str_equal(identity->version, manifest->version))
		return mismatch("version", identity->version, manifest->version, reterr_refusal);
	bundle->identity = *identity;
	return 0;
}

/* A bundle that nobody vouches for is what it says it is. */
static int make_identity(struct bundle *bundle, const uint8_t *head, size_t head_size,
			 struct refusal *reterr_refusal)
{
	const struct manifest *manifest = bundle->manifest;
	struct identity *identity = &bundle->identity;
	const char *arch = elf_head_arch(head, head_size);

	if (!arch)
		return refuse(reterr_refusal, REFUSAL_WRONG_ELF,
			      "'%s' is no ELF file for a machine that is known: expected amd64 or "
			      "arm64",
			      manifest->exec_binary);
	(void)snprintf(identity->id, sizeof(identity->id), "%s", manifest->id);
	(void)snprintf(identity->version, sizeof(identity->version), "%s", manifest->version);
	(void)snprintf(identity->os, sizeof(identity->os), "linux");
	(void)snprintf(identity->arch, sizeof(identity->arch), "%s", arch);
	return 0;
}

static int require(const struct bundle *bundle, const char *name, const char *key,
		   struct refusal *reterr_refusal)
{
	if (bundle_find(bundle, name))
		return 0;
	return refuse(reterr_refusal, REFUSAL_MISSING_ENTRY,
		      "the bundle lacks '%s', which its manifest names as %s", name, key);
}

static int require_unit(const struct bundle *bundle, const char *suffix,
			struct refusal *reterr_refusal)
{
	for (size_t i = 0; i < bundle->n_entries; i++) {
		if (str_ends_with(bundle->entries[i].name, suffix))
			return 0;
	}
	return refuse(reterr_refusal, REFUSAL_MISSING_ENTRY,
		      "the bundle has no %s unit: supervision '%s' needs one", suffix,
		      manifest_supervision_to_string(bundle->manifest->supervision));
}

static int check_entries(const struct bundle *bundle, struct refusal *reterr_refusal)
{
	const struct manifest *manifest = bundle->manifest;
	int r = require(bundle, manifest->exec_binary, "exec.binary", reterr_refusal);

	if (r == 0)
		r = require(bundle, manifest->config_schema, "config_schema", reterr_refusal);
	if (r == 0 && manifest->supervision == MANIFEST_SUPERVISION_SYSTEMD_TIMER)
		r = require_unit(bundle, ".timer", reterr_refusal);
	if (r == 0 && (manifest->supervision == MANIFEST_SUPERVISION_SYSTEMD_TIMER ||
		       manifest->supervision == MANIFEST_SUPERVISION_SYSTEMD_SERVICE))
		r = require_unit(bundle, ".service", reterr_refusal);
	return r;
}

static int check_schema(const struct bundle *bundle, struct refusal *reterr_refusal)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	const struct bundle_entry *entry = bundle_find(bundle, bundle->manifest->config_schema);
	cleanup_schema struct schema *schema = NULL;
	int r = schema_parse(entry->text, (size_t)entry->size, entry->name, &schema, &diagnostics);

	return r <= 0 ? r : diagnostics_refuse(&diagnostics, reterr_refusal);
}

int agree_check(struct bundle *bundle, const struct identity *identity, const uint8_t *head,
		size_t head_size, struct refusal *reterr_refusal)
{
	int r;

	/* No entry, no manifest: the reader parses the one with the other. */
	if (!bundle->manifest)
		return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
			      "the bundle is empty: expected '%s' first", MANIFEST_NAME);
	if (identity) {
		r = check_identity(bundle, identity, reterr_refusal);
		if (r != 0)
			return r;
	}
	r = check_entries(bundle, reterr_refusal);
	if (r == 0 && !identity)
		r = make_identity(bundle, head, head_size, reterr_refusal);
	if (r != 0)
		return r;
	if (!strv_has(&bundle->manifest->platforms, bundle->identity.os))
		return refuse(
			reterr_refusal, REFUSAL_IDENTITY_MISMATCH,
			"the bundle is for '%s', which its manifest's requires.platforms does "
			"not name",
			bundle->identity.os);
	r = elf_head_check(head, head_size, bundle->identity.os, bundle->identity.arch,
			   bundle->manifest->exec_binary, reterr_refusal);
	return r != 0 ? r : check_schema(bundle, reterr_refusal);
}
