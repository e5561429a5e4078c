/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_jwt.h"

#include "base/bytes.h"
#include "base/secret.h"

#include <inttypes.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define COORDINATE_BYTES 32

static int check_curve(EVP_PKEY **keyp, struct err_text *et) {
    char group[64] = "";
    if (EVP_PKEY_is_a(*keyp, "EC") &&
        EVP_PKEY_get_utf8_string_param(*keyp, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, NULL) &&
        strcmp(group, SN_X9_62_prime256v1) == 0)
        return 0;
    EVP_PKEY_free(*keyp);
    *keyp = NULL;
    return err_say(et, E_INVAL, "the key is not an EC key on P-256; an APNs key (.p8) always is");
}

/* An encrypted key must fail, not ask at the terminal. */
static int no_password(char *out, int cap, int writing, void *arg) {
    (void)out;
    (void)cap;
    (void)writing;
    (void)arg;
    return -1;
}

static int parse(EVP_PKEY **keyp, const char *pem, size_t len, bool is_public, struct err_text *et) {
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    *keyp = !bio        ? NULL
            : is_public ? PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL)
                        : PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    ERR_clear_error();
    if (!*keyp && memmem(pem, len, "ENCRYPTED", strlen("ENCRYPTED")))
        return err_say(et, E_CRYPTO, "the key is encrypted; store it without a password");
    if (!*keyp)
        return err_say(et, E_CRYPTO, "no %s key in PEM form found", is_public ? "public" : "private");
    return check_curve(keyp, et);
}

int apns_key_parse(EVP_PKEY **keyp, const char *pem, size_t len, struct err_text *et) {
    return parse(keyp, pem, len, false, et);
}

int apns_public_key_parse(EVP_PKEY **keyp, const char *pem, size_t len, struct err_text *et) {
    return parse(keyp, pem, len, true, et);
}

int apns_es256_sign(uint8_t out[static APNS_ES256_BYTES], EVP_PKEY *key, const void *p, size_t len) {
    uint8_t der[128];
    const uint8_t *at = der;
    size_t der_len = sizeof der;
    ECDSA_SIG *sig = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int err = E_CRYPTO;
    if (ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(ctx, der, &der_len, p, len) == 1 && (sig = d2i_ECDSA_SIG(NULL, &at, (long)der_len)) &&
        BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, COORDINATE_BYTES) == COORDINATE_BYTES &&
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + COORDINATE_BYTES, COORDINATE_BYTES) == COORDINATE_BYTES)
        err = 0;
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return err;
}

int apns_es256_verify(const uint8_t sig[static APNS_ES256_BYTES], EVP_PKEY *key, const void *p, size_t len) {
    uint8_t *der = NULL;
    ECDSA_SIG *s = ECDSA_SIG_new();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int err = E_CRYPTO, der_len;
    BIGNUM *r_bn = BN_bin2bn(sig, COORDINATE_BYTES, NULL),
           *s_bn = BN_bin2bn(sig + COORDINATE_BYTES, COORDINATE_BYTES, NULL);
    if (s && r_bn && s_bn && ECDSA_SIG_set0(s, r_bn, s_bn) == 1) {
        r_bn = s_bn = NULL; /* they belong to s now */
        der_len = i2d_ECDSA_SIG(s, &der);
        if (ctx && der_len > 0 && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1)
            err = EVP_DigestVerify(ctx, der, (size_t)der_len, p, len) == 1 ? 0 : E_AUTH;
    }
    OPENSSL_free(der);
    BN_free(r_bn);
    BN_free(s_bn);
    ECDSA_SIG_free(s);
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return err;
}

int apns_jwt_make(char out[static APNS_JWT_BYTES], EVP_PKEY *key, const char *team_id, const char *key_id,
                  uint64_t iat_s) {
    char header[96], claims[96], h64[B64_BYTES(sizeof header)], c64[B64_BYTES(sizeof claims)],
        s64[B64_BYTES(APNS_ES256_BYTES)];
    uint8_t sig[APNS_ES256_BYTES];
    int h = snprintf(header, sizeof header, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", key_id);
    int c = snprintf(claims, sizeof claims, "{\"iss\":\"%s\",\"iat\":%" PRIu64 "}", team_id, iat_s);
    if (h >= (int)sizeof header || c >= (int)sizeof claims)
        return E_FULL;
    int n = snprintf(out, APNS_JWT_BYTES, "%s.%s", b64url_encode(h64, (uint8_t *)header, (size_t)h),
                     b64url_encode(c64, (uint8_t *)claims, (size_t)c));
    if (n + 1 + (int)sizeof s64 > APNS_JWT_BYTES)
        return E_FULL;
    int err = apns_es256_sign(sig, key, out, (size_t)n);
    if (err == 0)
        snprintf(out + n, APNS_JWT_BYTES - (size_t)n, ".%s", b64url_encode(s64, sig, sizeof sig));
    secret_wipe(sig, sizeof sig);
    return err;
}
