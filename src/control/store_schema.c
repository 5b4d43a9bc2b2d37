/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The tables. Times are seconds since 1970, 0 for never. Secrets (tokens, credentials) are kept as
 * SHA-256 only: they are random, so a plain digest is enough. Lists inside a row are JSON or words
 * with blanks between, where nothing ever searches in them.
 *
 * What a host reports of an add-on comes from three places that OpAMP keeps apart, and each
 * replaces only its own columns of `observed`: our status message (said_*), the health tree
 * (health_*), and package statuses (package_*). `state` is what follows from them, `state_since`
 * when that last changed by our clock.
 */

#include "control/store_schema.h"

static const char first_step[] =
	"CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL);"

	"CREATE TABLE join_token ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, hash BLOB NOT NULL UNIQUE,"
	" created BIGINT NOT NULL, expires BIGINT NOT NULL, max_uses BIGINT NOT NULL,"
	" uses BIGINT NOT NULL DEFAULT 0, revoked BIGINT NOT NULL DEFAULT 0);"

	"CREATE TABLE api_token ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" hash BLOB NOT NULL UNIQUE, role TEXT NOT NULL, created BIGINT NOT NULL,"
	" expires BIGINT NOT NULL, revoked BIGINT NOT NULL DEFAULT 0);"

	"CREATE TABLE host ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, uid BLOB NOT NULL,"
	" credential BLOB UNIQUE, confirmed BIGINT NOT NULL DEFAULT 0, certificate TEXT UNIQUE,"
	" join_token BIGINT REFERENCES join_token (id),"
	" enrolled BIGINT NOT NULL, revoked BIGINT NOT NULL DEFAULT 0,"
	" last_seen BIGINT NOT NULL, digests BLOB,"
	" os TEXT NOT NULL DEFAULT '', arch TEXT NOT NULL DEFAULT '',"
	" agent_version TEXT NOT NULL DEFAULT '', agent_capabilities TEXT NOT NULL DEFAULT '',"
	" attributes TEXT NOT NULL DEFAULT '{}',"
	" healthy BIGINT NOT NULL DEFAULT 1, health_error TEXT NOT NULL DEFAULT '',"
	" config_hash BLOB, config_status BIGINT NOT NULL DEFAULT 0,"
	" config_error TEXT NOT NULL DEFAULT '',"
	" packages_hash BLOB, packages_error TEXT NOT NULL DEFAULT '',"
	" removal_confirmed TEXT);"
	"CREATE INDEX host_name ON host (name);"
	"CREATE INDEX host_uid ON host (uid);"
	"CREATE INDEX host_seen ON host (last_seen);"

	"CREATE TABLE revoked_certificate (name TEXT PRIMARY KEY);"

	"CREATE TABLE label ("
	" host BIGINT NOT NULL REFERENCES host (id) ON DELETE CASCADE,"
	" key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (host, key));"

	"CREATE TABLE effective_config ("
	" host BIGINT NOT NULL REFERENCES host (id) ON DELETE CASCADE,"
	" name TEXT NOT NULL, content_type TEXT NOT NULL, body TEXT NOT NULL,"
	" PRIMARY KEY (host, name));"

	"CREATE TABLE observed ("
	" host BIGINT NOT NULL REFERENCES host (id) ON DELETE CASCADE, addon TEXT NOT NULL,"
	" state TEXT NOT NULL DEFAULT '', state_since BIGINT NOT NULL DEFAULT 0,"
	" running TEXT NOT NULL DEFAULT '',"
	" said_state TEXT, said_version TEXT, said_reason TEXT, said_name TEXT,"
	" said_restarts BIGINT, said_since BIGINT, said_origin TEXT, said_held BIGINT,"
	" said_plan TEXT, said_drift TEXT,"
	" health_ok BIGINT, health_status TEXT, health_error TEXT,"
	" package_version TEXT, package_hash BLOB, package_offered TEXT,"
	" package_offered_hash BLOB, package_status BIGINT, package_error TEXT,"
	" PRIMARY KEY (host, addon));"
	"CREATE INDEX observed_addon ON observed (addon, state);"

	"CREATE TABLE package ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, addon TEXT NOT NULL, version TEXT NOT NULL,"
	" state TEXT NOT NULL, imported BIGINT NOT NULL, approved BIGINT NOT NULL DEFAULT 0,"
	" revoked BIGINT NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',"
	" manifest TEXT NOT NULL, schema TEXT NOT NULL, capabilities TEXT,"
	" UNIQUE (addon, version));"

	"CREATE TABLE artifact ("
	" package BIGINT NOT NULL REFERENCES package (id) ON DELETE CASCADE,"
	" os TEXT NOT NULL, arch TEXT NOT NULL, sha256 TEXT NOT NULL, digest TEXT NOT NULL,"
	" size BIGINT NOT NULL, signature TEXT NOT NULL, key_id TEXT NOT NULL,"
	" key_name TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT NOT NULL,"
	" epoch BIGINT NOT NULL, imported BIGINT NOT NULL, PRIMARY KEY (package, os, arch));"

	"CREATE TABLE assignment ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, addon TEXT NOT NULL, version TEXT NOT NULL,"
	" host BIGINT REFERENCES host (id) ON DELETE CASCADE, selector TEXT,"
	" config TEXT, capabilities TEXT, limits TEXT, priority BIGINT NOT NULL,"
	" enabled BIGINT NOT NULL, created BIGINT NOT NULL, updated BIGINT NOT NULL,"
	" rollout BIGINT NOT NULL DEFAULT 0);"

	"CREATE TABLE rollout ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" assignment BIGINT NOT NULL, addon TEXT NOT NULL,"
	" from_version TEXT NOT NULL, to_version TEXT NOT NULL, state TEXT NOT NULL,"
	" reason TEXT NOT NULL DEFAULT '', waves TEXT NOT NULL, wave BIGINT NOT NULL,"
	" n_waves BIGINT NOT NULL, wave_started BIGINT NOT NULL, wait_seconds BIGINT NOT NULL,"
	" timeout_seconds BIGINT NOT NULL, max_failures BIGINT NOT NULL,"
	" revert BIGINT NOT NULL, looked_over BIGINT NOT NULL DEFAULT 0, created BIGINT NOT NULL, ended BIGINT NOT NULL DEFAULT 0);"

	"CREATE TABLE rollout_host ("
	" rollout BIGINT NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,"
	" host BIGINT NOT NULL REFERENCES host (id) ON DELETE CASCADE,"
	" wave BIGINT NOT NULL, outcome TEXT NOT NULL DEFAULT 'waiting',"
	" reason TEXT NOT NULL DEFAULT '', PRIMARY KEY (rollout, host));"
	"CREATE INDEX rollout_host_host ON rollout_host (host);"

	"CREATE TABLE audit ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, time BIGINT NOT NULL, who TEXT NOT NULL,"
	" peer TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL,"
	" before TEXT, after TEXT);";

