/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "dtls/stun_msg.h"
#include "tests/vectors/rfc5769.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PWD               "a password of the test"
#define FINGERPRINT_BYTES 8 /* the attribute with its header */
#define ATTR_NONCE        0x0015
#define ATTR_REALM        0x0014
#define ATTR_INTEGRITY    0x0008
#define ATTR_PRIORITY     0x0024
#define ATTR_MAPPED       0x0020

static const uint8_t txid[STUN_TXID_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static void assert_mapped(const struct stun_msg *m, const char *want) {
    char text[ADDR_STR_BYTES];
    assert_string_equal(addr_str(text, &m->mapped), want);
}

/* A header and one attribute with `len` bytes of value, without integrity and fingerprint. */
static size_t raw_attr(uint8_t *p, uint16_t type, uint16_t len) {
    size_t padded = (len + 3U) & ~3U;
    const uint8_t head[] = {0, 1, 0, (uint8_t)(4 + padded), 0x21, 0x12, 0xa4, 0x42};
    memset(p, 0, STUN_HEADER_BYTES + 4 + padded);
    memcpy(p, head, sizeof head);
    p[20] = (uint8_t)(type >> 8);
    p[21] = (uint8_t)type;
    p[22] = (uint8_t)(len >> 8);
    p[23] = (uint8_t)len;
    return STUN_HEADER_BYTES + 4 + padded;
}

static void the_sample_request_of_rfc_5769_is_read(void **state) {
    struct stun_msg m;
    (void)state;
    assert_int_equal(stun_msg_parse(&m, rfc5769_request, sizeof rfc5769_request), 0);
    assert_int_equal(m.type, STUN_BINDING_REQUEST);
    assert_memory_equal(m.txid, rfc5769_request + 8, STUN_TXID_BYTES);
    assert_int_equal(m.username_len, strlen(RFC5769_USERNAME));
    assert_memory_equal(m.username, RFC5769_USERNAME, m.username_len);
    assert_true(m.has_priority && m.ice_controlled && m.has_fingerprint);
    assert_false(m.ice_controlling || m.use_candidate);
    assert_int_equal(m.priority, 0x6e0001ff);
    assert_true(m.tie_breaker == 0x932ff9b151263b36U);
    assert_int_equal(m.unknown_count, 0);
    assert_int_equal(stun_msg_check(&m, RFC5769_PASSWORD), 0);
}

static void the_sample_ipv4_response_of_rfc_5769_is_read(void **state) {
    struct stun_msg m;
    (void)state;
    assert_int_equal(stun_msg_parse(&m, rfc5769_response_v4, sizeof rfc5769_response_v4), 0);
    assert_int_equal(m.type, STUN_BINDING_SUCCESS);
    assert_mapped(&m, "192.0.2.1:32853");
    assert_true(m.has_fingerprint);
    assert_int_equal(stun_msg_check(&m, RFC5769_PASSWORD), 0);
}

static void the_sample_ipv6_response_of_rfc_5769_is_read(void **state) {
    struct stun_msg m;
    (void)state;
    assert_int_equal(stun_msg_parse(&m, rfc5769_response_v6, sizeof rfc5769_response_v6), 0);
    assert_mapped(&m, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
    assert_int_equal(stun_msg_check(&m, RFC5769_PASSWORD), 0);
}

static void the_sample_with_long_term_authentication_names_what_we_do_not_know(void **state) {
    struct stun_msg m;
    (void)state;
    assert_int_equal(stun_msg_parse(&m, rfc5769_long_term, sizeof rfc5769_long_term), 0);
    assert_int_equal(m.username_len, 18);
    assert_int_equal(m.unknown_count, 2);
    assert_int_equal(m.unknown_required[0], ATTR_NONCE);
    assert_int_equal(m.unknown_required[1], ATTR_REALM);
    assert_false(m.has_fingerprint);
    assert_int_not_equal(m.integrity_at, 0);
    assert_int_equal(stun_msg_check(&m, "TheMatrIX"), E_AUTH);
}

static void another_password_is_refused(void **state) {
    struct stun_msg m;
    (void)state;
    assert_int_equal(stun_msg_parse(&m, rfc5769_request, sizeof rfc5769_request), 0);
    assert_int_equal(stun_msg_check(&m, "VOkJxbRl1RmTxUk/WvJxBu"), E_AUTH);
    assert_int_equal(stun_msg_check(&m, ""), E_AUTH);
}

static void a_changed_bit_breaks_the_fingerprint(void **state) {
    uint8_t copy[sizeof rfc5769_request];
    struct stun_msg m;
    (void)state;
    for (size_t bit = 0; bit < 8 * (sizeof copy - FINGERPRINT_BYTES); bit++) {
        memcpy(copy, rfc5769_request, sizeof copy);
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        /* A changed length may hide the fingerprint in another attribute; the integrity fails then. */
        if (stun_msg_parse(&m, copy, sizeof copy) == 0)
            assert_true(!m.has_fingerprint && stun_msg_check(&m, RFC5769_PASSWORD) == E_AUTH);
    }
}

static void a_changed_bit_breaks_the_integrity(void **state) {
    uint8_t copy[sizeof rfc5769_request - FINGERPRINT_BYTES];
    struct stun_msg m;
    unsigned parsed = 0;
    (void)state;
    for (size_t bit = 0; bit <= 8 * sizeof copy; bit++) {
        memcpy(copy, rfc5769_request, sizeof copy);
        copy[3] = sizeof copy - STUN_HEADER_BYTES;
        if (bit < 8 * sizeof copy)
            copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (stun_msg_parse(&m, copy, sizeof copy) != 0)
            continue;
        parsed++;
        assert_int_equal(stun_msg_check(&m, RFC5769_PASSWORD), bit < 8 * sizeof copy ? E_AUTH : 0);
    }
    assert_true(parsed > 4 * sizeof copy);
}

static void a_message_cut_anywhere_is_refused(void **state) {
    struct stun_msg m;
    (void)state;
    for (size_t len = 0; len < sizeof rfc5769_request; len++) {
        uint8_t *copy = malloc(len + 1); /* of that size, for the address sanitizer */
        assert_non_null(copy);
        memcpy(copy, rfc5769_request, len);
        assert_int_equal(stun_msg_parse(&m, copy, len), E_MALFORMED);
        free(copy);
    }
}

static void only_the_magic_cookie_and_a_true_length_make_it_stun(void **state) {
    uint8_t copy[sizeof rfc5769_request + 4] = {0};
    (void)state;
    memcpy(copy, rfc5769_request, sizeof rfc5769_request);
    assert_true(stun_msg_is_stun(copy, sizeof rfc5769_request));
    assert_false(stun_msg_is_stun(copy, sizeof copy));
    copy[0] = 4; /* RFC 7983: 0..3 is STUN */
    assert_false(stun_msg_is_stun(copy, sizeof rfc5769_request));
    copy[0] = 0;
    copy[4] = 0;
    assert_false(stun_msg_is_stun(copy, sizeof rfc5769_request));
}

static void what_is_encoded_is_read_back(void **state) {
    uint8_t out[STUN_MSG_MAX_BYTES];
    struct stun_msg m;
    struct stun_build b = {.type = STUN_BINDING_REQUEST,
                           .txid = txid,
                           .username = "abcd:efgh",
                           .has_priority = true,
                           .priority = 4711,
                           .use_candidate = true,
                           .ice_controlling = true,
                           .tie_breaker = 0x0123456789abcdefU,
                           .pwd = PWD};
    (void)state;
    int len = stun_msg_encode(out, sizeof out, &b);
    assert_true(len > 0 && len % 4 == 0);
    assert_int_equal(stun_msg_parse(&m, out, (size_t)len), 0);
    assert_memory_equal(m.txid, txid, sizeof txid);
    assert_int_equal(m.username_len, 9);
    assert_memory_equal(m.username, "abcd:efgh", 9);
    assert_true(m.use_candidate && m.ice_controlling && m.has_priority && m.has_fingerprint);
    assert_false(m.ice_controlled);
    assert_int_equal(m.priority, 4711);
    assert_true(m.tie_breaker == 0x0123456789abcdefU);
    assert_int_equal(stun_msg_check(&m, PWD), 0);
}

static void a_mapped_address_of_either_family_is_read_back(void **state) {
    static const char *const texts[] = {"192.0.2.7:1", "[2001:db8::7]:65535"};
    uint8_t out[STUN_MSG_MAX_BYTES];
    struct stun_msg m;
    struct addr a;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(addr_parse_hostport(&a, texts[i]), 0);
        struct stun_build b = {.type = STUN_BINDING_SUCCESS, .txid = txid, .mapped = &a, .pwd = PWD};
        int len = stun_msg_encode(out, sizeof out, &b);
        assert_true(len > 0);
        assert_int_equal(stun_msg_parse(&m, out, (size_t)len), 0);
        assert_mapped(&m, texts[i]);
    }
}

static void an_error_carries_its_code_and_the_unknown_attributes(void **state) {
    static const uint16_t unknown[] = {ATTR_NONCE, 0x7777, 0x0002};
    static const uint8_t listed[] = {0x00, 0x0a, 0x00, 0x06, 0x00, 0x15, 0x77, 0x77, 0x00, 0x02, 0x00, 0x00};
    uint8_t out[STUN_MSG_MAX_BYTES];
    struct stun_msg m;
    struct stun_build b = {.type = STUN_BINDING_ERROR,
                           .txid = txid,
                           .error_code = 420,
                           .error_reason = "Unknown Attribute",
                           .unknown = unknown,
                           .unknown_count = 3,
                           .pwd = PWD};
    (void)state;
    int len = stun_msg_encode(out, sizeof out, &b);
    assert_true(len > 0);
    assert_non_null(memmem(out, (size_t)len, listed, sizeof listed));
    assert_int_equal(stun_msg_parse(&m, out, (size_t)len), 0);
    assert_int_equal(m.error_code, 420);
    assert_int_equal(m.unknown_count, 0);
    assert_int_equal(stun_msg_check(&m, PWD), 0);
}

static void a_message_without_integrity_authenticates_nobody(void **state) {
    uint8_t out[STUN_MSG_MAX_BYTES];
    struct stun_msg m;
    struct stun_build b = {.type = STUN_BINDING_REQUEST, .txid = txid, .username = "a:b"};
    (void)state;
    int len = stun_msg_encode(out, sizeof out, &b);
    assert_true(len > 0);
    assert_int_equal(stun_msg_parse(&m, out, (size_t)len), 0);
    assert_int_equal(stun_msg_check(&m, PWD), E_AUTH);
}

/* RFC 8489 14.5. */
static void what_follows_the_integrity_is_ignored(void **state) {
    uint8_t out[STUN_MSG_MAX_BYTES];
    struct stun_msg m;
    struct stun_build b = {.type = STUN_BINDING_REQUEST, .txid = txid, .username = "a:b", .pwd = PWD};
    (void)state;
    int len = stun_msg_encode(out, sizeof out, &b);
    assert_true(len > 0);
    /* USE-CANDIDATE in the place of FINGERPRINT, and the length shortened to it. */
    const uint8_t use_candidate[] = {0x00, 0x25, 0x00, 0x00};
    memcpy(out + len - 8, use_candidate, sizeof use_candidate);
    len -= 4;
    out[3] = (uint8_t)(len - STUN_HEADER_BYTES);
    assert_int_equal(stun_msg_parse(&m, out, (size_t)len), 0);
    assert_false(m.use_candidate);
    assert_int_equal(stun_msg_check(&m, PWD), 0);
}

static void too_little_room_is_said(void **state) {
    uint8_t out[STUN_MSG_MAX_BYTES];
    struct stun_build b = {.type = STUN_BINDING_REQUEST, .txid = txid, .username = "abcd:efgh", .pwd = PWD};
    (void)state;
    int len = stun_msg_encode(out, sizeof out, &b);
    assert_true(len > 0);
    for (int cap = 0; cap < len; cap++) {
        uint8_t *small = malloc((size_t)cap + 1);
        assert_non_null(small);
        assert_int_equal(stun_msg_encode(small, (size_t)cap, &b), E_FULL);
        free(small);
    }
}

static void attributes_of_a_wrong_length_are_refused(void **state) {
    static const struct {
        uint16_t type, len;
    } wrong[] = {{ATTR_INTEGRITY, 16}, {ATTR_PRIORITY, 8}, {ATTR_MAPPED, 4}, {0x0025, 4},
                 {0x802a, 4},          {0x8028, 8},        {0x0009, 2},      {0x0006, 514}};
    uint8_t p[STUN_MSG_MAX_BYTES + 64];
    struct stun_msg m;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t len = raw_attr(p, wrong[i].type, wrong[i].len);
        p[2] = (uint8_t)((len - STUN_HEADER_BYTES) >> 8);
        p[3] = (uint8_t)(len - STUN_HEADER_BYTES);
        assert_int_equal(stun_msg_parse(&m, p, len), E_MALFORMED);
    }
}

