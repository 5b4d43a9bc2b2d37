/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * `affixd pull REFERENCE NUMBER AUTH-FILE CA-FILE` (empty: none): how the store has an add-on
 * fetched. Descriptors: DATA/incoming and the directory of its cache. The bundles become the files
 * import-NUMBER-0 and so on; what is said is one JSON object on stdout, at most PULLER_ANSWER_MAX
 * bytes:
 *
 *     {"items": [{"name": …, "signature": …}, …]}
 *     {"condition": enum oci_condition, "text": …}
 *
 * Anything else, or an exit code that is not 0: it failed.
 */
#define PULLER_FD_INCOMING 3
#define PULLER_FD_CACHE    4
#define PULLER_FD_END      5
#define PULLER_NAME        "pull"
#define PULLER_ARGUMENTS   6 /* its name and the command among them */
#define PULLER_ANSWER_MAX  262144U
#define PULLER_FILE_NAME   "import-%s-%zu"

/* Its exit code. */
int puller_run(int argc, char **argv);
