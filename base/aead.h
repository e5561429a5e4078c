/* SPDX-License-Identifier: Apache-2.0 */
/* One message with one nonce, by OpenSSL's ciphers with associated data. Thread: any. */
#ifndef BASE_AEAD_H
#define BASE_AEAD_H

#include <stddef.h>
#include <stdint.h>

#define AEAD_KEY_BYTES   32 /* at most: AES-128 has 16 */
#define AEAD_NONCE_BYTES 12
#define AEAD_TAG_BYTES   16

enum aead_cipher { AEAD_AES_128_GCM, AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 }; /* NIST SP 800-38D, RFC 8439 */

struct aead {
    enum aead_cipher cipher;
    const uint8_t *key, *nonce; /* of AEAD_NONCE_BYTES: never the same two for another message */
    const void *aad;            /* goes into the tag, not into the ciphertext */
    size_t aad_len;
};

/* out: len bytes, may be p. Returns 0 or E_CRYPTO. */
int aead_close(const struct aead *a, uint8_t *out, const uint8_t *p, size_t len, uint8_t tag[static AEAD_TAG_BYTES]);
/* out: len bytes, may be p; none may be used unless it returns 0. Returns 0, E_AUTH or E_CRYPTO. */
int aead_open(const struct aead *a, uint8_t *out, const uint8_t *p, size_t len,
              const uint8_t tag[static AEAD_TAG_BYTES]);

#endif
