/* SPDX-License-Identifier: Apache-2.0 */
/* Ringback to callers: while a call rings, the file of media_config is sent to its caller. Private to dtls/.
 *
 * One writer per key and SSRC: it has an SRTP context and an SSRC of its own, ends at the gate, and never begins, or
 * the call fails, where the far keys go to a phone (TRANSFER). The SSRC is no other's in this call:
 * media_ringback_owns. Thread: the worker's. */
#ifndef DTLS_MEDIA_RINGBACK_H
#define DTLS_MEDIA_RINGBACK_H

#include "dtls/media_call.h"

/* Begin, if this call wants it and may have it: after the caller's handshake. */
void media_ringback_start(struct media_call *c);
void media_ringback_stop(struct media_call *c);
/* The far keys have protected a ringback tone with this SSRC. */
bool media_ringback_owns(const struct media_call *c, uint32_t ssrc);
/* Send what is due by w->now_ms. */
void media_ringback_tick(struct media_worker *w);
/* How long to wait for the next packet's time, at most `most_ms`. */
int media_ringback_wait_ms(const struct media_worker *w, int most_ms);

#endif
