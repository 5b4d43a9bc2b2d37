/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The kernel's boot id, or "" where nothing tells it; the caller frees it. NULL: no memory. */
char *boot_id_load(void);
