/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "dtls/hmac_sha1.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(const void *key, size_t key_len, const void *text, size_t len, const char *want) {
    struct hmac_sha1 h;
    uint8_t out[HMAC_SHA1_BYTES];
    char hex[2 * HMAC_SHA1_BYTES + 1];
    hmac_sha1_key(&h, key, key_len);
    hmac_sha1_update(&h, text, len);
    hmac_sha1_end(&h, out);
    assert_string_equal(hex_encode(hex, out, sizeof out), want);
    hmac_sha1_wipe(&h);
}

static void the_digests_of_rfc_2202_come_out(void **state) {
    uint8_t key[80], text[50];
    (void)state;
    memset(key, 0x0b, 20);
    check(key, 20, "Hi There", 8, "b617318655057264e28bc0b6fb378c8ef146be00");
    check("Jefe", 4, "what do ya want for nothing?", 28, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    memset(key, 0xaa, sizeof key);
    memset(text, 0xdd, sizeof text);
    check(key, 20, text, 50, "125d7342b9ac11cd91a39af48aa17b4f63f175d3");
    check(key, 80, "Test Using Larger Than Block-Size Key - Hash Key First", 54,
          "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    check(key, 80, "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data", 73,
          "e8e99d0f45237d786d6bbaa7965c7808bbff1a91");
}

static void keys_and_messages_of_every_length_are_as_openssls(void **state) {
    uint8_t key[130], text[200], out[HMAC_SHA1_BYTES], want[HMAC_SHA1_BYTES];
    unsigned n = sizeof want;
    (void)state;
    random_bytes(key, sizeof key);
    random_bytes(text, sizeof text);
    for (size_t len = 1; len <= sizeof key; len++) {
        struct hmac_sha1 h;
        hmac_sha1_key(&h, key, len);
        hmac_sha1_update(&h, text, len);
        hmac_sha1_update(&h, text + len, sizeof text - len);
        hmac_sha1_end(&h, out);
        assert_non_null(HMAC(EVP_sha1(), key, (int)len, text, sizeof text, want, &n));
        assert_memory_equal(out, want, sizeof want);
    }
}

static void a_key_serves_many_messages(void **state) {
    struct hmac_sha1 h;
    uint8_t first[HMAC_SHA1_BYTES], again[HMAC_SHA1_BYTES];
    (void)state;
    hmac_sha1_key(&h, (const uint8_t *)"key", 3);
    hmac_sha1_update(&h, (const uint8_t *)"one", 3);
    hmac_sha1_end(&h, first);
    hmac_sha1_start(&h);
    hmac_sha1_update(&h, (const uint8_t *)"two", 3);
    hmac_sha1_end(&h, again);
    assert_memory_not_equal(first, again, sizeof first);
    hmac_sha1_start(&h);
    hmac_sha1_update(&h, (const uint8_t *)"one", 3);
    hmac_sha1_end(&h, again);
    assert_memory_equal(first, again, sizeof first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_digests_of_rfc_2202_come_out),
        cmocka_unit_test(keys_and_messages_of_every_length_are_as_openssls),
        cmocka_unit_test(a_key_serves_many_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
