/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/* An http or https address in its parts, as libcurl reads it, which is who fetches from there. */
struct address {
	bool is_tls;
	char *host;      /* an IPv6 one in brackets, and its zone with it: "[fe80::1%25eth0]" */
	char *port;      /* the scheme's where none is said */
	char *authority; /* HOST[:PORT] */
	char *header;    /* the same without a zone, as a Host header has it */
	char *target;    /* path and query; "/" at least */
};

#define ADDRESS_INIT     \
	(struct address) \
	{                \
	}

/* 0; 1 where it is no such address, or has a name or a password in it; -ENOMEM. */
must_check int address_parse(const char *text, struct address *ret);
void address_done(struct address *address);

#define cleanup_address CLEANUP(address_done)

/* Where *reference*, found at *base*, leads: NULL where that is no address. 0 or -ENOMEM. */
must_check int address_resolve(const char *base, const char *reference, char **ret);
