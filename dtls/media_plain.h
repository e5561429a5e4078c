/* SPDX-License-Identifier: Apache-2.0 */
/* Callers without ICE (RFC 5763, 8842): strangers get a stateless cookie before anything is kept of them, and become a
 * call's caller by a finished handshake with the certificate that the call's offer named. Private to dtls/. Thread: the
 * worker's.
 *
 * Which call is it? The one whose offer named the source's address; else the only one that waits for the certificate.
 * An SBC has one certificate for all its calls: when several of them wait, and none offered this address, the handshake
 * is refused, since nobody can say whose sound it is. Once the address is proved it stays: an association belongs to
 * its addresses (RFC 5764 3.1), SRTP from elsewhere is not looked at, and in mode transfer could not be. */
#ifndef DTLS_MEDIA_PLAIN_H
#define DTLS_MEDIA_PLAIN_H

#include "dtls/media_call_priv.h"

/* Returns 0 or E_NOMEM. */
int media_plain_new(struct media_plain **pp);
/* End the handshakes of strangers. Called when the calls are gone. */
void media_plain_close(struct media_plain *p);
/* Returns NULL. */
struct media_plain *media_plain_free(struct media_plain *p);

/* A plain leg waits for its caller, and does no more (calling it again is no error). */
void media_plain_wait(struct media_leg *leg);
void media_plain_done(struct media_leg *leg);
/* May one more handshake be started towards this address? A budget for each address. */
bool media_plain_may_call(struct media_worker *w, const struct addr *to);

/* One DTLS datagram. owner: the leg that the source belongs to, or NULL. Returns false when it is no waiting caller's.
 */
bool media_plain_input(struct media_worker *w, const struct media_leg *owner, const uint8_t *p, size_t len,
                       const struct addr *src);
void media_plain_sweep(struct media_worker *w);

#endif
