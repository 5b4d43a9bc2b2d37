/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Gives back what the last piece of work used and waiting does not need: freed memory, and the
 * pages of programs and libraries that were read. */
void trim_memory(void);
