/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Credentials as `docker login`, `podman login` and `skopeo login` leave them: members of "auths"
 * in a JSON file, by the registry's name in one of several spellings. Programs that keep
 * credentials (credHelpers, credsStore) are not run; that they would be needed is said when a
 * registry asks.
 */

#include "oci/credentials.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"

#define CONFIG_MAX (1U << 20)
#define AUTH_MAX   16384U

static int find_path(const char *path, char **ret)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): read before there are threads */
	const char *directory = getenv("DOCKER_CONFIG");
	const char *home = getenv("HOME");
	/* NOLINTEND(concurrency-mt-unsafe) */

	if (path)
		return str_format(ret, "%s", path);
	if (!str_is_empty(directory))
		return str_format(ret, "%s/config.json", directory);
	return str_format(ret, "%s/.docker/config.json", home ? home : "");
}

/* The member of *object* for *host*, under any of the names that logins were kept by. */
static const json_t *find_host(const json_t *object, const char *host)
{
	static const char *const spellings[] = {
		"%s", "https://%s", "https://%s/", "https://%s/v1/", "https://%s/v2/", "http://%s"};
	static const char *const docker[] = {"https://index.docker.io/v1/", "index.docker.io",
					     "docker.io", "registry-1.docker.io"};
	const json_t *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(docker) && strcmp(host, "docker.io") == 0; i++) {
		found = json_object_get(object, docker[i]);
		if (found)
			return found;
	}
	for (size_t i = 0; i < ARRAY_SIZE(spellings) && !found; i++) {
		cleanup_buffer struct buffer name = BUFFER_INIT;
		const char *rest = strchr(spellings[i], '%') + 2;

		if (buffer_add(&name, spellings[i], (size_t)(rest - 2 - spellings[i])) == 0 &&
		    buffer_format(&name, "%s%s", host, rest) == 0)
			found = json_object_get(object, name.data);
	}
	return found;
}

static void wipe(char *text)
{
	if (text)
		sodium_memzero(text, strlen(text));
	free(text);
}

/* "auth" is kept as it is: what it must be is base64 with a ':' in what it stands for. */
static bool is_auth(const char *auth)
{
	uint8_t plain[AUTH_MAX];
	size_t size = 0;
	bool is_good;

	is_good = strlen(auth) < AUTH_MAX &&
		  sodium_base642bin(plain, sizeof(plain), auth, strlen(auth), NULL, &size, NULL,
				    sodium_base64_VARIANT_ORIGINAL) == 0 &&
		  memchr(plain, ':', size);
	sodium_memzero(plain, sizeof(plain));
	return is_good;
}

/* "username" and "password", which some tools write instead. */
static int join_password(const json_t *entry, char **ret)
{
	const char *user = json_string_value(json_object_get(entry, "username"));
	const char *password = json_string_value(json_object_get(entry, "password"));
	char *plain = NULL;
	size_t size;

	if (str_is_empty(user) || !password)
		return 0;
	if (str_format(&plain, "%s:%s", user, password) < 0)
		return -ENOMEM;
	size = sodium_base64_encoded_len(strlen(plain), sodium_base64_VARIANT_ORIGINAL);
	*ret = malloc(size);
	if (*ret)
		(void)sodium_bin2base64(*ret, size, (const uint8_t *)plain, strlen(plain),
					sodium_base64_VARIANT_ORIGINAL);
	wipe(plain);
	return *ret ? 0 : -ENOMEM;
}

static int copy_string(const char *text, char **ret)
{
	if (str_is_empty(text))
		return 0;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static int read_entry(const json_t *entry, const char *host, struct oci_credentials *ret,
		      struct problem *reterr_problem)
{
	const char *auth = json_string_value(json_object_get(entry, "auth"));
	const char *token = json_string_value(json_object_get(entry, "identitytoken"));
	int r;

	if (!str_is_empty(auth) && !is_auth(auth))
		return oci_fail(reterr_problem, OCI_BAD_CREDENTIALS,
				"'%s': \"auth\" of '%s' is not USER:PASSWORD in base64: log in "
				"again",
				ret->path, host);
	r = copy_string(token, &ret->identity_token);
	if (r == 0)
		r = str_is_empty(auth) ? join_password(entry, &ret->basic)
				       : copy_string(auth, &ret->basic);
	return r;
}

static int read_config(const json_t *root, const char *host, struct oci_credentials *ret,
		       struct problem *reterr_problem)
{
	const json_t *entry = find_host(json_object_get(root, "auths"), host);
	const char *helper =
		json_string_value(find_host(json_object_get(root, "credHelpers"), host));
	int r = json_is_object(entry) ? read_entry(entry, host, ret, reterr_problem) : 0;

	if (r != 0 || ret->basic || ret->identity_token)
		return r;
	if (!helper)
		helper = json_string_value(json_object_get(root, "credsStore"));
	return copy_string(helper, &ret->helper);
}

int oci_credentials_load(const char *path, const char *host, struct oci_credentials *ret,
			 struct problem *reterr_problem)
{
	cleanup_oci_credentials struct oci_credentials found = OCI_CREDENTIALS_INIT;
	cleanup_json json_t *root = NULL;
	struct json_problem problem;
	char *text = NULL;
	size_t size = 0;
	int r = find_path(path, &found.path);

	if (r < 0)
		return r;
	r = fd_read_path(found.path, CONFIG_MAX, &text, &size);
	if (r == -ENOENT || r == -ENOTDIR) {
		if (path)
			return oci_fail(reterr_problem, OCI_BAD_CREDENTIALS,
					"'%s' does not exist: expected a file of credentials",
					path);
		return 0;
	}
	if (r < 0)
		return oci_fail(reterr_problem, OCI_BAD_CREDENTIALS,
				"'%s' cannot be read for the credentials of '%s': %s", found.path,
				host, strerrordesc_np(-r));
	r = json_parse_object(text, size, &root, &problem);
	sodium_memzero(text, size);
	free(text);
	if (r > 0)
		return oci_fail(reterr_problem, OCI_BAD_CREDENTIALS, "'%s' is not JSON: %s",
				found.path, problem.text);
	if (r == 0)
		r = read_config(root, host, &found, reterr_problem);
	if (r != 0)
		return r;
	*ret = found;
	found = OCI_CREDENTIALS_INIT;
	return 0;
}

void oci_credentials_done(struct oci_credentials *credentials)
{
	wipe(credentials->basic);
	wipe(credentials->identity_token);
	free(credentials->helper);
	free(credentials->path);
	*credentials = OCI_CREDENTIALS_INIT;
}
