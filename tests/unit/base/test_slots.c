/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "base/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MANY 1000 /* several chunks */

static struct slots *slots_of(uint32_t max) {
    struct slots *s = NULL;
    assert_int_equal(slots_new(&s, sizeof(uint64_t), max), 0);
    return s;
}

static void an_id_finds_its_item(void **state) {
    struct slots *s = slots_of(4);
    slot_id a = 0, b = 0;
    uint64_t *p = slots_alloc(s, &a), *q = slots_alloc(s, &b);
    (void)state;
    assert_non_null(p);
    assert_true(a != 0 && b != 0 && a != b);
    assert_ptr_equal(slots_get(s, a), p);
    assert_ptr_equal(slots_get(s, b), q);
    assert_int_equal(slots_used(s), 2);
    slots_free(s);
}

static void a_stale_id_finds_nothing(void **state) {
    struct slots *s = slots_of(1);
    slot_id first = 0, second = 0;
    (void)state;
    slots_alloc(s, &first);
    slots_release(s, first);
    assert_null(slots_get(s, first));
    uint64_t *p = slots_alloc(s, &second);
    assert_non_null(p);
    assert_true(first != second);
    assert_null(slots_get(s, first));
    slots_release(s, first);
    assert_ptr_equal(slots_get(s, second), p);
    assert_int_equal(slots_used(s), 1);
    slots_free(s);
}

static void an_unknown_id_finds_nothing(void **state) {
    struct slots *s = slots_of(4);
    slot_id a = 0;
    (void)state;
    assert_null(slots_get(s, 0));
    slots_alloc(s, &a);
    assert_null(slots_get(s, 0));
    assert_null(slots_get(s, a + 1));
    assert_null(slots_get(s, (slot_id)1 << 32 | 0xffffffffU));
    assert_null(slots_get(s, ~(slot_id)0));
    slots_release(s, 0);
    slots_release(s, ~(slot_id)0);
    assert_int_equal(slots_used(s), 1);
    slots_free(s);
}

static void an_item_is_zero_at_first_and_again_after_a_release(void **state) {
    struct slots *s = slots_of(1);
    slot_id id = 0;
    uint64_t *p = slots_alloc(s, &id);
    (void)state;
    assert_true(*p == 0);
    *p = 0x1234;
    slots_release(s, id);
    assert_true(*p == 0); /* wiped at once, for keys */
    p = slots_alloc(s, &id);
    assert_true(*p == 0);
    slots_free(s);
}

static void no_more_than_the_maximum_live_at_once(void **state) {
    struct slots *s = slots_of(3);
    slot_id id[3], other = 0;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_non_null(slots_alloc(s, &id[i]));
    assert_null(slots_alloc(s, &other));
    slots_release(s, id[1]);
    assert_non_null(slots_alloc(s, &other));
    assert_null(slots_alloc(s, &other));
    slots_free(s);
}

static void items_never_move(void **state) {
    struct slots *s = slots_of(MANY);
    static slot_id id[MANY];
    static uint64_t *p[MANY];
    (void)state;
    for (uint64_t i = 0; i < MANY; i++) {
        p[i] = slots_alloc(s, &id[i]);
        assert_non_null(p[i]);
        *p[i] = i;
    }
    for (uint64_t i = 0; i < MANY; i++) {
        assert_ptr_equal(slots_get(s, id[i]), p[i]);
        assert_true(*p[i] == i);
        assert_int_equal((uintptr_t)p[i] % _Alignof(max_align_t), 0);
    }
    slots_free(s);
}

static void iterating_meets_each_item_once_though_it_is_released(void **state) {
    struct slots *s = slots_of(MANY);
    static slot_id id[MANY];
    uint64_t sum = 0, want = 0, *p;
    uint32_t cursor = 0, met = 0;
    slot_id at;
    (void)state;
    assert_null(slots_next(s, &cursor, &at));
    for (uint64_t i = 0; i < MANY; i++) {
        *(uint64_t *)slots_alloc(s, &id[i]) = i;
        want += i % 2 ? i : 0;
    }
    for (size_t i = 0; i < MANY; i += 2)
        slots_release(s, id[i]);
    cursor = 0;
    while ((p = slots_next(s, &cursor, &at))) {
        sum += *p;
        met++;
        assert_ptr_equal(slots_get(s, at), p);
        slots_release(s, at);
    }
    assert_int_equal(met, MANY / 2);
    assert_true(sum == want);
    assert_int_equal(slots_used(s), 0);
    slots_free(s);
}

static void sizes_out_of_bounds_are_refused(void **state) {
    struct slots *s = NULL;
    (void)state;
    assert_int_equal(slots_new(&s, 0, 1), E_INVAL);
    assert_int_equal(slots_new(&s, 1, 0), E_INVAL);
    assert_int_equal(slots_new(&s, 1, (1U << 24) + 1), E_INVAL);
    assert_null(s);
    assert_null(slots_free(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_finds_its_item),
        cmocka_unit_test(a_stale_id_finds_nothing),
        cmocka_unit_test(an_unknown_id_finds_nothing),
        cmocka_unit_test(an_item_is_zero_at_first_and_again_after_a_release),
        cmocka_unit_test(no_more_than_the_maximum_live_at_once),
        cmocka_unit_test(items_never_move),
        cmocka_unit_test(iterating_meets_each_item_once_though_it_is_released),
        cmocka_unit_test(sizes_out_of_bounds_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
