/* SPDX-License-Identifier: Apache-2.0 */
/* SRTP profiles and key material as values. Whoever holds a copy wipes it (media_keys_wipe). */
#ifndef DTLS_MEDIA_KEYS_H
#define DTLS_MEDIA_KEYS_H

#include <stddef.h>
#include <stdint.h>

#define MEDIA_KEY_MAX_BYTES    32
#define MEDIA_SALT_MAX_BYTES   14
#define MEDIA_MASTER_MAX_BYTES (MEDIA_KEY_MAX_BYTES + MEDIA_SALT_MAX_BYTES)

/* Values are the DTLS-SRTP profile numbers (RFC 5764 4.1.2, RFC 7714 14.2). */
enum media_profile {
    MEDIA_PROFILE_NONE = 0,
    MEDIA_PROFILE_AES128_CM_SHA1_80 = 0x0001,
    MEDIA_PROFILE_AEAD_AES_128_GCM = 0x0007,
    MEDIA_PROFILE_AEAD_AES_256_GCM = 0x0008
};

struct media_profile_info {
    enum media_profile profile;
    const char *sdes;    /* RFC 4568, RFC 7714 12: "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM" */
    const char *openssl; /* SSL_CTX_set_tlsext_use_srtp's name: "SRTP_AES128_CM_SHA1_80", ... */
    size_t key_bytes, salt_bytes;
};

/* The row, or NULL. */
const struct media_profile_info *media_profile_info(enum media_profile p);
/* By `sdes` name; NULL when unknown. */
const struct media_profile_info *media_profile_by_sdes(const char *name);

/* Key followed by salt, for each direction, as seen by the endpoint that holds this struct. */
struct media_keys {
    enum media_profile profile;
    uint8_t rx[MEDIA_MASTER_MAX_BYTES]; /* what the peer protects with */
    uint8_t tx[MEDIA_MASTER_MAX_BYTES]; /* what we protect with */
};

void media_keys_wipe(struct media_keys *k);
/* Random keys for both directions. */
void media_keys_random(struct media_keys *k, enum media_profile p);

#endif
