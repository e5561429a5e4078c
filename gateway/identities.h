/* SPDX-License-Identifier: Apache-2.0 */
/* The DTLS identities that peers of live calls know, kept sealed in the store: a handshake that a crash interrupted, or
 * that is still to come, is done with the certificate that the answer told. Thread: loop. */
#ifndef GATEWAY_IDENTITIES_H
#define GATEWAY_IDENTITIES_H

#include "base/seal.h"
#include "dtls/media.h"
#include "gateway/store.h"

/* Keep the workers' present ones, and forget those that were followed by another one so long ago that no call has them:
 * after rotate_ms and a day. Nothing without a seal. */
void identities_keep(const struct media *m, struct store *s, const struct seal *seal, uint64_t rotate_ms);
/* Returns whether the row is an identity; then the media plane has it, if it can be opened. */
bool identities_load(struct media *m, struct store *s, const struct seal *seal, const struct sealed_row *row);
/* All calls are loaded: what none of them needs goes. */
void identities_loaded(struct media *m, struct store *s);

#endif
