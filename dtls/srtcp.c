/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/srtcp.h"

#include "base/err.h"
#include "base/secret.h"

#include <string.h>

#define HEADER_BYTES  8 /* stays readable (RFC 3711 3.4) */
#define INDEX_BYTES   4
#define ENCRYPTED     0x80000000U /* the E flag */
#define CM_TAG_BYTES  10          /* of HMAC-SHA1-80 */
#define GCM_TAG_BYTES 16
#define BLOCK_BYTES   16

enum { LABEL_CIPHER = 3, LABEL_AUTH = 4, LABEL_SALT = 5 }; /* RFC 3711 4.3.2 */

static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void xor32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++)
        p[i] ^= (uint8_t)(v >> (24 - 8 * i));
}

/* RFC 3711 4.3.1 with a key derivation rate of 0; a salt of 12 bytes counts as padded on the right (RFC 7714 11). */
static bool derive(uint8_t *out, size_t len, const struct media_profile_info *info, const uint8_t *master, int label) {
    static const uint8_t zeros[MEDIA_KEY_MAX_BYTES];
    uint8_t iv[BLOCK_BYTES] = {0};
    int n = 0;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    memcpy(iv, master + info->key_bytes, info->salt_bytes);
    iv[7] ^= (uint8_t)label;
    bool ok = c &&
              EVP_EncryptInit_ex(c, info->key_bytes == 32 ? EVP_aes_256_ctr() : EVP_aes_128_ctr(), NULL, master, iv) &&
              EVP_EncryptUpdate(c, out, &n, zeros, (int)len);
    EVP_CIPHER_CTX_free(c);
    return ok;
}

static const EVP_CIPHER *cipher_of(enum media_profile profile) {
    switch (profile) {
    case MEDIA_PROFILE_AEAD_AES_128_GCM:
        return EVP_aes_128_gcm();
    case MEDIA_PROFILE_AEAD_AES_256_GCM:
        return EVP_aes_256_gcm();
    default:
        return EVP_aes_128_ctr();
    }
}

int srtcp_init(struct srtcp *s, enum media_profile profile, const uint8_t master[static MEDIA_MASTER_MAX_BYTES]) {
    const struct media_profile_info *info = media_profile_info(profile);
    uint8_t key[MEDIA_KEY_MAX_BYTES], auth[HMAC_SHA1_BYTES];
    memset(s, 0, sizeof *s);
    if (!info)
        return E_CRYPTO;
    s->profile = profile;
    s->next = 1;
    s->limit = SRTCP_INDEX_MAX;
    s->cipher = EVP_CIPHER_CTX_new();
    if (!s->cipher)
        return E_NOMEM;
    bool ok = derive(key, info->key_bytes, info, master, LABEL_CIPHER) &&
              derive(s->salt, info->salt_bytes, info, master, LABEL_SALT) &&
              derive(auth, sizeof auth, info, master, LABEL_AUTH) &&
              EVP_EncryptInit_ex(s->cipher, cipher_of(profile), NULL, key, NULL);
    if (ok)
        hmac_sha1_key(&s->hmac, auth, sizeof auth);
    secret_wipe(key, sizeof key);
    secret_wipe(auth, sizeof auth);
    return ok ? 0 : E_CRYPTO;
}

void srtcp_wipe(struct srtcp *s) {
    EVP_CIPHER_CTX_free(s->cipher); /* wipes its key */
    secret_wipe(s, sizeof *s);
}

/* RFC 3711 4.1.1: salt * 2^16, SSRC * 2^64 and index * 2^16. */
static bool close_cm(struct srtcp *s, uint8_t *p, size_t len, uint32_t index) {
    uint8_t iv[BLOCK_BYTES] = {0}, tag[HMAC_SHA1_BYTES];
    int n = 0;
    memcpy(iv, s->salt, MEDIA_SALT_MAX_BYTES);
    for (int i = 0; i < 4; i++)
        iv[4 + i] ^= p[4 + i];
    xor32(iv + 10, index);
    if (!EVP_EncryptInit_ex(s->cipher, NULL, NULL, NULL, iv) ||
        !EVP_EncryptUpdate(s->cipher, p + HEADER_BYTES, &n, p + HEADER_BYTES, (int)(len - HEADER_BYTES)))
        return false;
    put32(p + len, ENCRYPTED | index);
    hmac_sha1_start(&s->hmac);
    hmac_sha1_update(&s->hmac, p, len + INDEX_BYTES);
    hmac_sha1_end(&s->hmac, tag);
    memcpy(p + len + INDEX_BYTES, tag, CM_TAG_BYTES);
    return true;
}

/* RFC 7714 9.1 and 9.3: the IV, and header and index as associated data. */
static bool close_gcm(struct srtcp *s, uint8_t *p, size_t len, uint32_t index) {
    uint8_t iv[12], *word = p + len + GCM_TAG_BYTES;
    int n = 0;
    memcpy(iv, s->salt, sizeof iv);
    for (int i = 0; i < 4; i++)
        iv[2 + i] ^= p[4 + i];
    xor32(iv + 8, index);
    put32(word, ENCRYPTED | index);
    return EVP_EncryptInit_ex(s->cipher, NULL, NULL, NULL, iv) &&
           EVP_EncryptUpdate(s->cipher, NULL, &n, p, HEADER_BYTES) &&
           EVP_EncryptUpdate(s->cipher, NULL, &n, word, INDEX_BYTES) &&
           EVP_EncryptUpdate(s->cipher, p + HEADER_BYTES, &n, p + HEADER_BYTES, (int)(len - HEADER_BYTES)) &&
           EVP_EncryptFinal_ex(s->cipher, p + len, &n) &&
           EVP_CIPHER_CTX_ctrl(s->cipher, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_BYTES, p + len);
}

int srtcp_protect(struct srtcp *s, uint8_t *p, size_t *len) {
    if (*len < HEADER_BYTES)
        return E_MALFORMED;
    if (s->next >= s->limit)
        return E_FULL;
    bool cm = s->profile == MEDIA_PROFILE_AES128_CM_SHA1_80;
    uint32_t index = s->next++;
    if (!(cm ? close_cm : close_gcm)(s, p, *len, index))
        return E_CRYPTO;
    *len += INDEX_BYTES + (cm ? CM_TAG_BYTES : GCM_TAG_BYTES);
    return 0;
}
