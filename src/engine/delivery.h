/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "bundle/bundle.h"
#include "engine/operation.h"
#include "manifest/schema.h"

/*
 * A bundle on its way in: received, verified, read, and made into a plan. All of it happens before
 * anything is changed.
 */
struct delivery {
	struct trust *trust;
	const struct trust_key *key; /* borrowed from the trust */
	struct bundle *bundle;
	struct schema_judge *judge; /* of the configuration; it gets ready meanwhile */
	json_t *config;             /* the fleet configuration of the request, or NULL */
	struct strv dropped;        /* x-affix-local keys that it may not carry */
};

#define DELIVERY_INIT     \
	(struct delivery) \
	{                 \
	}

/* Receives, verifies and reads the call's bundle; *keep_bytes*: its content is spooled for staging.
 * 0; refused; -errno. */
must_check int delivery_receive(struct operation *operation, bool keep_bytes, struct delivery *ret);

/*
 * The same from what was installed: the bundle of *plan*, one of the record's, as far as
 * plan_make() looks at it, from its version directory, every text checked against the plan's
 * digests. Nothing can be staged from it. 0; refused with REFUSAL_NEEDS_BUNDLE where a text is
 * changed or missing; -errno.
 */
must_check int delivery_load_installed(struct operation *operation, const struct plan *plan,
				       struct delivery *ret);

/* Reads the call's configuration, if there is one, the last of what was sent. 0; refused; -errno.
 */
must_check int delivery_receive_config(struct operation *operation, json_t **ret);

/*
 * The plan for the delivery: with its configuration, or *config* where it has none, the
 * administrator's own keys, and the request's narrowing; the merged configuration validated against
 * the bundle's schema. It is the operation's subject then. 0; refused; -errno.
 */
must_check int delivery_make_plan(struct operation *operation, struct delivery *delivery,
				  const json_t *config, struct plan **ret);

/*
 * Gives *plan*, one of the record's that is to run again, the configuration *fleet* with the
 * administrator's own keys as they are now. 0; refused where it does not fit the bundle's schema
 * then, or cannot be told, or the fleet asks for units that the host's policy does not take any
 * more; -errno.
 */
must_check int delivery_renew_config(struct operation *operation, struct plan *plan,
				     const json_t *fleet);

/* The two parts of it that need no host. What a request narrows: 0; refused. The configuration of a
 * plan against the bundle's schema, by a child without rights: 0; refused; -errno. */
must_check int delivery_read_narrowing(const struct request *request, struct plan_narrowing *ret,
				       struct refusal *reterr_refusal);
must_check int delivery_validate(const struct bundle *bundle, const struct plan *plan,
				 struct refusal *reterr_refusal);

void delivery_done(struct delivery *delivery);
#define cleanup_delivery CLEANUP(delivery_done)
