/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/rtp_cipher.h"

#include "base/secret.h"
#include "dtls/hmac_sha1.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <srtp2/auth.h>
#include <srtp2/cipher.h>
#include <stdlib.h>
#include <string.h>

#define SALT_BYTES   14 /* of AES-CM, behind the key (RFC 3711 4.1.1); libsrtp counts it as a part of it */
#define GCM_IV_BYTES 12
#define BLOCK_BYTES  16

/* Bytes given as a string literal. */
#define BYTES(s) ((const uint8_t *)(s))

struct cipher {
    srtp_cipher_t base; /* what libsrtp holds; base.state is this struct */
    EVP_CIPHER_CTX *ctx;
    uint8_t offset[BLOCK_BYTES]; /* AES-CM: the salt, padded with zeros */
    int tag_bytes;               /* AES-GCM */
};

struct kind {
    const srtp_cipher_type_t *type;
    int key_bytes, salt_bytes;
    const EVP_CIPHER *(*evp)(void);
};

static const struct kind kinds[4];

static const struct kind *kind_by_length(int key_len) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].key_bytes + kinds[i].salt_bytes == key_len)
            return &kinds[i];
    return NULL;
}

static srtp_err_status_t cipher_dealloc(srtp_cipher_t *base) {
    struct cipher *c = base->state;
    EVP_CIPHER_CTX_free(c->ctx); /* wipes its key */
    secret_wipe(c, sizeof *c);
    free(c);
    return srtp_err_status_ok;
}

/* key_len: of key and salt, which tells the kind. */
static srtp_err_status_t cipher_alloc(srtp_cipher_t **out, int key_len, int tag_len) {
    const struct kind *kind = kind_by_length(key_len);
    struct cipher *c = kind ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return kind ? srtp_err_status_alloc_fail : srtp_err_status_bad_param;
    c->base = (srtp_cipher_t){.type = kind->type, .state = c, .key_len = key_len, .algorithm = (int)kind->type->id};
    c->tag_bytes = tag_len;
    c->ctx = EVP_CIPHER_CTX_new();
    if (!c->ctx) {
        cipher_dealloc(&c->base);
        return srtp_err_status_alloc_fail;
    }
    *out = &c->base;
    return srtp_err_status_ok;
}

static srtp_err_status_t cipher_init(void *state, const uint8_t *key) {
    struct cipher *c = state;
    const struct kind *kind = kind_by_length(c->base.key_len);
    if (kind->salt_bytes == SALT_BYTES)
        memcpy(c->offset, key + kind->key_bytes, SALT_BYTES);
    return EVP_EncryptInit_ex(c->ctx, kind->evp(), NULL, key, NULL) ? srtp_err_status_ok : srtp_err_status_init_fail;
}

/* RFC 3711 4.1.1: the counter's start is the salt, xored with what is the packet's own. */
static srtp_err_status_t cm_set_iv(void *state, uint8_t *iv, srtp_cipher_direction_t direction) {
    struct cipher *c = state;
    uint8_t counter[BLOCK_BYTES];
    (void)direction; /* both ways are the same */
    for (size_t i = 0; i < sizeof counter; i++)
        counter[i] = iv[i] ^ c->offset[i];
    return EVP_EncryptInit_ex(c->ctx, NULL, NULL, NULL, counter) ? srtp_err_status_ok : srtp_err_status_cipher_fail;
}

static srtp_err_status_t cipher_run(void *state, uint8_t *p, unsigned *len) {
    struct cipher *c = state;
    int n = 0;
    if (!EVP_CipherUpdate(c->ctx, p, &n, p, (int)*len) || n != (int)*len)
        return srtp_err_status_cipher_fail;
    return srtp_err_status_ok;
}

static srtp_err_status_t gcm_set_iv(void *state, uint8_t *iv, srtp_cipher_direction_t direction) {
    struct cipher *c = state;
    return EVP_CipherInit_ex(c->ctx, NULL, NULL, NULL, iv, direction == srtp_direction_encrypt)
               ? srtp_err_status_ok
               : srtp_err_status_cipher_fail;
}

