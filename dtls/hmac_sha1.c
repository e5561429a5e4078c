/* SPDX-License-Identifier: Apache-2.0 */
/* SHA1_Update and its like are deprecated, and do what the header promises. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "dtls/hmac_sha1.h"

#include "base/secret.h"

#include <string.h>

static void key_state(SHA_CTX *state, const uint8_t *key, size_t len, uint8_t pad) {
    uint8_t block[SHA_CBLOCK];
    memset(block, pad, sizeof block);
    for (size_t i = 0; i < len; i++)
        block[i] ^= key[i];
    SHA1_Init(state);
    SHA1_Update(state, block, sizeof block);
    secret_wipe(block, sizeof block);
}

void hmac_sha1_key(struct hmac_sha1 *h, const uint8_t *key, size_t len) {
    uint8_t digest[HMAC_SHA1_BYTES];
    if (len > SHA_CBLOCK) {
        SHA1(key, len, digest);
        key = digest;
        len = sizeof digest;
    }
    key_state(&h->inner, key, len, 0x36);
    key_state(&h->outer, key, len, 0x5c);
    secret_wipe(digest, sizeof digest);
    hmac_sha1_start(h);
}

void hmac_sha1_start(struct hmac_sha1 *h) {
    h->now = h->inner;
}

void hmac_sha1_update(struct hmac_sha1 *h, const uint8_t *p, size_t len) {
    SHA1_Update(&h->now, p, len);
}

void hmac_sha1_end(struct hmac_sha1 *h, uint8_t out[static HMAC_SHA1_BYTES]) {
    SHA1_Final(out, &h->now);
    h->now = h->outer;
    SHA1_Update(&h->now, out, HMAC_SHA1_BYTES);
    SHA1_Final(out, &h->now);
}

void hmac_sha1_wipe(struct hmac_sha1 *h) {
    secret_wipe(h, sizeof *h);
}
