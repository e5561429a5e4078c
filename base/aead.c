/* SPDX-License-Identifier: Apache-2.0 */
#include "base/aead.h"

#include "base/err.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

static const EVP_CIPHER *(*const ciphers[])(void) = {[AEAD_AES_128_GCM] = EVP_aes_128_gcm,
                                                     [AEAD_AES_256_GCM] = EVP_aes_256_gcm,
                                                     [AEAD_CHACHA20_POLY1305] = EVP_chacha20_poly1305};

static int begin(EVP_CIPHER_CTX *ctx, const struct aead *a, bool closing) {
    int n;
    bool ok = ctx && EVP_CipherInit_ex(ctx, ciphers[a->cipher](), NULL, a->key, a->nonce, closing) == 1 &&
              EVP_CipherUpdate(ctx, NULL, &n, a->aad, (int)a->aad_len) == 1;
    return ok ? 0 : E_CRYPTO;
}

int aead_close(const struct aead *a, uint8_t *out, const uint8_t *p, size_t len, uint8_t tag[static AEAD_TAG_BYTES]) {
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, err = begin(ctx, a, true);
    if (err == 0 && (EVP_CipherUpdate(ctx, out, &n, p, (int)len) != 1 || EVP_CipherFinal_ex(ctx, out + n, &n) != 1 ||
                     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, tag) != 1))
        err = E_CRYPTO;
    EVP_CIPHER_CTX_free(ctx);
    return err;
}

int aead_open(const struct aead *a, uint8_t *out, const uint8_t *p, size_t len,
              const uint8_t tag[static AEAD_TAG_BYTES]) {
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t expected[AEAD_TAG_BYTES];
    int n, err = begin(ctx, a, false);
    memcpy(expected, tag, sizeof expected);
    if (err == 0 && (EVP_CipherUpdate(ctx, out, &n, p, (int)len) != 1 ||
                     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES, expected) != 1))
        err = E_CRYPTO;
    if (err == 0 && EVP_CipherFinal_ex(ctx, out + n, &n) != 1)
        err = E_AUTH;
    EVP_CIPHER_CTX_free(ctx);
    return err;
}
