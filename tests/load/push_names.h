/* SPDX-License-Identifier: Apache-2.0 */
/* What names stand for, without DNS and without a line in /etc/hosts: this program's own getaddrinfo, which libuv calls
 * in place of the C library's. */
#ifndef TESTS_LOAD_PUSH_NAMES_H
#define TESTS_LOAD_PUSH_NAMES_H

#include <stdbool.h>

#define PUSH_NAMES_MAX 16 /* addresses; the simulator listens on as many */

/* From now on every name has these addresses: "127.0.0.1,127.0.0.2". False when one is none, or when there are too
 * many. Call it before other threads run. */
bool push_names_set(const char *addresses);

#endif
