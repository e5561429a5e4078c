/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_trust.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define LIFE_S 864000

static X509 *make(EVP_PKEY *key) {
    X509 *x = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), LIFE_S);
    X509_set_pubkey(x, key);
    X509_sign(x, key, EVP_sha256());
    return x;
}

static int load(BIO *bio, const char *password, int64_t *expires_s, struct err_text *et) {
    struct apns_credential_config cfg = {.certificate_password = password};
    SSL_CTX *ctx;
    char *p;
    cfg.certificate_len = (size_t)BIO_get_mem_data(bio, &p);
    cfg.certificate = p;
    int err = apns_trust_new(&ctx, expires_s, &cfg, et);
    SSL_CTX_free(ctx);
    return err;
}

static void a_certificate_comes_as_pem_or_pkcs12(void **state) {
    EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
    X509 *x = make(key);
    struct err_text et = {""};
    int64_t expires_s;
    (void)state;
    BIO *pem = BIO_new(BIO_s_mem()), *p12_bio = BIO_new(BIO_s_mem()), *wrong = BIO_new(BIO_s_mem()),
        *alone = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(pem, x);
    PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL);
    assert_int_equal(load(pem, NULL, &expires_s, &et), 0);
    assert_in_range(expires_s - (int64_t)time(NULL), LIFE_S - 60, LIFE_S + 60);
    PKCS12 *p12 = PKCS12_create("secret", "push", key, x, NULL, 0, 0, 0, 0, 0);
    i2d_PKCS12_bio(p12_bio, p12);
    assert_int_equal(load(p12_bio, "secret", &expires_s, &et), 0);
    assert_true(expires_s > 0);
    assert_int_equal(load(p12_bio, "guess", &expires_s, &et), E_CRYPTO);
    assert_non_null(strstr(et.s, "password"));
    PEM_write_bio_X509(wrong, x);
    PEM_write_bio_PrivateKey(wrong, other, NULL, NULL, 0, NULL, NULL);
    assert_int_equal(load(wrong, NULL, &expires_s, &et), E_CRYPTO);
    assert_non_null(strstr(et.s, "belong together"));
    PEM_write_bio_X509(alone, x);
    assert_int_equal(load(alone, NULL, &expires_s, &et), E_CRYPTO);
    assert_non_null(strstr(et.s, "private key"));
    PKCS12_free(p12);
    BIO_free(pem);
    BIO_free(p12_bio);
    BIO_free(wrong);
    BIO_free(alone);
    X509_free(x);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_certificate_comes_as_pem_or_pkcs12)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
