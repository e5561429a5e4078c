/* SPDX-License-Identifier: Apache-2.0 */
/* HMAC-SHA1 (RFC 2104) for SRTP packets and STUN messages, which come by the thousand and are short. Nothing is
 * allocated, and a key is hashed once: in OpenSSL 3.0 every other way to an HMAC allocates and looks names up for each
 * message. Owner: whoever embeds it; it holds the key. Thread: any, one at a time. */
#ifndef DTLS_HMAC_SHA1_H
#define DTLS_HMAC_SHA1_H

#include <openssl/sha.h>
#include <stddef.h>
#include <stdint.h>

#define HMAC_SHA1_BYTES 20

struct hmac_sha1 {
    SHA_CTX inner, outer; /* the states that the key leads to */
    SHA_CTX now;
};

/* Set the key and start a message. */
void hmac_sha1_key(struct hmac_sha1 *h, const uint8_t *key, size_t len);
/* Start another message. */
void hmac_sha1_start(struct hmac_sha1 *h);
void hmac_sha1_update(struct hmac_sha1 *h, const uint8_t *p, size_t len);
/* End the message. */
void hmac_sha1_end(struct hmac_sha1 *h, uint8_t out[static HMAC_SHA1_BYTES]);
/* Forget the key. */
void hmac_sha1_wipe(struct hmac_sha1 *h);

#endif
