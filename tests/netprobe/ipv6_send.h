/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Questions over ::1 and their answers, each of 12 bytes. 0 or -1. */
int ipv6_connect(int type, int protocol, int *ret_fd, int *ret_peer);
/* Sends a question, and receives the answer. */
int ipv6_ask(int fd);
/* Answers one, as *ret_peer* of ipv6_connect(); those of ICMP the kernel itself answers. */
int ipv6_answer(int type, int peer);
