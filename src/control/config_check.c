/* SPDX-License-Identifier: Apache-2.0 */

/* Whether affixd can serve as it is told: values together, and the files that they name. */

#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "control/config.h"

static int complain(char **reterr, const char *what, const char *name, const char *advice)
{
	if (str_format(reterr, "%s'%s' %s", what, name, advice) < 0)
		*reterr = NULL;
	return 1;
}

/* Whether *path* can be opened and is of *type*. OpenSSL would wait for the other end of a FIFO. */
static int check_path(const char *key, const char *path, mode_t type, char **reterr)
{
	cleanup_fd int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
	cleanup_free char *what = NULL;
	struct stat st;
	int error = fd < 0 ? errno : 0;

	if (!path)
		return 0;
	if (str_format(&what, "%s: ", key) < 0)
		return -ENOMEM;
	if (error == 0 && fstat(fd, &st) < 0)
		error = errno;
	if (error != 0)
		return complain(reterr, what, path, strerrordesc_np(error));
	if ((st.st_mode & S_IFMT) == type)
		return 0;
	return complain(reterr, what, path,
			type == S_IFDIR ? "is no directory" : "is no regular file");
}

static void cleanup_context(SSL_CTX **context)
{
	SSL_CTX_free(*context);
}

/* A key that needs a password is not usable: nobody is asked. */
/* NOLINTNEXTLINE(readability-non-const-parameter): OpenSSL's type */
static int no_password(char *buffer, int size, int is_write, void *userdata)
{
	(void)buffer;
	(void)size;
	(void)is_write;
	(void)userdata;
	return 0;
}

/* Whether OpenSSL can serve with these files; libwebsockets would only say that it cannot. */
static int check_tls(const struct config *config, char **reterr)
{
	CLEANUP(cleanup_context) SSL_CTX *context = NULL;

	if (!config->tls_certificate)
		return 0;
	context = SSL_CTX_new(TLS_server_method());
	if (!context)
		return -ENOMEM;
	SSL_CTX_set_default_passwd_cb(context, no_password);
	if (SSL_CTX_use_certificate_chain_file(context, config->tls_certificate) != 1)
		return complain(reterr, "tls_certificate: ", config->tls_certificate,
				"does not begin with a certificate in PEM");
	if (SSL_CTX_use_PrivateKey_file(context, config->tls_key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(context) != 1)
		return complain(reterr, "tls_key: ", config->tls_key,
				"is not the key of the certificate, in PEM and without a password");
	if (config->client_ca &&
	    SSL_CTX_load_verify_locations(context, config->client_ca, NULL) != 1)
		return complain(reterr, "client_ca: ", config->client_ca,
				"does not hold certificates in PEM");
	return 0;
}

int config_check(const struct config *config, char **reterr)
{
	cleanup_free char *address = NULL;
	cleanup_free char *port = NULL;
	int r;

	if (str_is_empty(config->data))
		return complain(reterr, "", "data", "is missing: give --data DIR");
	r = config_split_listen(config->listen, &address, &port);
	if (r < 0)
		return r;
	if (r > 0)
		return complain(reterr, "listen: ", config->listen,
				"is not ADDRESS:PORT or [ADDRESS]:PORT");
	if (config->public_url && !config_is_url(config->public_url))
		return complain(reterr, "public_url: ", config->public_url,
				"is not http://HOST[:PORT] or https://HOST[:PORT]");
	if (!config->tls_certificate != !config->tls_key)
		return complain(reterr, "", config->tls_key ? "tls_certificate" : "tls_key",
				"is missing: TLS needs certificate and key");
	if (config->client_ca && !config->tls_certificate)
		return complain(reterr, "", "client_ca",
				"needs TLS: give tls_certificate and tls_key too");
	if (config->certificate_is_credential && !config->client_ca)
		return complain(reterr, "", "certificate_is_credential",
				"needs client_ca, with which certificates are checked");
	if (config->stale_seconds > 0 && config->stale_seconds <= config->heartbeat_seconds)
		return complain(reterr, "", "stale_seconds",
				"is not more than heartbeat_seconds: hosts would be stale between "
				"two heartbeats");
	r = check_path("tls_certificate", config->tls_certificate, S_IFREG, reterr);
	if (r == 0)
		r = check_path("tls_key", config->tls_key, S_IFREG, reterr);
	if (r == 0)
		r = check_path("client_ca", config->client_ca, S_IFREG, reterr);
	if (r == 0)
		r = check_path("registry_auth", config->registry_auth, S_IFREG, reterr);
	if (r == 0)
		r = check_path("registry_ca", config->registry_ca, S_IFREG, reterr);
	if (r == 0)
		r = check_path("trust", config->trust, S_IFDIR, reterr);
	return r == 0 ? check_tls(config, reterr) : r;
}
