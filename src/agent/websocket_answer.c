/* SPDX-License-Identifier: Apache-2.0 */

/* The upgrade from HTTP to WebSocket, RFC 6455, section 4: the one text of a server's that is
 * parsed by hand. Headers that are not looked for are not looked at. */

#include "agent/websocket_answer.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

#define RETRY_MAX   86400U
#define ACCEPT_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define SHA1_SIZE   20U

int websocket_accept(const char *key, char ret[WEBSOCKET_ACCEPT_SIZE])
{
	cleanup_free char *text = NULL;
	unsigned char digest[SHA1_SIZE];
	int r = str_format(&text, "%s" ACCEPT_GUID, key);

	if (r < 0)
		return r;
	if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha1(), NULL) != 1)
		return -EIO;
	(void)sodium_bin2base64(ret, WEBSOCKET_ACCEPT_SIZE, digest, sizeof(digest),
				sodium_base64_VARIANT_ORIGINAL);
	return 0;
}

/* The value behind "NAME:" if *line* is that header, else NULL. */
static const char *header_value(const char *line, const char *name)
{
	size_t n = strlen(name);

	if (strncasecmp(line, name, n) != 0 || line[n] != ':')
		return NULL;
	line += n + 1;
	return line + strspn(line, " \t");
}

static void read_header(const char *line, struct websocket_answer *answer)
{
	const char *value = header_value(line, "Sec-WebSocket-Accept");
	size_t n;

	if (value) {
		n = strcspn(value, " \t\r\n");
		if (n < sizeof(answer->accept)) {
			memcpy(answer->accept, value, n);
			answer->accept[n] = '\0';
		}
	}
	value = header_value(line, "Retry-After");
	if (value && isdigit((unsigned char)*value)) {
		unsigned long seconds = strtoul(value, NULL, 10);

		answer->retry_after = MIN(seconds, (unsigned long)RETRY_MAX);
	}
}

int websocket_parse_answer(const char *text, struct websocket_answer *ret)
{
	struct websocket_answer answer = {0};
	const char *line = text;

	if (!str_starts_with(text, "HTTP/1.1 ") || !isdigit((unsigned char)text[9]) ||
	    !isdigit((unsigned char)text[10]) || !isdigit((unsigned char)text[11]) ||
	    isdigit((unsigned char)text[12]))
		return 1;
	answer.status = strtol(text + 9, NULL, 10);
	while ((line = strchr(line, '\n'))) {
		line++;
		read_header(line, &answer);
	}
	*ret = answer;
	return 0;
}