static void an_attribute_longer_than_the_message_is_refused(void **state) {
    uint8_t p[64];
    struct stun_msg m;
    (void)state;
    size_t len = raw_attr(p, 0x8022, 8);
    assert_int_equal(stun_msg_parse(&m, p, len), 0);
    p[23] = 12;
    assert_int_equal(stun_msg_parse(&m, p, len), E_MALFORMED);
    p[22] = 0xff;
    p[23] = 0xff;
    assert_int_equal(stun_msg_parse(&m, p, len), E_MALFORMED);
}

static void more_unknown_attributes_than_we_list_do_no_harm(void **state) {
    uint8_t p[STUN_HEADER_BYTES + 4 * 20];
    struct stun_msg m;
    (void)state;
    memset(p, 0, sizeof p);
    raw_attr(p, 0x7000, 0);
    p[3] = 4 * 20;
    for (size_t i = 0; i < 20; i++) {
        p[STUN_HEADER_BYTES + 4 * i] = 0x70;
        p[STUN_HEADER_BYTES + 4 * i + 1] = (uint8_t)i;
    }
    assert_int_equal(stun_msg_parse(&m, p, sizeof p), 0);
    assert_int_equal(m.unknown_count, sizeof m.unknown_required / sizeof *m.unknown_required);
    assert_int_equal(m.unknown_required[7], 0x7007);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sample_request_of_rfc_5769_is_read),
        cmocka_unit_test(the_sample_ipv4_response_of_rfc_5769_is_read),
        cmocka_unit_test(the_sample_ipv6_response_of_rfc_5769_is_read),
        cmocka_unit_test(the_sample_with_long_term_authentication_names_what_we_do_not_know),
        cmocka_unit_test(another_password_is_refused),
        cmocka_unit_test(a_changed_bit_breaks_the_fingerprint),
        cmocka_unit_test(a_changed_bit_breaks_the_integrity),
        cmocka_unit_test(a_message_cut_anywhere_is_refused),
        cmocka_unit_test(only_the_magic_cookie_and_a_true_length_make_it_stun),
        cmocka_unit_test(what_is_encoded_is_read_back),
        cmocka_unit_test(a_mapped_address_of_either_family_is_read_back),
        cmocka_unit_test(an_error_carries_its_code_and_the_unknown_attributes),
        cmocka_unit_test(a_message_without_integrity_authenticates_nobody),
        cmocka_unit_test(what_follows_the_integrity_is_ignored),
        cmocka_unit_test(too_little_room_is_said),
        cmocka_unit_test(attributes_of_a_wrong_length_are_refused),
        cmocka_unit_test(an_attribute_longer_than_the_message_is_refused),
        cmocka_unit_test(more_unknown_attributes_than_we_list_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
