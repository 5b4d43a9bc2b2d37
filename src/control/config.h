/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "ipc/diagnostic.h"

#define CONFIG_SIZE_MAX   65536U /* 64 KiB */
#define CONFIG_FRONTS_MAX 64U

/* Whether a TLS client has to show a certificate of `client_ca`. */
enum config_client_certificate {
	CONFIG_CERTIFICATE_REQUIRED,
	CONFIG_CERTIFICATE_OPTIONAL,
	CONFIG_CERTIFICATE_N,
};

/* What affixd is told: affixd.yaml(5), and the options of affixd(8) over it. */
struct config {
	char *data;   /* directory */
	char *listen; /* ADDRESS:PORT, [ADDRESS]:PORT; port 0 takes a free one */
	char *public_url;
	bool is_url_guessed; /* public_url was not said: hosts may know us by another */
	char *trust;         /* directory of keys, NULL: trust.d in the data directory */
	char *tls_certificate;
	char *tls_key;
	char *client_ca;
	struct strv registries; /* HOST[:PORT] that add-ons may be pulled from */
	char *registry_auth;    /* credentials for them, as Docker's config.json */
	char *registry_ca;
	enum config_client_certificate client_certificate;
	bool certificate_is_credential; /* a client certificate's CN stands for the credential */
	unsigned fronts;
	unsigned heartbeat_seconds; /* what hosts are asked for */
	unsigned poll_seconds;      /* and those that poll, if that is less */
	unsigned stale_seconds;
	unsigned audit_keep_days; /* 0: for ever */
	/* Bounds on what one address and one connection may do, in each front. */
	unsigned connections_per_address;
	unsigned unproven_per_address; /* of these, connections that nobody has vouched for yet */
	unsigned messages_per_second;  /* of one connection, in the long run */
};

/* The built-in values. 0 or -ENOMEM. */
must_check int config_default(struct config **ret);
struct config *config_free(struct config *config);

/* affixd.yaml over what *config* holds. 0; 1 with diagnostics; -errno. */
must_check int config_parse(const char *text, size_t size, const char *file, struct config *config,
			    struct diagnostics *diagnostics);

/*
 * Whether it can be served with this: values that contradict each other, files that cannot be read
 * or are not what they should be. 0, -ENOMEM, or 1 after the first problem, which is a sentence in
 * *reterr* (the caller frees it; NULL: no memory).
 */
must_check int config_check(const struct config *config, char **reterr);

/* http://HOST[:PORT] or https://HOST[:PORT], and nothing behind it. */
bool config_is_url(const char *text);

/* Splits `listen`; IPv6 addresses lose their brackets. 0, 1 where it is neither, -ENOMEM. */
must_check int config_split_listen(const char *listen, char **ret_address, char **ret_port);

DEFINE_CLEANUP(struct config *, config, config_free)
#define cleanup_config CLEANUP(cleanup_config)
