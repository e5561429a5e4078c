/* SPDX-License-Identifier: Apache-2.0 */
/* SRTP and SRTCP protection of one leg, both directions, on libsrtp; the SRTCP that is sent by srtcp.h. Thread: the
 * leg's worker; rtp_crypt_init once before. */
#ifndef DTLS_RTP_CRYPT_H
#define DTLS_RTP_CRYPT_H

#include "base/err.h"
#include "dtls/media_keys.h"
#include "dtls/rtp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTP_CRYPT_TRAILER_BYTES 32 /* room that protect needs behind a packet: tag and SRTCP index */

struct rtp_crypt;

/* Start libsrtp, with the ciphers of rtp_cipher.h; any number of calls, each that returned 0 matched by
 * rtp_crypt_shutdown. Returns 0, or E_CRYPTO with a sentence. Thread: main, before and after the workers. */
int rtp_crypt_init(struct err_text *et);
void rtp_crypt_shutdown(void);

/* The keys are copied into libsrtp's contexts. Returns 0, E_CRYPTO, E_NOMEM. */
int rtp_crypt_new(struct rtp_crypt **cp, const struct media_keys *keys);
/* The next packet of this SSRC that is received, or sent, has this roll-over counter, and so have all that follow until
 * 0 is set: afterwards it is counted here, as without these. keys as given to rtp_crypt_new. Again is no error. Returns
 * 0 or E_CRYPTO. */
int rtp_crypt_set_rx_roc(struct rtp_crypt *c, const struct media_keys *keys, uint32_t ssrc, uint32_t roc);
int rtp_crypt_set_tx_roc(struct rtp_crypt *c, const struct media_keys *keys, uint32_t ssrc, uint32_t roc);
/* The SRTCP that is sent has indices from `next` on, and never `limit` or more: srtcp.h. */
void rtp_crypt_set_rtcp(struct rtp_crypt *c, uint32_t next, uint32_t limit);
uint32_t rtp_crypt_rtcp_next(const struct rtp_crypt *c);
struct rtp_crypt *rtp_crypt_free(struct rtp_crypt *c);
/* In place; *len is updated. protect needs RTP_CRYPT_TRAILER_BYTES of room. rtcp: SRTCP instead of SRTP.
 * Returns 0, E_AUTH (tag or replay), E_MALFORMED, E_FULL (no SRTCP index is left), E_CRYPTO. */
int rtp_crypt_protect(struct rtp_crypt *c, uint8_t *p, size_t *len, bool rtcp);
int rtp_crypt_unprotect(struct rtp_crypt *c, uint8_t *p, size_t *len, bool rtcp);

#endif
