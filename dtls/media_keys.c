/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/media_keys.h"

#include "base/bytes.h"
#include "base/secret.h"

#include <string.h>
#include <strings.h>

/* In the order in which we prefer them. */
static const struct media_profile_info profiles[] = {
    {MEDIA_PROFILE_AEAD_AES_128_GCM, "AEAD_AES_128_GCM", "SRTP_AEAD_AES_128_GCM", 16, 12},
    {MEDIA_PROFILE_AEAD_AES_256_GCM, "AEAD_AES_256_GCM", "SRTP_AEAD_AES_256_GCM", 32, 12},
    {MEDIA_PROFILE_AES128_CM_SHA1_80, "AES_CM_128_HMAC_SHA1_80", "SRTP_AES128_CM_SHA1_80", 16, 14},
};

const struct media_profile_info *media_profile_info(enum media_profile p) {
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++)
        if (profiles[i].profile == p)
            return &profiles[i];
    return NULL;
}

const struct media_profile_info *media_profile_by_sdes(const char *name) {
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++)
        if (strcasecmp(profiles[i].sdes, name) == 0)
            return &profiles[i];
    return NULL;
}

void media_keys_wipe(struct media_keys *k) {
    secret_wipe(k, sizeof *k);
}

void media_keys_random(struct media_keys *k, enum media_profile p) {
    const struct media_profile_info *info = media_profile_info(p);
    memset(k, 0, sizeof *k);
    k->profile = p;
    random_bytes(k->rx, info->key_bytes + info->salt_bytes);
    random_bytes(k->tx, info->key_bytes + info->salt_bytes);
}
