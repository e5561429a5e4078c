/* SPDX-License-Identifier: Apache-2.0 */
/* What the process may do. Thread: main, while no other thread of ours changes identity. */
#ifndef GATEWAY_PRIVILEGES_H
#define GATEWAY_PRIVILEGES_H

#include "base/err.h"

/* No core dumps (they would hold keys), no new privileges by exec. Before the first secret is read and the first thread
 * is started, since a thread inherits this only from its maker. */
void privileges_lock(void);
/* When started as root, become `user` ("": stay, with a warning) without any capability. Once the sockets are bound.
 * Returns 0, or E_NOTFOUND, E_DENIED with a sentence. */
int privileges_drop(const char *user, struct err_text *et);

#endif
