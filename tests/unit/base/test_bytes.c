/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* RFC 4648 section 10. */
static const struct {
    const char *plain, *b64, *b64url, *hex;
} rfc4648[] = {
    {"", "", "", ""},
    {"f", "Zg==", "Zg", "66"},
    {"fo", "Zm8=", "Zm8", "666f"},
    {"foo", "Zm9v", "Zm9v", "666f6f"},
    {"foob", "Zm9vYg==", "Zm9vYg", "666f6f62"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE", "666f6f6261"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy", "666f6f626172"},
};
#define VECTORS (sizeof rfc4648 / sizeof *rfc4648)

static void the_vectors_of_rfc_4648_are_encoded(void **state) {
    char out[64];
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const uint8_t *p = (const uint8_t *)rfc4648[i].plain;
        size_t len = strlen(rfc4648[i].plain);
        assert_string_equal(b64_encode(out, p, len), rfc4648[i].b64);
        assert_true(strlen(out) < B64_BYTES(len));
        assert_string_equal(b64url_encode(out, p, len), rfc4648[i].b64url);
        assert_string_equal(hex_encode(out, p, len), rfc4648[i].hex);
    }
}

static void the_vectors_of_rfc_4648_are_decoded(void **state) {
    uint8_t out[16];
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        int len = (int)strlen(rfc4648[i].plain);
        assert_int_equal(b64_decode(out, sizeof out, rfc4648[i].b64, strlen(rfc4648[i].b64)), len);
        assert_memory_equal(out, rfc4648[i].plain, len);
        assert_int_equal(b64url_decode(out, sizeof out, rfc4648[i].b64url, strlen(rfc4648[i].b64url)), len);
        assert_memory_equal(out, rfc4648[i].plain, len);
        assert_int_equal(hex_decode(out, sizeof out, rfc4648[i].hex), len);
        assert_memory_equal(out, rfc4648[i].plain, len);
    }
}

static void every_byte_survives_the_way_there_and_back(void **state) {
    uint8_t all[256], back[256];
    char text[B64_BYTES(256)], digits[513];
    (void)state;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    for (size_t len = 0; len <= sizeof all; len++) {
        b64_encode(text, all, len);
        assert_int_equal(b64_decode(back, len, text, strlen(text)), len);
        assert_memory_equal(back, all, len);
        b64url_encode(text, all, len);
        assert_null(strpbrk(text, "+/="));
        assert_int_equal(b64url_decode(back, len, text, strlen(text)), len);
        assert_memory_equal(back, all, len);
        hex_encode(digits, all, len);
        assert_int_equal(hex_decode(back, len, digits), len);
        assert_memory_equal(back, all, len);
    }
}

static void the_two_alphabets_are_kept_apart(void **state) {
    static const uint8_t high[] = {0xfb, 0xff, 0xfe};
    char text[8];
    uint8_t out[4];
    (void)state;
    assert_string_equal(b64_encode(text, high, sizeof high), "+//+");
    assert_string_equal(b64url_encode(text, high, sizeof high), "-__-");
    assert_int_equal(b64_decode(out, sizeof out, "-__-", 4), E_MALFORMED);
    assert_int_equal(b64url_decode(out, sizeof out, "+//+", 4), E_MALFORMED);
}

static void base64_that_is_not_exact_is_refused(void **state) {
    static const char *const wrong[] = {"Z",    "Zg",   "Zg=",  "Zm9",  "Z===", "====",       "Zg==Zg==", "Zm9v\n",
                                        "Zm 9", "Zh==", "Zm9=", "=Zg=", "Zg=a", "Zm\xc3\xa4", "Zm9vYg=",  "Z g="};
    uint8_t out[16];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(b64_decode(out, sizeof out, wrong[i], strlen(wrong[i])), E_MALFORMED);
}

static void base64url_that_is_not_exact_is_refused(void **state) {
    static const char *const wrong[] = {"Z", "Zg==", "Zm8=", "Zh", "Zm9", "Zm9vY", "Zg ", "Z\ng"};
    uint8_t out[16];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(b64url_decode(out, sizeof out, wrong[i], strlen(wrong[i])), E_MALFORMED);
}

static void too_little_room_is_said_and_not_passed(void **state) {
    uint8_t out[4] = {0xee, 0xee, 0xee, 0xee};
    (void)state;
    assert_int_equal(b64_decode(out, 2, "Zm9v", 4), E_FULL);
    assert_int_equal(b64url_decode(out, 0, "Zg", 2), E_FULL);
    assert_int_equal(hex_decode(out, 2, "666f6f"), E_FULL);
    assert_int_equal(out[2], 0xee);
    assert_int_equal(b64_decode(out, 3, "Zm9v", 4), 3);
    assert_int_equal(out[3], 0xee);
}

static void hex_is_read_in_either_case_and_whole(void **state) {
    uint8_t out[4];
    (void)state;
    assert_int_equal(hex_decode(out, sizeof out, "aBcDeF09"), 4);
    assert_memory_equal(out, "\xab\xcd\xef\x09", 4);
    assert_int_equal(hex_decode(out, sizeof out, "abc"), E_MALFORMED);
    assert_int_equal(hex_decode(out, sizeof out, "0g"), E_MALFORMED);
    assert_int_equal(hex_decode(out, sizeof out, "0x10"), E_MALFORMED);
    assert_int_equal(hex_decode(out, sizeof out, "- "), E_MALFORMED);
}