/* May come several times for one packet: header, then SRTCP index. */
static srtp_err_status_t gcm_set_aad(void *state, const uint8_t *aad, uint32_t len) {
    struct cipher *c = state;
    int n = 0;
    return EVP_CipherUpdate(c->ctx, NULL, &n, aad, (int)len) ? srtp_err_status_ok : srtp_err_status_cipher_fail;
}

static srtp_err_status_t gcm_get_tag(void *state, uint8_t *tag, uint32_t *len) {
    struct cipher *c = state;
    int n = 0;
    if (!EVP_EncryptFinal_ex(c->ctx, tag, &n) || !EVP_CIPHER_CTX_ctrl(c->ctx, EVP_CTRL_AEAD_GET_TAG, c->tag_bytes, tag))
        return srtp_err_status_cipher_fail;
    *len = (uint32_t)c->tag_bytes;
    return srtp_err_status_ok;
}

/* The tag stands behind the text and is counted in len. */
static srtp_err_status_t gcm_decrypt(void *state, uint8_t *p, unsigned *len) {
    struct cipher *c = state;
    unsigned text = *len - (unsigned)c->tag_bytes;
    int n = 0;
    if (*len < (unsigned)c->tag_bytes || !EVP_CIPHER_CTX_ctrl(c->ctx, EVP_CTRL_AEAD_SET_TAG, c->tag_bytes, p + text) ||
        cipher_run(c, p, &text) != srtp_err_status_ok || !EVP_DecryptFinal_ex(c->ctx, p + text, &n))
        return srtp_err_status_auth_fail;
    *len = text;
    return srtp_err_status_ok;
}

struct hmac {
    srtp_auth_t base; /* base.state is this struct */
    struct hmac_sha1 sha1;
};

static const srtp_auth_type_t hmac_type;

static srtp_err_status_t hmac_dealloc(srtp_auth_t *base) {
    struct hmac *h = base->state;
    secret_wipe(h, sizeof *h);
    free(h);
    return srtp_err_status_ok;
}

static srtp_err_status_t hmac_alloc(srtp_auth_t **out, int key_len, int tag_len) {
    struct hmac *h = tag_len <= HMAC_SHA1_BYTES ? calloc(1, sizeof *h) : NULL;
    if (!h)
        return tag_len <= HMAC_SHA1_BYTES ? srtp_err_status_alloc_fail : srtp_err_status_bad_param;
    h->base = (srtp_auth_t){.type = &hmac_type, .state = h, .out_len = tag_len, .key_len = key_len};
    *out = &h->base;
    return srtp_err_status_ok;
}

static srtp_err_status_t hmac_init(void *state, const uint8_t *key, int key_len) {
    hmac_sha1_key(&((struct hmac *)state)->sha1, key, (size_t)key_len);
    return srtp_err_status_ok;
}

static srtp_err_status_t hmac_start(void *state) {
    hmac_sha1_start(&((struct hmac *)state)->sha1);
    return srtp_err_status_ok;
}

static srtp_err_status_t hmac_update(void *state, const uint8_t *p, int len) {
    hmac_sha1_update(&((struct hmac *)state)->sha1, p, (size_t)len);
    return srtp_err_status_ok;
}

static srtp_err_status_t hmac_compute(void *state, const uint8_t *p, int len, int tag_len, uint8_t *tag) {
    struct hmac *h = state;
    uint8_t digest[HMAC_SHA1_BYTES];
    if (tag_len > HMAC_SHA1_BYTES)
        return srtp_err_status_bad_param;
    hmac_sha1_update(&h->sha1, p, (size_t)len);
    hmac_sha1_end(&h->sha1, digest);
    memcpy(tag, digest, (size_t)tag_len);
    return srtp_err_status_ok;
}

/* RFC 3711 B.2 and RFC 6188 7.1: the keystream, that is, zeros encrypted. The index is not const in libsrtp's struct.
 */
static uint8_t zero_index[BLOCK_BYTES];
static const uint8_t zeros[32];
#define STREAM_SALT "\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd"

