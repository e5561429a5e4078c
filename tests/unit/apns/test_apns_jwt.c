/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_jwt.h"
#include "base/bytes.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* RFC 7515 A.3 */
static const char rfc_x[] = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
static const char rfc_y[] = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
static const char rfc_input[] =
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cn"
    "VlfQ";
static const char rfc_signature[] =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

struct pem {
    char p[4096];
    size_t len;
};

static struct pem private_pem(EVP_PKEY *key, const char *password) {
    struct pem out;
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, password ? EVP_aes_256_cbc() : NULL, password,
                                                   password ? (int)strlen(password) : 0, NULL, NULL),
                     1);
    out.len = (size_t)BIO_read(bio, out.p, sizeof out.p);
    BIO_free(bio);
    return out;
}

static struct pem public_pem(EVP_PKEY *key) {
    struct pem out;
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    out.len = (size_t)BIO_read(bio, out.p, sizeof out.p);
    BIO_free(bio);
    return out;
}

static EVP_PKEY *rfc_key(void) {
    uint8_t point[65] = {4};
    EVP_PKEY *made = NULL, *parsed = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    char group[] = "P-256";
    assert_int_equal(b64url_decode(point + 1, 32, rfc_x, strlen(rfc_x)), 32);
    assert_int_equal(b64url_decode(point + 33, 32, rfc_y, strlen(rfc_y)), 32);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
                           OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
                           OSSL_PARAM_construct_end()};
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_PUBLIC_KEY, params), 1);
    struct pem pem = public_pem(made);
    assert_int_equal(apns_public_key_parse(&parsed, pem.p, pem.len, NULL), 0);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(made);
    return parsed;
}

static void the_example_of_rfc_7515_verifies(void **state) {
    uint8_t sig[APNS_ES256_BYTES];
    EVP_PKEY *key = rfc_key();
    (void)state;
    assert_int_equal(b64url_decode(sig, sizeof sig, rfc_signature, strlen(rfc_signature)), APNS_ES256_BYTES);
    assert_int_equal(apns_es256_verify(sig, key, rfc_input, strlen(rfc_input)), 0);
    EVP_PKEY_free(key);
}

static void a_flipped_bit_fails(void **state) {
    uint8_t sig[APNS_ES256_BYTES];
    char input[sizeof rfc_input];
    EVP_PKEY *key = rfc_key();
    (void)state;
    b64url_decode(sig, sizeof sig, rfc_signature, strlen(rfc_signature));
    for (size_t i = 0; i < sizeof sig; i += 7) {
        sig[i] ^= 1;
        assert_int_equal(apns_es256_verify(sig, key, rfc_input, strlen(rfc_input)), E_AUTH);
        sig[i] ^= 1;
    }
    memcpy(input, rfc_input, sizeof input);
    input[40] ^= 1;
    assert_int_equal(apns_es256_verify(sig, key, input, strlen(input)), E_AUTH);
    EVP_PKEY_free(key);
}

static void what_one_key_signs_another_does_not_verify(void **state) {
    uint8_t sig[APNS_ES256_BYTES];
    EVP_PKEY *one = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
    (void)state;
    /* r and s are shorter than 32 bytes once in 128 signatures: the padding must be right. */
    for (int i = 0; i < 300; i++) {
        assert_int_equal(apns_es256_sign(sig, one, &i, sizeof i), 0);
        assert_int_equal(apns_es256_verify(sig, one, &i, sizeof i), 0);
    }
    assert_int_equal(apns_es256_verify(sig, other, "x", 1), E_AUTH);
    EVP_PKEY_free(one);
    EVP_PKEY_free(other);
}

static json_t *part(const char *p, size_t len) {
    uint8_t bytes[256];
    int n = b64url_decode(bytes, sizeof bytes, p, len);
    assert_true(n > 0);
    return json_loadb((const char *)bytes, (size_t)n, 0, NULL);
}

