/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void a_tag_is_of_its_text(void **state) {
    char a[HTTP_ETAG_BYTES], b[HTTP_ETAG_BYTES];
    (void)state;
    assert_ptr_equal(http_etag(a, "{}"), a);
    assert_int_equal(strlen(a), 34);
    assert_int_equal(a[0], '"');
    assert_int_equal(a[33], '"');
    assert_string_equal(a, http_etag(b, "{}"));
    assert_string_not_equal(a, http_etag(b, "{} "));
}

/* RFC 9110 8.8.3.2, its table. */
static void strong_and_weak_comparison(void **state) {
    (void)state;
    assert_false(http_etag_listed("W/\"1\"", "\"1\"", false));
    assert_true(http_etag_listed("W/\"1\"", "\"1\"", true));
    assert_false(http_etag_listed("W/\"1\"", "\"2\"", true));
    assert_true(http_etag_listed("\"1\"", "\"1\"", false));
    assert_true(http_etag_listed("\"1\"", "\"1\"", true));
}

static void a_list_may_be_long_and_loose(void **state) {
    (void)state;
    assert_true(http_etag_listed("\"a\", \"b\",\"c\"", "\"c\"", false));
    assert_true(http_etag_listed(",, \t\"a\" ,", "\"a\"", false));
    assert_true(http_etag_listed("W/\"a\", \"a\"", "\"a\"", false));
    assert_true(http_etag_listed("\"x,\", \"a\"", "\"a\"", false));
    assert_true(http_etag_listed("\"x, y\"", "\"x, y\"", false));
    assert_false(http_etag_listed("\"a\", \"b\"", "\"c\"", false));
}

static void what_is_no_tag_matches_nothing(void **state) {
    static const char *const lists[] = {"", " ", ",", "a", "\"a", "a\"", "W/", "w/\"a\"", "\"\"", "'a'", "*"};
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (http_etag_listed(lists[i], "\"a\"", false))
            fail_msg("%s", lists[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tag_is_of_its_text),
        cmocka_unit_test(strong_and_weak_comparison),
        cmocka_unit_test(a_list_may_be_long_and_loose),
        cmocka_unit_test(what_is_no_tag_matches_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