/* Since when a host of a rollout is what it is; 0 where that was not written down. */
static const char second_step[] =
	"ALTER TABLE rollout_host ADD COLUMN since BIGINT NOT NULL DEFAULT 0;";

/* What is old enough to go is found without a look at all of it. */
static const char third_step[] = "CREATE INDEX audit_time ON audit (time);";

/* Events of add-ons as each host counted them last, and what they come to. */
static const char fourth_step[] = "CREATE TABLE addon_event ("
				  " host BIGINT NOT NULL REFERENCES host (id) ON DELETE CASCADE,"
				  " addon TEXT NOT NULL, kind TEXT NOT NULL, count BIGINT NOT NULL,"
				  " PRIMARY KEY (host, addon, kind));"

				  "CREATE TABLE addon_event_total ("
				  " addon TEXT NOT NULL, kind TEXT NOT NULL, count BIGINT NOT NULL,"
				  " PRIMARY KEY (addon, kind));";

/* A bundle that joins a package which was approved already is not approved with it. */
static const char fifth_step[] =
	"ALTER TABLE artifact ADD COLUMN approved BIGINT NOT NULL DEFAULT 0;"
	"UPDATE artifact SET approved ="
	" (SELECT approved FROM package WHERE package.id = artifact.package);";

/* The last configuration of each assignment that fits a version, NULL for none at all. */
static const char sixth_step[] =
	"CREATE TABLE assignment_config ("
	" assignment BIGINT NOT NULL REFERENCES assignment (id) ON DELETE CASCADE,"
	" package BIGINT NOT NULL REFERENCES package (id) ON DELETE CASCADE,"
	" config TEXT, PRIMARY KEY (assignment, package));";

const char *const store_schema_steps[] = {first_step,  second_step, third_step,
					  fourth_step, fifth_step,  sixth_step};
const size_t store_schema_n_steps = sizeof(store_schema_steps) / sizeof(store_schema_steps[0]);