static void a_provider_token_has_the_fields_that_apns_wants(void **state) {
    char token[APNS_JWT_BYTES];
    uint8_t sig[APNS_ES256_BYTES];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    (void)state;
    assert_int_equal(apns_jwt_make(token, key, "TEAM123456", "KEY1234567", 1790000000), 0);
    assert_int_equal(strlen(token), 184);
    const char *dot1 = strchr(token, '.'), *dot2 = strchr(dot1 + 1, '.');
    json_t *header = part(token, (size_t)(dot1 - token)), *claims = part(dot1 + 1, (size_t)(dot2 - dot1 - 1));
    assert_string_equal(json_string_value(json_object_get(header, "alg")), "ES256");
    assert_string_equal(json_string_value(json_object_get(header, "kid")), "KEY1234567");
    assert_int_equal(json_object_size(header), 2);
    assert_string_equal(json_string_value(json_object_get(claims, "iss")), "TEAM123456");
    assert_int_equal(json_integer_value(json_object_get(claims, "iat")), 1790000000);
    assert_int_equal(json_object_size(claims), 2);
    assert_int_equal(b64url_decode(sig, sizeof sig, dot2 + 1, strlen(dot2 + 1)), APNS_ES256_BYTES);
    assert_int_equal(apns_es256_verify(sig, key, token, (size_t)(dot2 - token)), 0);
    json_decref(header);
    json_decref(claims);
    EVP_PKEY_free(key);
}

static void ids_that_do_not_fit_are_refused(void **state) {
    char token[APNS_JWT_BYTES], id[200];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    (void)state;
    for (size_t len = 10; len < sizeof id; len++) {
        memset(id, 'A', len);
        id[len] = 0;
        int err = apns_jwt_make(token, key, id, "KEY1234567", 1790000000);
        assert_true(err == 0 || err == E_FULL);
        if (err == 0)
            assert_true(strlen(token) < APNS_JWT_BYTES);
    }
    assert_int_equal(apns_jwt_make(token, key, id, "KEY1234567", 1790000000), E_FULL);
    EVP_PKEY_free(key);
}

static void refused(const char *pem, size_t len, int err, const char *words) {
    struct err_text et = {""};
    EVP_PKEY *key = NULL;
    assert_int_equal(apns_key_parse(&key, pem, len, &et), err);
    assert_null(key);
    if (!strstr(et.s, words))
        fail_msg("\"%s\" does not say \"%s\"", et.s, words);
}

static void a_key_of_another_kind_is_refused(void **state) {
    EVP_PKEY *rsa = EVP_RSA_gen(2048), *p384 = EVP_EC_gen("P-384"), *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    struct pem pem;
    (void)state;
    pem = private_pem(rsa, NULL);
    refused(pem.p, pem.len, E_INVAL, "P-256");
    pem = private_pem(p384, NULL);
    refused(pem.p, pem.len, E_INVAL, "P-256");
    pem = private_pem(ed, NULL);
    refused(pem.p, pem.len, E_INVAL, "P-256");
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(p384);
    EVP_PKEY_free(ed);
}

static void an_encrypted_key_is_refused_without_asking(void **state) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    struct pem pem = private_pem(key, "secret");
    (void)state;
    refused(pem.p, pem.len, E_CRYPTO, "encrypted");
    EVP_PKEY_free(key);
}

static void rubbish_is_refused(void **state) {
    EVP_PKEY *key = EVP_EC_gen("P-256"), *out;
    struct pem pem = public_pem(key);
    struct err_text et = {""};
    (void)state;
    refused("", 0, E_CRYPTO, "no private key");
    refused("rubbish", 7, E_CRYPTO, "no private key");
    refused(pem.p, pem.len, E_CRYPTO, "no private key");
    pem = private_pem(key, NULL);
    refused(pem.p, pem.len / 2, E_CRYPTO, "no private key");
    assert_int_equal(apns_public_key_parse(&out, pem.p, pem.len, &et), E_CRYPTO);
    assert_non_null(strstr(et.s, "no public key"));
    EVP_PKEY_free(key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_rfc_7515_verifies),
        cmocka_unit_test(a_flipped_bit_fails),
        cmocka_unit_test(what_one_key_signs_another_does_not_verify),
        cmocka_unit_test(a_provider_token_has_the_fields_that_apns_wants),
        cmocka_unit_test(ids_that_do_not_fit_are_refused),
        cmocka_unit_test(a_key_of_another_kind_is_refused),
        cmocka_unit_test(an_encrypted_key_is_refused_without_asking),
        cmocka_unit_test(rubbish_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
