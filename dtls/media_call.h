/* SPDX-License-Identifier: Apache-2.0 */
/* A media call on its worker: far leg, near leg, handoff, relay. Private to dtls/. Thread: the worker's. */
#ifndef DTLS_MEDIA_CALL_H
#define DTLS_MEDIA_CALL_H

#include "dtls/media_worker.h"

#define MEDIA_SWEEP_MS 200

/* A command from the loop; one with a stale id does nothing. */
void media_call_command(struct media_worker *w, const struct media_command *cmd);
/* Datagrams, by protocol. p has room for an SRTP trailer behind it. */
void media_call_stun(struct media_worker *w, const uint8_t *p, size_t len, const struct addr *src);
void media_call_dtls(struct media_leg *leg, const uint8_t *p, size_t len);
void media_call_rtp(struct media_leg *leg, uint8_t *p, size_t len);
/* Its DTLS is under way. */
bool media_call_handshaking(const struct media_leg *leg);
/* Timers: DTLS retransmission of all handshakes; consent and closed peers of as many calls as the time since the last
 * sweep asks for, so that each has its turn within MEDIA_SWEEP_MS and none waits long for all. */
void media_call_sweep(struct media_worker *w, uint64_t since_ms);
void media_call_close_all(struct media_worker *w);

#endif
