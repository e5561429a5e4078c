/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway as a whole: puts its parts together, runs them on one loop, and takes them apart again. Thread: main. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "config/config.h"
#include "dtls/ringback.h"

/* Run until SIGTERM or SIGINT has drained it (a second one ends it at once). Takes the caller's reference to cfg.
 * SIGHUP loads config_file, of which cfg is, again; until it serves the caller has this signal blocked, so that none
 * ends it while it starts. ready_file: gets {"api": "address:port", "media": port} once it serves; NULL: none. Returns
 * 0, or E_* with a sentence when it could not start. */
int gateway_run(const struct config *cfg, const char *config_file, const char *ready_file, struct err_text *et);

/* Read the file of media.ringback; *rp is NULL when none is wanted. Returns 0, or E_* with a sentence. Thread: any. */
int gateway_ringback(struct ringback **rp, const struct config *cfg, struct err_text *et);

#endif
