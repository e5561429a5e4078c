/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void what_is_added_stands_behind_each_other_with_a_nul(void **state) {
    struct buf b = {0};
    (void)state;
    buf_add(&b, "ab\0c", 4);
    buf_adds(&b, "de");
    buf_addf(&b, "%d-%s", 42, "f");
    assert_int_equal(b.len, 10);
    assert_memory_equal(b.p, "ab\0cde42-f", 11);
    assert_false(b.oom);
    buf_free(&b);
}

static void it_grows_to_any_size(void **state) {
    struct buf b = {0};
    (void)state;
    for (int i = 0; i < 100000; i++)
        buf_addf(&b, "%c", 'a' + i % 26);
    assert_int_equal(b.len, 100000);
    assert_true(b.cap > b.len);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.p[i], 'a' + (int)(i % 26));
    assert_int_equal(b.p[b.len], 0);
    buf_free(&b);
}

static void adding_nothing_leaves_a_text(void **state) {
    struct buf b = {0};
    (void)state;
    buf_add(&b, NULL, 0);
    assert_non_null(b.p);
    assert_string_equal(b.p, "");
    buf_free(&b);
}

static void the_first_bytes_can_be_dropped(void **state) {
    struct buf b = {0};
    (void)state;
    buf_shift(&b, 3);
    buf_adds(&b, "abcdef");
    buf_shift(&b, 0);
    buf_shift(&b, 2);
    assert_string_equal(b.p, "cdef");
    assert_int_equal(b.len, 4);
    buf_shift(&b, 100);
    assert_string_equal(b.p, "");
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

static void a_reset_keeps_the_memory(void **state) {
    struct buf b = {0};
    (void)state;
    buf_adds(&b, "abc");
    char *p = b.p;
    buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.p, "");
    buf_adds(&b, "x");
    assert_ptr_equal(b.p, p);
    assert_string_equal(b.p, "x");
    buf_free(&b);
    buf_reset(&b);
    assert_null(b.p);
}

static void what_cannot_be_held_is_dropped_with_all_that_follows(void **state) {
    struct buf b = {0};
    (void)state;
    buf_adds(&b, "abc");
    buf_add(&b, "x", SIZE_MAX / 2);
    assert_true(b.oom);
    buf_adds(&b, "def");
    assert_int_equal(b.len, 3);
    assert_string_equal(b.p, "abc");
    assert_null(buf_take(&b));
    assert_false(b.oom);
    buf_adds(&b, "again");
    assert_string_equal(b.p, "again");
    buf_free(&b);
}

static void taking_hands_the_bytes_over(void **state) {
    struct buf b = {0};
    (void)state;
    buf_adds(&b, "abc");
    char *p = buf_take(&b);
    assert_string_equal(p, "abc");
    assert_null(b.p);
    assert_int_equal(b.len + b.cap, 0);
    free(p);
    p = buf_take(&b);
    assert_string_equal(p, "");
    free(p);
}

static void a_freed_or_wiped_buffer_can_be_used_again(void **state) {
    struct buf b = {0};
    (void)state;
    buf_adds(&b, "secret");
    buf_wipe(&b);
    assert_null(b.p);
    assert_int_equal(b.len, 0);
    buf_wipe(&b);
    buf_adds(&b, "x");
    assert_string_equal(b.p, "x");
    buf_free(&b);
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_stands_behind_each_other_with_a_nul),
        cmocka_unit_test(it_grows_to_any_size),
        cmocka_unit_test(adding_nothing_leaves_a_text),
        cmocka_unit_test(the_first_bytes_can_be_dropped),
        cmocka_unit_test(a_reset_keeps_the_memory),
        cmocka_unit_test(what_cannot_be_held_is_dropped_with_all_that_follows),
        cmocka_unit_test(taking_hands_the_bytes_over),
        cmocka_unit_test(a_freed_or_wiped_buffer_can_be_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
