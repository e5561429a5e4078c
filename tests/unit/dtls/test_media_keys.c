/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/media_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static bool is_zero(const void *p, size_t len) {
    const uint8_t *b = p;
    for (size_t i = 0; i < len; i++)
        if (b[i])
            return false;
    return true;
}

/* RFC 3711 8.2, RFC 7714 12. */
static void each_profile_has_the_key_and_salt_lengths_of_its_rfc(void **state) {
    static const struct {
        enum media_profile p;
        const char *sdes, *openssl;
        size_t key, salt;
    } rows[] = {
        {MEDIA_PROFILE_AES128_CM_SHA1_80, "AES_CM_128_HMAC_SHA1_80", "SRTP_AES128_CM_SHA1_80", 16, 14},
        {MEDIA_PROFILE_AEAD_AES_128_GCM, "AEAD_AES_128_GCM", "SRTP_AEAD_AES_128_GCM", 16, 12},
        {MEDIA_PROFILE_AEAD_AES_256_GCM, "AEAD_AES_256_GCM", "SRTP_AEAD_AES_256_GCM", 32, 12},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct media_profile_info *info = media_profile_info(rows[i].p);
        assert_non_null(info);
        assert_string_equal(info->sdes, rows[i].sdes);
        assert_string_equal(info->openssl, rows[i].openssl);
        assert_int_equal(info->key_bytes, rows[i].key);
        assert_int_equal(info->salt_bytes, rows[i].salt);
        assert_ptr_equal(media_profile_by_sdes(rows[i].sdes), info);
    }
}

static void an_unknown_profile_has_no_row(void **state) {
    (void)state;
    assert_null(media_profile_info(MEDIA_PROFILE_NONE));
    assert_null(media_profile_by_sdes("AES_CM_128_HMAC_SHA1_32"));
    assert_null(media_profile_by_sdes(""));
}

static void random_keys_fill_what_the_profile_needs_and_no_more(void **state) {
    struct media_keys k, other;
    (void)state;
    media_keys_random(&k, MEDIA_PROFILE_AEAD_AES_128_GCM);
    media_keys_random(&other, MEDIA_PROFILE_AEAD_AES_128_GCM);
    assert_int_equal(k.profile, MEDIA_PROFILE_AEAD_AES_128_GCM);
    assert_memory_not_equal(k.rx, k.tx, 28);
    assert_memory_not_equal(k.rx, other.rx, 28);
    assert_memory_not_equal(k.tx, other.tx, 28);
    assert_false(is_zero(k.rx + 20, 8));
    assert_true(is_zero(k.rx + 28, sizeof k.rx - 28));
    assert_true(is_zero(k.tx + 28, sizeof k.tx - 28));
}

static void wiping_leaves_nothing(void **state) {
    struct media_keys k;
    (void)state;
    media_keys_random(&k, MEDIA_PROFILE_AEAD_AES_256_GCM);
    media_keys_wipe(&k);
    assert_true(is_zero(&k, sizeof k));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_profile_has_the_key_and_salt_lengths_of_its_rfc),
        cmocka_unit_test(an_unknown_profile_has_no_row),
        cmocka_unit_test(random_keys_fill_what_the_profile_needs_and_no_more),
        cmocka_unit_test(wiping_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
