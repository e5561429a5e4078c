/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/err.h"
#include "base/hpke.h"
#include "tests/vectors/rfc9180.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_LEN (sizeof RFC9180_A2_PT - 1)

static const struct hpke_about about_vector = {.info = RFC9180_A2_INFO, .aad = RFC9180_A2_AAD};

static void key(uint8_t out[static HPKE_KEY_BYTES], const char *hex) {
    assert_int_equal(hex_decode(out, HPKE_KEY_BYTES, hex), HPKE_KEY_BYTES);
}

static void the_vector_of_the_rfc_is_sealed(void **state) {
    uint8_t one_time[HPKE_KEY_BYTES], to[HPKE_KEY_BYTES], out[TEXT_LEN + HPKE_OVERHEAD_BYTES];
    char hex[2 * sizeof out + 1];
    struct hpke_about about = about_vector;
    (void)state;
    key(one_time, RFC9180_A2_SKEM);
    key(to, RFC9180_A2_PKRM);
    about.one_time = one_time;
    assert_int_equal(hpke_seal(out, to, &about, (const uint8_t *)RFC9180_A2_PT, TEXT_LEN), 0);
    assert_string_equal(hex_encode(hex, out, sizeof out), RFC9180_A2_ENC RFC9180_A2_CT);
}

/* The vector's message, opened about these texts, after a change of the byte at `changed` (-1: none). */
static int open_vector(uint8_t *text, const struct hpke_about *about, int changed) {
    uint8_t mine[HPKE_KEY_BYTES], sealed[TEXT_LEN + HPKE_OVERHEAD_BYTES];
    key(mine, RFC9180_A2_SKRM);
    assert_int_equal(hex_decode(sealed, sizeof sealed, RFC9180_A2_ENC RFC9180_A2_CT), sizeof sealed);
    if (changed >= 0)
        sealed[changed] ^= 1;
    memset(text, 0x55, TEXT_LEN);
    return hpke_open(text, mine, about, sealed, sizeof sealed);
}

static void the_vector_of_the_rfc_is_opened(void **state) {
    uint8_t text[TEXT_LEN];
    (void)state;
    assert_int_equal(open_vector(text, &about_vector, -1), 0);
    assert_memory_equal(text, RFC9180_A2_PT, TEXT_LEN);
}

static void any_change_is_refused_and_leaves_nothing(void **state) {
    static const uint8_t nothing[TEXT_LEN];
    uint8_t text[TEXT_LEN];
    (void)state;
    for (int i = 0; i < (int)(TEXT_LEN + HPKE_OVERHEAD_BYTES); i++) {
        assert_int_equal(open_vector(text, &about_vector, i), E_AUTH);
        assert_memory_equal(text, nothing, sizeof text);
    }
}

static void other_texts_are_refused(void **state) {
    uint8_t text[TEXT_LEN];
    (void)state;
    assert_int_equal(open_vector(text, &(struct hpke_about){.info = RFC9180_A2_INFO, .aad = "Count-1"}, -1), E_AUTH);
    assert_int_equal(open_vector(text, &(struct hpke_about){.info = "Ode", .aad = RFC9180_A2_AAD}, -1), E_AUTH);
}

static void only_the_right_key_opens_and_no_two_messages_are_alike(void **state) {
    uint8_t mine[HPKE_KEY_BYTES], to[HPKE_KEY_BYTES], other[HPKE_KEY_BYTES], unused[HPKE_KEY_BYTES];
    uint8_t a[3 + HPKE_OVERHEAD_BYTES], b[sizeof a], text[3];
    const struct hpke_about about = {.info = "test", .aad = ""};
    (void)state;
    assert_int_equal(hpke_key_new(mine, to), 0);
    assert_int_equal(hpke_key_new(other, unused), 0);
    assert_int_equal(hpke_seal(a, to, &about, (const uint8_t *)"abc", 3), 0);
    assert_int_equal(hpke_seal(b, to, &about, (const uint8_t *)"abc", 3), 0);
    assert_memory_not_equal(a, b, HPKE_KEY_BYTES);
    assert_memory_not_equal(a + HPKE_KEY_BYTES, b + HPKE_KEY_BYTES, 3 + 16);
    assert_int_equal(hpke_open(text, other, &about, a, sizeof a), E_AUTH);
    assert_int_equal(hpke_open(text, mine, &about, a, sizeof a), 0);
    assert_memory_equal(text, "abc", 3);
}

static void an_empty_message_is_a_message_and_a_short_one_is_none(void **state) {
    uint8_t mine[HPKE_KEY_BYTES], to[HPKE_KEY_BYTES], sealed[HPKE_OVERHEAD_BYTES], none[1];
    const struct hpke_about about = {.info = "", .aad = ""};
    (void)state;
    assert_int_equal(hpke_key_new(mine, to), 0);
    assert_int_equal(hpke_seal(sealed, to, &about, none, 0), 0);
    assert_int_equal(hpke_open(none, mine, &about, sealed, sizeof sealed), 0);
    for (size_t len = 0; len < sizeof sealed; len++)
        assert_int_equal(hpke_open(none, mine, &about, sealed, len), E_AUTH);
}

/* RFC 9180 7.1.4: all parties would know the secret of such a key. */
static void a_point_of_small_order_is_no_key(void **state) {
    static const uint8_t zero[HPKE_KEY_BYTES], one[HPKE_KEY_BYTES] = {1};
    uint8_t sealed[HPKE_OVERHEAD_BYTES];
    const struct hpke_about about = {.info = "", .aad = ""};
    (void)state;
    assert_int_equal(hpke_seal(sealed, zero, &about, zero, 0), E_CRYPTO);
    assert_int_equal(hpke_seal(sealed, one, &about, zero, 0), E_CRYPTO);
}

static void an_info_that_is_too_long_is_refused(void **state) {
    uint8_t mine[HPKE_KEY_BYTES], to[HPKE_KEY_BYTES], sealed[HPKE_OVERHEAD_BYTES];
    char info[HPKE_INFO_MAX_BYTES + 2];
    const struct hpke_about about = {.info = info, .aad = ""};
    (void)state;
    assert_int_equal(hpke_key_new(mine, to), 0);
    memset(info, 'i', sizeof info);
    info[HPKE_INFO_MAX_BYTES + 1] = 0;
    assert_int_equal(hpke_seal(sealed, to, &about, mine, 0), E_CRYPTO);
    info[HPKE_INFO_MAX_BYTES] = 0;
    assert_int_equal(hpke_seal(sealed, to, &about, mine, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_of_the_rfc_is_sealed),
        cmocka_unit_test(the_vector_of_the_rfc_is_opened),
        cmocka_unit_test(any_change_is_refused_and_leaves_nothing),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(only_the_right_key_opens_and_no_two_messages_are_alike),
        cmocka_unit_test(an_empty_message_is_a_message_and_a_short_one_is_none),
        cmocka_unit_test(a_point_of_small_order_is_no_key),
        cmocka_unit_test(an_info_that_is_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
