/* SPDX-License-Identifier: Apache-2.0 */
/* SRTCP of what one side sends (RFC 3711 3.4, RFC 7714 9 and 12).
 *
 * Why not libsrtp, which does the rest: its SRTCP index begins with 1 and cannot be set. A leg that goes on after a
 * crash has to begin above every index that it may have used, since an index that comes twice under one key gives the
 * text away, and with GCM the key. All SSRCs of a leg share one counter here, which a receiver need not notice: it asks
 * for greater indices only.
 *
 *   AES-CM:  | header, SSRC | encrypted |E| SRTCP index | tag, 10 bytes   |
 *   AES-GCM: | header, SSRC | encrypted | tag, 16 bytes |E| SRTCP index   |
 *
 * Owner: embedded; it holds keys. Thread: one at a time. */
#ifndef DTLS_SRTCP_H
#define DTLS_SRTCP_H

#include "dtls/hmac_sha1.h"
#include "dtls/media_keys.h"

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#define SRTCP_TRAILER_BYTES 20          /* at most: tag and index */
#define SRTCP_INDEX_MAX     0x7fffffffU /* 31 bits; afterwards the keys are used up (RFC 3711 9.2) */

struct srtcp {
    enum media_profile profile;
    EVP_CIPHER_CTX *cipher; /* with its key */
    struct hmac_sha1 hmac;  /* AES-CM */
    uint8_t salt[MEDIA_SALT_MAX_BYTES];
    uint32_t next, limit; /* the next index, and the first that must not be used */
};

/* master: key and salt of what this side sends. The first index is 1, as libsrtp's. Returns 0, E_CRYPTO, E_NOMEM;
 * srtcp_wipe it in either case. */
int srtcp_init(struct srtcp *s, enum media_profile profile, const uint8_t master[static MEDIA_MASTER_MAX_BYTES]);
void srtcp_wipe(struct srtcp *s);
/* In place; p has room for SRTCP_TRAILER_BYTES behind *len, which is updated. Returns 0, E_MALFORMED (no RTCP), E_FULL
 * at the limit, E_CRYPTO. */
int srtcp_protect(struct srtcp *s, uint8_t *p, size_t *len);

#endif