static const srtp_cipher_test_case_t cm_128_case = {
    .key_length_octets = 30,
    .key = BYTES("\x2b\x7e\x15\x16\x28\xae\xd2\xa6\xab\xf7\x15\x88\x09\xcf\x4f\x3c" STREAM_SALT),
    .idx = zero_index,
    .plaintext_length_octets = sizeof zeros,
    .plaintext = zeros,
    .ciphertext_length_octets = sizeof zeros,
    .ciphertext = BYTES("\xe0\x3e\xad\x09\x35\xc9\x5e\x80\xe1\x66\xb1\x6d\xd9\x2b\x4e\xb4"
                        "\xd2\x35\x13\x16\x2b\x02\xd0\xf7\x2a\x43\xa2\xfe\x4a\x5f\x97\xab"),
};
static const srtp_cipher_test_case_t cm_256_case = {
    .key_length_octets = 46,
    .key = BYTES("\x57\xf8\x2f\xe3\x61\x3f\xd1\x70\xa8\x5e\xc9\x3c\x40\xb1\xf0\x92"
                 "\x2e\xc4\xcb\x0d\xc0\x25\xb5\x82\x72\x14\x7c\xc4\x38\x94\x4a\x98" STREAM_SALT),
    .idx = zero_index,
    .plaintext_length_octets = sizeof zeros,
    .plaintext = zeros,
    .ciphertext_length_octets = sizeof zeros,
    .ciphertext = BYTES("\x92\xbd\xd2\x8a\x93\xc3\xf5\x25\x11\xc6\x77\xd0\x8b\x55\x15\xa4"
                        "\x9d\xa7\x1b\x23\x78\xa8\x54\xf6\x70\x50\x75\x6d\xed\x16\x5b\xac"),
};

/* RFC 7714 16.1.1 and 16.2.1. libsrtp counts 12 bytes of salt behind the key, which GCM takes no part of. */
static uint8_t gcm_iv[] = {0x51, 0x75, 0x3c, 0x65, 0x80, 0xc2, 0x72, 0x6f, 0x20, 0x71, 0x84, 0x14};
#define GCM_AAD  "\x80\x40\xf1\x7b\x80\x41\xf8\xd3\x55\x01\xa0\xb2"
#define GCM_TEXT "Gallia est omnis divisa in partes tres"
#define GCM_KEY  "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
#define GCM_KEY2 "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"

static const srtp_cipher_test_case_t gcm_128_case = {
    .key_length_octets = 28,
    .key = BYTES(GCM_KEY "padded to 28"),
    .idx = gcm_iv,
    .plaintext_length_octets = sizeof GCM_TEXT - 1,
    .plaintext = BYTES(GCM_TEXT),
    .ciphertext_length_octets = sizeof GCM_TEXT - 1 + 16,
    .ciphertext = BYTES("\xf2\x4d\xe3\xa3\xfb\x34\xde\x6c\xac\xba\x86\x1c\x9d\x7e\x4b\xca\xbe\x63\x3b\xd5\x0d\x29\x4e"
                        "\x6f\x42\xa5\xf4\x7a\x51\xc7\xd1\x9b\x36\xde\x3a\xdf\x88\x33\x89\x9d\x7f\x27\xbe\xb1\x6a\x91"
                        "\x52\xcf\x76\x5e\xe4\x39\x0c\xce"),
    .aad_length_octets = sizeof GCM_AAD - 1,
    .aad = BYTES(GCM_AAD),
    .tag_length_octets = 16,
};
static const srtp_cipher_test_case_t gcm_256_case = {
    .key_length_octets = 44,
    .key = BYTES(GCM_KEY GCM_KEY2 "padded to 44"),
    .idx = gcm_iv,
    .plaintext_length_octets = sizeof GCM_TEXT - 1,
    .plaintext = BYTES(GCM_TEXT),
    .ciphertext_length_octets = sizeof GCM_TEXT - 1 + 16,
    .ciphertext = BYTES("\x32\xb1\xde\x78\xa8\x22\xfe\x12\xef\x9f\x78\xfa\x33\x2e\x33\xaa\xb1\x80\x12\x38\x9a\x58\xe2"
                        "\xf3\xb5\x0b\x2a\x02\x76\xff\xae\x0f\x1b\xa6\x37\x99\xb8\x7b\x7a\xa3\xdb\x36\xdf\xff\xd6\xb0"
                        "\xf9\xbb\x78\x78\xd7\xa7\x6c\x13"),
    .aad_length_octets = sizeof GCM_AAD - 1,
    .aad = BYTES(GCM_AAD),
    .tag_length_octets = 16,
};

