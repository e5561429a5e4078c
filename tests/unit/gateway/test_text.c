/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "gateway/text.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FFFD "\xef\xbf\xbd"
#define RUNS 20000

static void assert_cleaned_bytes(const char *in, size_t len, const char *want) {
    char out[128];
    assert_int_equal(text_clean(out, sizeof out, in, len), strlen(want));
    assert_string_equal(out, want);
}

static void assert_cleaned(const char *in, const char *want) {
    assert_cleaned_bytes(in, strlen(in), want);
}

static void assert_mended_bytes(const char *in, size_t len, const char *want) {
    struct buf b = {0};
    text_mend_json(&b, in, len);
    assert_non_null(b.p);
    assert_string_equal(b.p, want);
    buf_free(&b);
}

static void assert_mended(const char *in, const char *want) {
    assert_mended_bytes(in, strlen(in), want);
}

static void assert_quoted(const char *in, const char *want) {
    struct buf b = {0};
    text_json_string(&b, in);
    assert_string_equal(b.p, want);
    buf_free(&b);
}

static void clean_text_of_any_script_stays(void **state) {
    (void)state;
    assert_cleaned("Schwester Zoë, 護士 \xf0\x9f\x93\x9e \"quoted\" \\",
                   "Schwester Zoë, 護士 \xf0\x9f\x93\x9e \"quoted\" \\");
}

static void control_characters_become_spaces(void **state) {
    (void)state;
    assert_cleaned("a\tb\r\nc\x1b[0m\x7f", "a b  c [0m ");
    assert_cleaned("a\xc2\x80z\xc2\x9fz\xc2\xa0z", "a z z\xc2\xa0z"); /* C1 controls end at U+009F */
}

static void a_nul_in_the_middle_ends_nothing(void **state) {
    (void)state;
    assert_cleaned_bytes("a\0b", 3, "a b");
}

static void each_broken_byte_becomes_one_replacement_character(void **state) {
    (void)state;
    assert_cleaned("a\xff\xfez", "a" FFFD FFFD "z");
    assert_cleaned("\xc0\xaf", FFFD FFFD);                        /* an overlong slash */
    assert_cleaned("\xed\xa0\x80", FFFD FFFD FFFD);               /* half of a surrogate pair */
    assert_cleaned("\xf4\x90\x80\x80!", FFFD FFFD FFFD FFFD "!"); /* above U+10FFFF */
}

static void a_character_that_the_end_cuts_off_is_replaced(void **state) {
    (void)state;
    assert_cleaned("ab\xc3", "ab" FFFD);
    assert_cleaned_bytes("ab\xe2\x82\xac", 4, "ab" FFFD FFFD);
}

static void what_does_not_fit_is_cut_between_characters(void **state) {
    char out[6];
    (void)state;
    assert_int_equal(text_clean(out, sizeof out, "abcdefgh", 8), 5);
    assert_string_equal(out, "abcde");
    assert_int_equal(text_clean(out, sizeof out, "abc\xe2\x82\xac", 6), 3);
    assert_string_equal(out, "abc");
    assert_int_equal(text_clean(out, sizeof out, "ab\xe2\x82\xac", 5), 5);
    assert_string_equal(out, "ab\xe2\x82\xac");
    assert_int_equal(text_clean(out, sizeof out, "abc\xff", 4), 3);
    assert_string_equal(out, "abc");
}

static void room_for_the_nul_alone_gives_an_empty_text(void **state) {
    char out[2] = "x";
    (void)state;
    assert_int_equal(text_clean(out, 1, "abc", 3), 0);
    assert_string_equal(out, "");
    assert_int_equal(text_clean(out, sizeof out, "", 0), 0);
    assert_string_equal(out, "");
}

