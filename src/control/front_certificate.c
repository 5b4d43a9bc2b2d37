/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The names of client certificates. What libwebsockets makes of a subject is cut at 62 bytes before
 * the common name is looked for in it: hosts whose names have long parts before it would all be
 * one.
 */

#include "control/front_certificate.h"

#include <openssl/ssl.h>
#include <string.h>

bool certificate_name(const X509 *certificate, char ret[CERTIFICATE_NAME_SIZE])
{
	const X509_NAME *subject = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	unsigned char *text = NULL;
	bool is_good;
	int size;

	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return false;
	size = ASN1_STRING_to_UTF8(&text,
				   X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (size < 0)
		return false;
	is_good = size > 0 && (size_t)size < CERTIFICATE_NAME_SIZE &&
		  !memchr(text, '\0', (size_t)size);
	if (is_good) {
		memcpy(ret, text, (size_t)size);
		ret[size] = '\0';
	}
	OPENSSL_free(text);
	return is_good;
}

bool certificate_of(struct lws *wsi, struct certificate *ret)
{
	SSL *ssl = lws_get_ssl(lws_get_network_wsi(wsi));
	X509 *certificate = ssl ? SSL_get1_peer_certificate(ssl) : NULL;
	bool is_good;

	if (!certificate)
		return false;
	is_good = SSL_get_verify_result(ssl) == X509_V_OK &&
		  X509_digest(certificate, EVP_sha256(), ret->digest, NULL) == 1 &&
		  certificate_name(certificate, ret->name);
	X509_free(certificate);
	return is_good;
}
