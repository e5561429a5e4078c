/* SPDX-License-Identifier: Apache-2.0 */
/* `wakegate backup`: a copy of the database as it is at one moment, also while a gateway writes to it. Thread: main. */
#ifndef GATEWAY_STORE_BACKUP_H
#define GATEWAY_STORE_BACKUP_H

#include "base/err.h"

#include <stdint.h>

/* url: "sqlite:PATH", as in the configuration. to: the copy, mode 0600, which no other process sees before it is
 * complete, checked and on the disk; a file of that name is never replaced. bytes: its size. Returns 0, or E_INVAL
 * (url), E_NOTFOUND (no database), E_CONFLICT (to exists, or to.partial of another backup), E_UNSUPPORTED (not
 * wakegate's), E_IO, E_FULL, each with a sentence; nothing stays behind then. */
int store_backup(const char *url, const char *to, uint64_t *bytes, struct err_text *et);

#endif
