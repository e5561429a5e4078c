/* SPDX-License-Identifier: Apache-2.0 */
/* What the process may do, once its sockets are bound. Thread: main, while no other thread of ours changes identity. */
#ifndef GATEWAY_PRIVILEGES_H
#define GATEWAY_PRIVILEGES_H

#include "base/err.h"

/* No core dumps (they would hold keys), no new privileges by exec; and when started as root, become `user` ("": stay,
 * with a warning) without any capability. Returns 0, or E_NOTFOUND, E_DENIED with a sentence. */
int privileges_drop(const char *user, struct err_text *et);

#endif
