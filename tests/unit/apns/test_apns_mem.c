/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_mem.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SMALLEST 64
#define LARGEST  ((size_t)SMALLEST << (APNS_MEM_CLASSES - 1))

static int setup(void **state) {
    static struct apns_mem m;
    m = (struct apns_mem){0};
    *state = &m;
    return 0;
}

static int teardown(void **state) {
    struct apns_mem *m = *state;
    apns_mem_free(m);
    for (size_t i = 0; i < APNS_MEM_CLASSES; i++)
        assert_null(m->spare[i]);
    return 0;
}

/* All of it may be written: the address sanitizer watches. */
static void *filled(struct apns_mem *m, size_t size, int byte) {
    void *p = apns_mem_get(m, size);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
    return memset(p, byte, size);
}

static void what_is_put_back_is_what_is_got_next(void **state) {
    struct apns_mem *m = *state;
    void *a = filled(m, 100, 1), *b = filled(m, 128, 2);
    assert_ptr_not_equal(a, b);
    apns_mem_put(m, a);
    apns_mem_put(m, b);
    assert_ptr_equal(apns_mem_get(m, 65), b);
    assert_ptr_equal(apns_mem_get(m, 127), a);
    apns_mem_put(m, a);
    apns_mem_put(m, b);
}

static void each_size_has_room_and_comes_from_blocks_of_its_class(void **state) {
    struct apns_mem *m = *state;
    for (size_t size = SMALLEST; size <= LARGEST; size *= 2) {
        void *whole = filled(m, size, 1);
        apns_mem_put(m, whole);
        void *more = filled(m, size + 1, 2);
        assert_ptr_not_equal(more, whole);
        assert_ptr_equal(filled(m, size / 2 + 1, 3), whole);
        apns_mem_put(m, whole);
        apns_mem_put(m, more);
    }
    void *none = apns_mem_get(m, 0);
    assert_non_null(none);
    apns_mem_put(m, none);
}

static void what_is_larger_than_any_class_is_not_kept(void **state) {
    struct apns_mem *m = *state;
    apns_mem_put(m, filled(m, LARGEST + 1, 1));
    for (size_t i = 0; i < APNS_MEM_CLASSES; i++)
        assert_null(m->spare[i]);
}

static void zeroed_memory_is_zero_though_it_was_used(void **state) {
    static const unsigned char zeros[300] = {0};
    struct apns_mem *m = *state;
    void *used = filled(m, 300, 0xff), *p;
    apns_mem_put(m, used);
    assert_ptr_equal(p = apns_mem_zeroed(m, 3, 100), used);
    assert_memory_equal(p, zeros, 300);
    apns_mem_put(m, p);
}

static void resizing_keeps_what_was_there(void **state) {
    struct apns_mem *m = *state;
    char *p = apns_mem_resize(m, NULL, 10);
    size_t size = 10;
    memset(p, 'a', size);
    for (size_t next = 11; next < 4 * LARGEST; next += next / 3) {
        p = apns_mem_resize(m, p, next);
        assert_non_null(p);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 'a');
        memset(p, 'a', next);
        size = next;
    }
    p = apns_mem_resize(m, p, 20);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(p[i], 'a');
    apns_mem_put(m, p);
}

static void a_block_with_room_stays_and_one_without_is_put_back(void **state) {
    struct apns_mem *m = *state;
    void *p = filled(m, 10, 1), *larger;
    assert_ptr_equal(apns_mem_resize(m, p, SMALLEST), p);
    assert_ptr_equal(apns_mem_resize(m, p, 1), p);
    larger = apns_mem_resize(m, p, SMALLEST + 1);
    assert_ptr_not_equal(larger, p);
    assert_ptr_equal(apns_mem_get(m, 1), p);
    apns_mem_put(m, p);
    apns_mem_put(m, larger);
}

static void sizes_that_overflow_are_refused(void **state) {
    struct apns_mem *m = *state;
    void *small = filled(m, 10, 1), *large = filled(m, LARGEST + 1, 2);
    assert_null(apns_mem_get(m, SIZE_MAX));
    assert_null(apns_mem_zeroed(m, SIZE_MAX / 2 + 2, 2));
    assert_null(apns_mem_resize(m, small, SIZE_MAX));
    assert_null(apns_mem_resize(m, large, SIZE_MAX));
    assert_int_equal(*(char *)small, 1); /* they stay as they were */
    assert_int_equal(*(char *)large, 2);
    apns_mem_put(m, small);
    apns_mem_put(m, large);
    apns_mem_put(m, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_put_back_is_what_is_got_next),
        TEST(each_size_has_room_and_comes_from_blocks_of_its_class),
        TEST(what_is_larger_than_any_class_is_not_kept),
        TEST(zeroed_memory_is_zero_though_it_was_used),
        TEST(resizing_keeps_what_was_there),
        TEST(a_block_with_room_stays_and_one_without_is_put_back),
        TEST(sizes_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