/* RFC 2202 3, case 2. */
#define HMAC_TEXT "what do ya want for nothing?"
static const srtp_auth_test_case_t hmac_case = {
    .key_length_octets = 4,
    .key = BYTES("Jefe"),
    .data_length_octets = sizeof HMAC_TEXT - 1,
    .data = BYTES(HMAC_TEXT),
    .tag_length_octets = HMAC_SHA1_BYTES,
    .tag = BYTES("\xef\xfc\xdf\x6a\xe5\xeb\x2f\xa2\xd2\x74\x16\xd5\xf1\x84\xdf\x9c\x25\x9a\x7c\x79"),
};

#define CM_TYPE(number, name, vectors)                                                                                 \
    {                                                                                                                  \
        .alloc = cipher_alloc, .dealloc = cipher_dealloc, .init = cipher_init, .encrypt = cipher_run,                  \
        .decrypt = cipher_run, .set_iv = cm_set_iv, .description = (name), .test_data = (vectors), .id = (number)      \
    }
#define GCM_TYPE(number, name, vectors)                                                                                \
    {                                                                                                                  \
        .alloc = cipher_alloc, .dealloc = cipher_dealloc, .init = cipher_init, .set_aad = gcm_set_aad,                 \
        .encrypt = cipher_run, .decrypt = gcm_decrypt, .set_iv = gcm_set_iv, .get_tag = gcm_get_tag,                   \
        .description = (name), .test_data = (vectors), .id = (number)                                                  \
    }

static const srtp_cipher_type_t types[] = {
    CM_TYPE(SRTP_AES_ICM_128, "AES-128-CM", &cm_128_case),
    CM_TYPE(SRTP_AES_ICM_256, "AES-256-CM", &cm_256_case), /* key derivation of AEAD_AES_256_GCM (RFC 7714 11) */
    GCM_TYPE(SRTP_AES_GCM_128, "AES-128-GCM", &gcm_128_case),
    GCM_TYPE(SRTP_AES_GCM_256, "AES-256-GCM", &gcm_256_case),
};
static const struct kind kinds[4] = {
    {&types[0], 16, SALT_BYTES, EVP_aes_128_ctr},
    {&types[1], 32, SALT_BYTES, EVP_aes_256_ctr},
    {&types[2], 16, GCM_IV_BYTES, EVP_aes_128_gcm},
    {&types[3], 32, GCM_IV_BYTES, EVP_aes_256_gcm},
};
static const srtp_auth_type_t hmac_type = {.alloc = hmac_alloc,
                                           .dealloc = hmac_dealloc,
                                           .init = hmac_init,
                                           .compute = hmac_compute,
                                           .update = hmac_update,
                                           .start = hmac_start,
                                           .description = "HMAC-SHA1",
                                           .test_data = &hmac_case,
                                           .id = SRTP_HMAC_SHA1};

static int refused(struct err_text *et, const char *name, srtp_err_status_t status) {
    unsigned long why = ERR_peek_last_error();
    ERR_clear_error();
    return err_say(et, E_CRYPTO,
                   "SRTP: OpenSSL's %s does not pass libsrtp's check (status %d%s%s); look at openssl.cnf", name,
                   (int)status, why ? ", " : "", why ? ERR_reason_error_string(why) : "");
}

int rtp_cipher_plug(struct err_text *et) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        srtp_err_status_t status = srtp_replace_cipher_type(&types[i], types[i].id);
        if (status != srtp_err_status_ok)
            return refused(et, types[i].description, status);
    }
    srtp_err_status_t status = srtp_replace_auth_type(&hmac_type, SRTP_HMAC_SHA1);
    return status == srtp_err_status_ok ? 0 : refused(et, hmac_type.description, status);
}
