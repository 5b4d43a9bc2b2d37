/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "oci/condition.h"

/*
 * Requests over libcurl, several at a time in one thread. An http answers questions about one
 * server; where it redirects to, is followed for GET and HEAD, without the credentials if it is
 * another place, and never from TLS to what has none.
 */
struct oci_http;

#define OCI_HEADER_MAX 4096U

/* The headers that are of use; "" where one did not come. */
struct oci_answer {
	long status;
	char type[256];                 /* Content-Type */
	char digest[256];               /* Docker-Content-Digest */
	char location[OCI_HEADER_MAX];  /* as it came; of a redirect, resolved */
	char challenge[OCI_HEADER_MAX]; /* WWW-Authenticate, all of them */
	uint64_t range_start;           /* of a 206 */
	uint64_t retry_after;           /* seconds; 0: not said */
};

/*
 * One request and what came of it. The owner fills the first part, starts it, and may do so again
 * when it is done, after changing what it wants; it must stay where it is until then.
 */
struct oci_transfer {
	const char *method;
	char *url;           /* owned */
	char *authorization; /* the header's value, owned, or NULL */
	const char *accept;  /* or NULL */
	const char *type;    /* Content-Type of the body, or NULL */
	uint64_t from;       /* Range: from this byte on; 0: all */
	const void *body;    /* what is sent: these bytes, */
	int body_fd;         /* or, if not -EBADF, this file from its start */
	uint64_t body_size;
	size_t answer_max; /* of *content* */
	/* Where the bytes of a 2xx go instead of *content*; below 0 ends the transfer with
	 * *sink_error* set to it. */
	int (*sink)(void *userdata, const void *data, size_t size);
	/* Told how much of the body went, or NULL. */
	void (*on_sent)(void *userdata, uint64_t sent);
	void *userdata;

	struct oci_answer answer;
	struct buffer content;
	int code; /* CURLcode; not 0: there was no whole answer */
	int sink_error;
	bool is_too_long;  /* more than *answer_max* came */
	bool is_forbidden; /* redirected to where nobody may be sent */
	bool is_running;
	uint64_t sent; /* of the body */
	/* Of http.c. */
	struct oci_http *http;
	void *easy;
	void *headers;
	unsigned redirects;
	bool is_elsewhere; /* after a redirect to another host */
	char *target;      /* where it was redirected to, or NULL */
};

#define OCI_TRANSFER_INIT                          \
	(struct oci_transfer)                      \
	{                                          \
		.method = "GET", .body_fd = -EBADF \
	}

/* *allows_plain*: http is spoken, with this machine only. 0; OCI_UNREACHABLE without libcurl;
 * -errno. */
must_check int oci_http_new(const char *ca_file_or_null, bool allows_plain, struct oci_http **ret,
			    struct problem *reterr_problem);
struct oci_http *oci_http_free(struct oci_http *http);

DEFINE_CLEANUP(struct oci_http *, oci_http, oci_http_free)
#define cleanup_oci_http CLEANUP(cleanup_oci_http)

/* From now on http is spoken with nobody. */
void oci_http_forbid_plain(struct oci_http *http);

/* libcurl's words for a CURLcode. */
const char *oci_http_strerror(const struct oci_http *http, int code);

/* Begins; what came before is forgotten. -errno, then it is not running. */
must_check int oci_http_start(struct oci_http *http, struct oci_transfer *transfer);
/* Moves all that run on, waiting at most *milliseconds* for something to happen. */
void oci_http_step(struct oci_http *http, unsigned milliseconds);
/* Both, until it is done; others go on meanwhile. */
must_check int oci_http_perform(struct oci_http *http, struct oci_transfer *transfer);
void oci_transfer_done(struct oci_transfer *transfer);
#define cleanup_oci_transfer CLEANUP(oci_transfer_done)

/* What went wrong with a done transfer, as the end of a sentence, safe to print. */
#define OCI_EXPLANATION_MAX 512U
void oci_transfer_explain(const struct oci_transfer *transfer, char text[OCI_EXPLANATION_MAX]);
/* Whether it may go well the next time: the network, or an answer that says so. */
bool oci_transfer_is_transient(const struct oci_transfer *transfer);
/* Whether the other side did not show that it is who it should be. */
bool oci_transfer_is_untrusted(const struct oci_transfer *transfer);
/* Whether http may be answered where https was not: another protocol came than TLS. */
bool oci_transfer_is_not_tls(const struct oci_transfer *transfer);
/* Whether nobody was there at all. */
bool oci_transfer_is_absent(const struct oci_transfer *transfer);
