/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Names of images, https://github.com/opencontainers/distribution-spec: what a registry, a
 * repository, a tag and a digest may look like. The registry is always named: a default one would
 * decide by itself who is asked for "debian".
 */

#include "oci/reference.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define DOCKER_HOST   "docker.io"
#define DOCKER_SERVER "registry-1.docker.io"
#define TEXT_MAX      (OCI_HOST_MAX + OCI_NAME_MAX + OCI_TAG_MAX + OCI_DIGEST_TEXT_SIZE + 3)
#define LABEL_MAX     63U
#define PORT_MAX      65535
#define SHOWN_MAX     300

static bool is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool oci_digest_is_valid(const char *text)
{
	const char *hex = text + strlen(OCI_DIGEST_PREFIX);

	return str_starts_with(text, OCI_DIGEST_PREFIX) &&
	       strlen(hex) == OCI_DIGEST_TEXT_SIZE - 1 - strlen(OCI_DIGEST_PREFIX) &&
	       hex[strspn(hex, "0123456789abcdef")] == '\0';
}

bool oci_tag_is_valid(const char *text)
{
	size_t length = strlen(text);

	if (length == 0 || length > OCI_TAG_MAX || text[0] == '.' || text[0] == '-')
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isascii((unsigned char)text[i]) ||
		    (!isalnum((unsigned char)text[i]) && !strchr("._-", text[i])))
			return false;
	}
	return true;
}

static bool is_port(const char *text)
{
	long port = 0;

	if (*text == '\0' || strlen(text) > 5)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		port = port * 10 + (*text - '0');
	}
	return port > 0 && port <= PORT_MAX;
}

/* Labels of letters, digits and inner '-'. */
static bool is_host_name(const char *text, size_t length)
{
	size_t label = 0;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == '.') {
			if (label == 0 || text[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!isascii((unsigned char)text[i]) ||
		    (!isalnum((unsigned char)text[i]) && (text[i] != '-' || label == 0)) ||
		    ++label > LABEL_MAX)
			return false;
	}
	return label > 0 && text[length - 1] != '-';
}

/* HOST[:PORT] or [ADDRESS][:PORT]. */
static bool is_server(const char *text)
{
	const char *port;
	size_t length;

	if (*text == '[') {
		length = strspn(text + 1, "0123456789abcdefABCDEF:.");
		if (length < 2 || text[1 + length] != ']')
			return false;
		port = text + length + 2;
	} else {
		length = strcspn(text, ":");
		if (length == 0 || !is_host_name(text, length))
			return false;
		port = text + length;
	}
	return *port == '\0' || (*port == ':' && is_port(port + 1));
}

/* Whether the first part of a name is one of a machine and not of a repository. */
static bool looks_like_server(const char *text, size_t length)
{
	return memchr(text, '.', length) || memchr(text, ':', length) ||
	       (length == strlen("localhost") && strncmp(text, "localhost", length) == 0);
}

/* Length of the separator at *text*: one '.', one or two '_', any number of '-'. */
static size_t separator_length(const char *text)
{
	if (*text == '.')
		return 1;
	if (*text == '_')
		return text[1] == '_' ? 2 : 1;
	return strspn(text, "-");
}

static bool is_repository(const char *text)
{
	bool wants_letter = true;

	while (*text) {
		size_t separator = *text == '/' ? 1 : separator_length(text);

		if (is_lower_or_digit(*text)) {
			wants_letter = false;
			text++;
			continue;
		}
		if (separator == 0 || wants_letter)
			return false;
		wants_letter = true;
		text += separator;
	}
	return !wants_letter;
}

static int malformed(const char *text, const char *expected, struct problem *reterr_problem)
{
	return oci_fail(reterr_problem, OCI_BAD_REFERENCE,
			"'%.*s' is no image reference: expected %s", SHOWN_MAX, text, expected);
}

/* Splits TAG and DIGEST off the end of *rest*, in place. */
static int take_tag_and_digest(const char *text, char *rest, struct oci_reference *ret,
			       struct problem *reterr_problem)
{
	char *at = strchr(rest, '@');
	char *colon;

	if (at) {
		*at = '\0';
		if (!oci_digest_is_valid(at + 1))
			return malformed(text, "sha256: and 64 lower-case digits behind '@'",
					 reterr_problem);
		memcpy(ret->digest, at + 1, sizeof(ret->digest));
	}
	colon = strchr(rest, ':');
	if (colon) {
		*colon = '\0';
		if (!oci_tag_is_valid(colon + 1))
			return malformed(text,
					 "a tag of up to 128 letters, digits, '.', '_', '-' behind "
					 "':'",
					 reterr_problem);
		(void)snprintf(ret->tag, sizeof(ret->tag), "%s", colon + 1);
	}
	if (!at && !colon)
		(void)snprintf(ret->tag, sizeof(ret->tag), "latest");
	return 0;
}

int oci_reference_parse(const char *text, struct oci_reference *ret, struct problem *reterr_problem)
{
	struct oci_reference reference = {0};
	char copy[TEXT_MAX + 1];
	const char *library = "";
	char *rest;
	int r;

	if (strlen(text) > TEXT_MAX)
		return malformed(text, "a shorter one", reterr_problem);
	(void)snprintf(copy, sizeof(copy), "%s", text);
	rest = strchr(copy, '/');
	if (!rest || !looks_like_server(copy, (size_t)(rest - copy)))
		return malformed(text,
				 "REGISTRY/NAME[:TAG] with the registry's host, as in "
				 "docker.io/library/debian:12 or localhost:5000/sensor:1.0.0",
				 reterr_problem);
	*rest++ = '\0';
	if (strlen(copy) > OCI_HOST_MAX || !is_server(copy))
		return malformed(text, "HOST[:PORT] before the first '/'", reterr_problem);
	(void)snprintf(reference.host, sizeof(reference.host), "%.*s", (int)OCI_HOST_MAX, copy);
	r = take_tag_and_digest(text, rest, &reference, reterr_problem);
	if (r != 0)
		return r;
	if (strcmp(reference.host, DOCKER_HOST) == 0 && !strchr(rest, '/'))
		library = "library/";
	if (strlen(library) + strlen(rest) > OCI_NAME_MAX || !is_repository(rest))
		return malformed(text,
				 "a repository of lower-case letters and digits with '.', '_', '-' "
				 "and '/' between them",
				 reterr_problem);
	(void)snprintf(reference.name, sizeof(reference.name), "%s%.*s", library,
		       (int)(OCI_NAME_MAX - strlen(library)), rest);
	*ret = reference;
	return 0;
}

const char *oci_reference_wanted(const struct oci_reference *reference)
{
	return *reference->digest ? reference->digest : reference->tag;
}

const char *oci_reference_server(const struct oci_reference *reference)
{
	return strcmp(reference->host, DOCKER_HOST) == 0 ? DOCKER_SERVER : reference->host;
}

bool oci_host_is_loopback(const char *host)
{
	size_t length = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");

	if (length == strlen("localhost") && strncasecmp(host, "localhost", length) == 0)
		return true;
	if (length == strlen("[::1]") && strncmp(host, "[::1]", length) == 0)
		return host[length] == '\0' || host[length] == ':';
	/* 127.0.0.0/8, and no name that only begins like it. */
	return str_starts_with(host, "127.") && strspn(host, "0123456789.") == length;
}
