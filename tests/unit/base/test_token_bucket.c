/* SPDX-License-Identifier: Apache-2.0 */
#include "base/token_bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct token_rate rate = {.per_s = 10, .burst = 5};

static unsigned take_all(struct token_bucket *b, uint64_t now_ms) {
    unsigned n = 0;
    while (token_bucket_take(b, rate, now_ms))
        n++;
    return n;
}

static void a_burst_and_then_the_rate(void **state) {
    struct token_bucket b = {0};
    (void)state;
    assert_int_equal(take_all(&b, 1000), 5);
    assert_false(token_bucket_has(&b, rate, 1099));
    assert_true(token_bucket_has(&b, rate, 1100));
    assert_int_equal(take_all(&b, 1100), 1);
    assert_int_equal(take_all(&b, 1400), 3);
    assert_int_equal(take_all(&b, 1000000), 5); /* no more than the burst, however long it rested */
}

static void what_is_spent_comes_back(void **state) {
    struct token_bucket b = {0};
    (void)state;
    take_all(&b, 1000);
    assert_int_equal(token_bucket_spent_milli(&b, rate, 1000), 5000);
    assert_int_equal(token_bucket_spent_milli(&b, rate, 1050), 4500);
    assert_int_equal(token_bucket_spent_milli(&b, rate, 1500), 0);
}

static void the_clock_may_pass_32_bits(void **state) {
    struct token_bucket b = {0};
    uint64_t last_ms = UINT32_MAX;
    (void)state;
    assert_int_equal(take_all(&b, last_ms), 5);
    assert_int_equal(take_all(&b, last_ms + 200), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_and_then_the_rate),
        cmocka_unit_test(what_is_spent_comes_back),
        cmocka_unit_test(the_clock_may_pass_32_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
