/* SPDX-License-Identifier: Apache-2.0 */
/* A media call on its worker: far leg, near leg, handoff, relay. Private to dtls/. Thread: the worker's. */
#ifndef DTLS_MEDIA_CALL_H
#define DTLS_MEDIA_CALL_H

#include "dtls/media_worker.h"

/* A command from the loop; one with a stale id does nothing. */
void media_call_command(struct media_worker *w, const struct media_command *cmd);
/* Datagrams, by protocol. p has room for an SRTP trailer behind it. */
void media_call_stun(struct media_worker *w, const uint8_t *p, size_t len, const struct addr *src);
void media_call_dtls(struct media_leg *leg, const uint8_t *p, size_t len);
void media_call_rtp(struct media_leg *leg, uint8_t *p, size_t len);
/* Timers of all calls: DTLS retransmission, consent, closed peers. */
void media_call_sweep(struct media_worker *w);
void media_call_close_all(struct media_worker *w);

#endif