static void whatever_comes_in_valid_and_bounded_text_comes_out(void **state) {
    char in[40], out[24];
    (void)state;
    srandom(11);
    for (unsigned run = 0; run < RUNS; run++) {
        size_t len = (size_t)random() % (sizeof in + 1), cap = 1 + (size_t)random() % sizeof out;
        for (size_t i = 0; i < len; i++)
            in[i] = (char)(random() % 3 ? 0x80 + random() % 128 : random() % 128);
        size_t n = text_clean(out, cap, in, len);
        assert_true(n < cap);
        assert_int_equal(strlen(out), n);
        assert_true(utf8_valid(out, n));
        for (size_t i = 0; i < n; i++)
            assert_true((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
    }
}

static void json_that_is_right_is_left_alone(void **state) {
    static const char text[] = "{\"a\":\"\\\"\\\\\\/\\n\\u00e9\\ud83d\\ude00 \xf0\x9f\x93\x9e\",\"b\":[1,null]}";
    (void)state;
    assert_mended(text, text);
}

static void broken_utf8_in_json_is_mended(void **state) {
    (void)state;
    assert_mended("{\"a\":\"x\xff\xc3\"}", "{\"a\":\"x" FFFD FFFD "\"}");
}

static void an_escaped_nul_is_mended(void **state) {
    (void)state;
    assert_mended("{\"a\":\"x\\u0000y\"}", "{\"a\":\"x" FFFD "y\"}");
}

static void an_escaped_backslash_before_u0000_is_none(void **state) {
    (void)state;
    assert_mended("\"\\\\u0000\"", "\"\\\\u0000\"");
}

static void halves_of_surrogate_pairs_are_mended(void **state) {
    (void)state;
    assert_mended("\"\\ud83d\"", "\"" FFFD "\"");
    assert_mended("\"\\ude00\\ud83d\"", "\"" FFFD FFFD "\"");
    assert_mended("\"\\ud83d\\u0041\"", "\"" FFFD "\\u0041\"");
    assert_mended("\"\\uD83D\\uD83D\\uDE00\"", "\"" FFFD "\\uD83D\\uDE00\"");
}

static void a_text_that_ends_within_an_escape_is_read_to_its_end_only(void **state) {
    static const char text[] = "\\ud83d\\ude0";
    (void)state;
    assert_mended("\\", "\\");
    assert_mended("\\u", "\\u");
    for (size_t len = 1; len < sizeof text; len++) {
        struct buf b = {0};
        char *exact = malloc(len); /* a byte too far is seen by the address sanitizer */
        assert_non_null(exact);
        memcpy(exact, text, len);
        text_mend_json(&b, exact, len);
        assert_true(utf8_valid(b.p, b.len));
        buf_free(&b);
        free(exact);
    }
}

static void a_strict_parser_takes_what_was_mended(void **state) {
    static const char text[] = "{\"caller\":\"\xff\\u0000\\udead\xed\xa0\x80 \\ud83d\"}";
    struct buf b = {0};
    (void)state;
    assert_null(json_loadb(text, sizeof text - 1, 0, NULL));
    text_mend_json(&b, text, sizeof text - 1);
    json_t *o = json_loadb(b.p, b.len, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(o, "caller")), FFFD FFFD FFFD FFFD FFFD FFFD " " FFFD);
    json_decref(o);
    buf_free(&b);
}

static void the_depth_of_json_is_that_of_its_brackets(void **state) {
    static const struct {
        const char *text;
        size_t depth;
    } rows[] = {{"", 0},
                {"1", 0},
                {"{}", 1},
                {"[[]]", 2},
                {"[[],[]]", 2},
                {"{\"a\":[{}],\"b\":[]}", 3},
                {"\"[[[\"", 0},
                {"[\"\\\"[[\"]", 1},
                {"[\"\\\\\",[]]", 2},
                {"]]]]][", 1},
                {"[\"[", 1},
                {"[\"\\", 1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (text_json_depth(rows[i].text, strlen(rows[i].text)) != rows[i].depth)
            fail_msg("%s: %zu", rows[i].text, text_json_depth(rows[i].text, strlen(rows[i].text)));
}

static void json_strings_are_quoted_and_escaped(void **state) {
    (void)state;
    assert_quoted("", "\"\"");
    assert_quoted("a \"b\" \\c", "\"a \\\"b\\\" \\\\c\"");
    assert_quoted("v=0\r\ns=-", "\"v=0\\r\\ns=-\"");
    assert_quoted("\x01\t\x1f\x7f", "\"\\u0001\\u0009\\u001f\\u007f\"");
    assert_quoted("Zoë", "\"Zoë\"");
}

static void every_character_comes_back_from_a_json_string(void **state) {
    char in[128];
    struct buf b = {0};
    (void)state;
    for (int i = 1; i < 128; i++)
        in[i - 1] = (char)i;
    in[127] = 0;
    text_json_string(&b, in);
    json_t *s = json_loadb(b.p, b.len, JSON_DECODE_ANY, NULL);
    assert_string_equal(json_string_value(s), in);
    json_decref(s);
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_text_of_any_script_stays),
        cmocka_unit_test(control_characters_become_spaces),
        cmocka_unit_test(a_nul_in_the_middle_ends_nothing),
        cmocka_unit_test(each_broken_byte_becomes_one_replacement_character),
        cmocka_unit_test(a_character_that_the_end_cuts_off_is_replaced),
        cmocka_unit_test(what_does_not_fit_is_cut_between_characters),
        cmocka_unit_test(room_for_the_nul_alone_gives_an_empty_text),
        cmocka_unit_test(whatever_comes_in_valid_and_bounded_text_comes_out),
        cmocka_unit_test(json_that_is_right_is_left_alone),
        cmocka_unit_test(broken_utf8_in_json_is_mended),
        cmocka_unit_test(an_escaped_nul_is_mended),
        cmocka_unit_test(an_escaped_backslash_before_u0000_is_none),
        cmocka_unit_test(halves_of_surrogate_pairs_are_mended),
        cmocka_unit_test(a_text_that_ends_within_an_escape_is_read_to_its_end_only),
        cmocka_unit_test(a_strict_parser_takes_what_was_mended),
        cmocka_unit_test(the_depth_of_json_is_that_of_its_brackets),
        cmocka_unit_test(json_strings_are_quoted_and_escaped),
        cmocka_unit_test(every_character_comes_back_from_a_json_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
