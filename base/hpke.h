/* SPDX-License-Identifier: Apache-2.0 */
/* HPKE (RFC 9180), base mode, one message to one key: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305. Who
 * has the public key seals; only who has the private key opens. A sealed message is
 *
 *   enc 32 bytes (the sender's one-time public key) | ciphertext | tag 16
 *
 * Everything secret is wiped before return. Thread: any. */
#ifndef BASE_HPKE_H
#define BASE_HPKE_H

#include <stddef.h>
#include <stdint.h>

#define HPKE_KEY_BYTES      32        /* X25519, public or private */
#define HPKE_OVERHEAD_BYTES (32 + 16) /* enc and tag */
#define HPKE_INFO_MAX_BYTES 64        /* ours is short */

/* What both sides know beside the message; a message opens with the same texts only. */
struct hpke_about {
    const char *info;        /* what it is for: up to HPKE_INFO_MAX_BYTES characters */
    const char *aad;         /* whose it is */
    const uint8_t *one_time; /* the sender's one-time private key, HPKE_KEY_BYTES, of a test vector; NULL: a new one */
};

/* A new key pair. Returns 0 or E_CRYPTO. */
int hpke_key_new(uint8_t private_key[static HPKE_KEY_BYTES], uint8_t public_key[static HPKE_KEY_BYTES]);
/* out: len + HPKE_OVERHEAD_BYTES; not p. Returns 0, or E_CRYPTO (public_key is none: a point of small order). */
int hpke_seal(uint8_t *out, const uint8_t public_key[static HPKE_KEY_BYTES], const struct hpke_about *about,
              const uint8_t *p, size_t len);
/* out: len - HPKE_OVERHEAD_BYTES; not p. Returns 0, or E_AUTH: another key, other texts, changed, cut short. The reason
 * is not told apart. out holds zeros then. */
int hpke_open(uint8_t *out, const uint8_t private_key[static HPKE_KEY_BYTES], const struct hpke_about *about,
              const uint8_t *p, size_t len);

#endif
