/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ID "5afa1219-9dd6-4a67-b34d-35c56865b49b"

static void what_was_written_is_read(void **state) {
    char text[PAGE_CURSOR_BYTES];
    struct page_cursor c;
    (void)state;
    assert_string_equal(page_cursor_write(text, 1795559591073, ID), "1795559591073." ID);
    assert_true(page_cursor_read(&c, text));
    assert_int_equal(c.before_ms, 1795559591073);
    assert_string_equal(c.before_id, ID);
}

static void none_is_from_the_newest(void **state) {
    struct page_cursor c = {7, "x"};
    (void)state;
    assert_true(page_cursor_read(&c, ""));
    assert_int_equal(c.before_ms, 0);
    assert_string_equal(c.before_id, "");
}

static void what_we_did_not_write_is_none(void **state) {
    static const char *const texts[] = {
        "x",      ".",      "1",      "1.",     "1.x",       "." ID,   "0." ID,
        "-1." ID, "+1." ID, " 1." ID, "1x." ID, "1." ID "x", "1.." ID, "9999999999999999999." ID};
    struct page_cursor c;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (page_cursor_read(&c, texts[i]))
            fail_msg("%s", texts[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(none_is_from_the_newest),
        cmocka_unit_test(what_we_did_not_write_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
