/* SPDX-License-Identifier: Apache-2.0 */
/* That libsrtp works with OpenSSL's ciphers, and what that costs and risks. Whether they are right is tested in
 * test_rtp_crypt.c. */
#include "base/bytes.h"
#include "dtls/rtp_cipher.h"
#include "dtls/rtp_crypt.h"
#include "tests/unit/dtls/openssl_allocations.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PACKETS 100

static const enum media_profile profiles[] = {MEDIA_PROFILE_AES128_CM_SHA1_80, MEDIA_PROFILE_AEAD_AES_128_GCM,
                                              MEDIA_PROFILE_AEAD_AES_256_GCM};
#define PROFILES (sizeof profiles / sizeof *profiles)

static struct rtp_crypt *loop_back(enum media_profile profile) {
    struct media_keys keys;
    struct rtp_crypt *c = NULL;
    media_keys_random(&keys, profile);
    memcpy(keys.rx, keys.tx, sizeof keys.rx);
    assert_int_equal(rtp_crypt_new(&c, &keys), 0);
    return c;
}

static void there_and_back(struct rtp_crypt *c, uint16_t seq) {
    uint8_t rtp[256] = {0x80, 0, (uint8_t)(seq >> 8), (uint8_t)seq}, rtcp[256] = {0x81, 200, 0, 6};
    size_t rtp_len = 172, rtcp_len = 28;
    assert_int_equal(rtp_crypt_protect(c, rtp, &rtp_len, false), 0);
    assert_int_equal(rtp_crypt_unprotect(c, rtp, &rtp_len, false), 0);
    assert_int_equal(rtp_len, 172);
    assert_int_equal(rtp_crypt_protect(c, rtcp, &rtcp_len, true), 0);
    assert_int_equal(rtp_crypt_unprotect(c, rtcp, &rtcp_len, true), 0);
    assert_int_equal(rtcp_len, 28);
}

static void openssl_does_the_work_and_a_packet_allocates_nothing(void **state) {
    (void)state;
    assert_int_equal(rtp_crypt_init(NULL), 0);
    for (size_t i = 0; i < PROFILES; i++) {
        unsigned before = allocations;
        struct rtp_crypt *c = loop_back(profiles[i]);
        assert_true(allocations > before);
        there_and_back(c, 0);
        before = allocations;
        for (uint16_t seq = 1; seq <= PACKETS; seq++)
            there_and_back(c, seq);
        assert_int_equal(allocations, before);
        rtp_crypt_free(c);
    }
    rtp_crypt_shutdown();
}

static void an_openssl_without_the_ciphers_is_named_and_nothing_starts(void **state) {
    struct err_text et = {""};
    (void)state;
    assert_int_equal(EVP_set_default_properties(NULL, "provider=none"), 1);
    assert_int_equal(rtp_crypt_init(&et), E_CRYPTO);
    assert_non_null(strstr(et.s, "AES-128-CM"));
    assert_non_null(strstr(et.s, "openssl.cnf"));
    assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
    assert_int_equal(rtp_crypt_init(&et), 0);
    rtp_crypt_shutdown();
}

static void it_can_be_started_and_ended_again(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rtp_crypt_init(NULL), 0);
        assert_int_equal(rtp_crypt_init(NULL), 0);
        struct rtp_crypt *c = loop_back(MEDIA_PROFILE_AES128_CM_SHA1_80);
        there_and_back(c, 1);
        rtp_crypt_free(c);
        rtp_crypt_shutdown();
        rtp_crypt_shutdown();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openssl_does_the_work_and_a_packet_allocates_nothing),
        cmocka_unit_test(an_openssl_without_the_ciphers_is_named_and_nothing_starts),
        cmocka_unit_test(it_can_be_started_and_ended_again),
    };
    if (CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) != 1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