/* RFC 9562 5.4. */
static void a_new_uuid_is_of_version_4_and_new(void **state) {
    char a[UUID_BYTES], b[UUID_BYTES];
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_true(uuid_valid(uuid_new(a)));
        assert_int_equal(strlen(a), 36);
        assert_int_equal(a[14], '4');
        assert_non_null(strchr("89ab", a[19]));
        assert_string_not_equal(a, uuid_new(b));
    }
}

static void what_is_no_uuid_is_told_from_one(void **state) {
    static const char *const wrong[] = {"",
                                        "f81d4fae-7dec-11d0-a765-00a0c91e6bf",
                                        "f81d4fae-7dec-11d0-a765-00a0c91e6bf66",
                                        "f81d4fae-7dec-11d0-a76500a0c91e6bf6aa",
                                        "f81d4fae_7dec_11d0_a765_00a0c91e6bf6",
                                        "g81d4fae-7dec-11d0-a765-00a0c91e6bf6",
                                        "{81d4fae-7dec-11d0-a765-00a0c91e6bf6"};
    (void)state;
    assert_true(uuid_valid("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"));
    assert_true(uuid_valid("F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(uuid_valid(wrong[i]));
}

/* Unicode, table 3-7. */
static void the_bounds_of_utf8_are_kept(void **state) {
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x93\x9e"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xe1\x80",
                                      "\xe1\x80\x41",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xf1\x80\x80",
                                      "\xf1\x80\x80\x41",
                                      "\xff",
                                      "a\xe2\x82"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_valid(bad[i], strlen(bad[i])));
    assert_true(utf8_valid("a\0b", 3));
}

static void a_cut_sequence_is_not_read_past_its_end(void **state) {
    char *p = malloc(2); /* of that size, for the address sanitizer */
    (void)state;
    assert_non_null(p);
    p[0] = (char)0xe2;
    p[1] = (char)0x82;
    assert_false(utf8_valid(p, 2));
    assert_false(utf8_valid(p, 1));
    free(p);
}

static void patterns_match_as_globs(void **state) {
    static const struct {
        const char *pattern, *text;
        bool match;
    } rows[] = {
        {"*", "", true},
        {"*", "anything", true},
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"abc", "abc", true},
        {"abc", "ABC", false},
        {"abc", "abcd", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"?", "", false},
        {"a*", "a", true},
        {"*c", "abc", true},
        {"*c", "abcb", false},
        {"a*c", "abbbc", true},
        {"a*c", "abbb", false},
        {"*b*", "abc", true},
        {"a**c", "ac", true},
        {"+49*", "+4930", true},
        {"*@example.org", "me@example.org", true},
        {"*ab*ab", "abab", true},
        {"*ab*ab", "ab", false},
        {"a*b*c", "aXbYbZc", true},
        {"***", "", true},
        {"?*", "", false},
        {"*?", "x", true},
        {"[a]", "a", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (glob_match(rows[i].pattern, rows[i].text) != rows[i].match)
            fail_msg("\"%s\" and \"%s\"", rows[i].pattern, rows[i].text);
}

static void a_pattern_of_many_stars_ends_soon(void **state) {
    enum { TEXT = 20000, STARS = 50 };
    static char text[TEXT + 1], pattern[2 * STARS + 2];
    (void)state;
    memset(text, 'a', TEXT);
    for (size_t i = 0; i < sizeof pattern - 2; i++)
        pattern[i] = i % 2 ? '*' : 'a';
    pattern[sizeof pattern - 2] = 'b';
    assert_false(glob_match(pattern, text));
}

static void random_words_are_of_letters_and_digits(void **state) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char word[4001], other[4001];
    (void)state;
    assert_ptr_equal(random_alnum(word, 4000), word);
    assert_int_equal(strlen(word), 4000);
    assert_int_equal(strspn(word, letters), 4000);
    for (const char *c = letters; *c; c++)
        assert_non_null(strchr(word, *c));
    assert_string_not_equal(word, random_alnum(other, 4000));
    assert_string_equal(random_alnum(word, 0), "");
}

static void a_number_is_decimal_digits_and_nothing_else(void **state) {
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x1", "1.0", "1234567890123456789"};
    uint64_t n = 7;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(decimal_parse(&n, bad[i]));
    assert_int_equal(n, 7);
    assert_true(decimal_parse(&n, "123456789012345678"));
    assert_true(n == 123456789012345678ULL);
    assert_true(decimal_parse(&n, "0"));
    assert_true(n == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_4648_are_encoded),
        cmocka_unit_test(the_vectors_of_rfc_4648_are_decoded),
        cmocka_unit_test(every_byte_survives_the_way_there_and_back),
        cmocka_unit_test(the_two_alphabets_are_kept_apart),
        cmocka_unit_test(base64_that_is_not_exact_is_refused),
        cmocka_unit_test(base64url_that_is_not_exact_is_refused),
        cmocka_unit_test(too_little_room_is_said_and_not_passed),
        cmocka_unit_test(hex_is_read_in_either_case_and_whole),
        cmocka_unit_test(a_new_uuid_is_of_version_4_and_new),
        cmocka_unit_test(what_is_no_uuid_is_told_from_one),
        cmocka_unit_test(the_bounds_of_utf8_are_kept),
        cmocka_unit_test(a_cut_sequence_is_not_read_past_its_end),
        cmocka_unit_test(patterns_match_as_globs),
        cmocka_unit_test(a_pattern_of_many_stars_ends_soon),
        cmocka_unit_test(random_words_are_of_letters_and_digits),
        cmocka_unit_test(a_number_is_decimal_digits_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
