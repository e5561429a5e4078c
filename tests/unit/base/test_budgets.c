/* SPDX-License-Identifier: Apache-2.0 */
#include "base/budgets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define T0   1000
#define MOST 64

static const struct token_rate rate = {.per_s = 10, .burst = 5};
static struct budgets *b;

static int setup(void **state) {
    (void)state;
    return budgets_new(&b, MOST);
}

static int teardown(void **state) {
    (void)state;
    b = budgets_free(b);
    return 0;
}

static unsigned take_all(uint64_t key, uint64_t now_ms) {
    unsigned n = 0;
    while (budgets_take(b, key, rate, now_ms))
        n++;
    return n;
}

static uint64_t network(const char *ip) {
    struct addr a;
    assert_int_equal(addr_parse(&a, ip, 4711), 0);
    return budgets_key_network(b, &a);
}

static void each_key_has_its_own_burst_and_rate(void **state) {
    (void)state;
    assert_int_equal(take_all(budgets_key(b, 1), T0), 5);
    assert_false(budgets_has(b, budgets_key(b, 1), rate, T0));
    assert_true(budgets_has(b, budgets_key(b, 2), rate, T0));
    assert_int_equal(take_all(budgets_key(b, 2), T0), 5);
    assert_int_equal(take_all(budgets_key(b, 1), T0 + 200), 2);
}

static void a_look_spends_nothing(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++)
        assert_true(budgets_has(b, budgets_key(b, 1), rate, T0));
    assert_int_equal(take_all(budgets_key(b, 1), T0), 5);
}

static void a_network_is_an_ipv4_address_or_64_bits(void **state) {
    (void)state;
    assert_true(network("192.0.2.1") == network("::ffff:192.0.2.1"));
    assert_true(network("192.0.2.1") != network("192.0.2.2"));
    assert_true(network("2001:db8::1") == network("2001:db8::ffff:1"));
    assert_true(network("2001:db8::1") != network("2001:db8:0:1::1"));
}

static void keys_are_another_table_s_no_more(void **state) {
    struct budgets *other;
    (void)state;
    assert_int_equal(budgets_new(&other, MOST), 0);
    assert_true(budgets_key(b, 1) != budgets_key(other, 1));
    budgets_free(other);
}

/* The table is bounded, and many that came once do not make it forget one that came often. */
static void a_crowd_does_not_drive_out_who_spent_most(void **state) {
    (void)state;
    take_all(budgets_key(b, 1), T0);
    for (uint64_t i = 2; i < (uint64_t)20 * MOST; i++)
        budgets_take(b, budgets_key(b, i), rate, T0);
    assert_false(budgets_has(b, budgets_key(b, 1), rate, T0));
}

/* A place that is given to another begins with nothing spent. */
static void a_newcomer_has_all(void **state) {
    (void)state;
    for (uint64_t i = 0; i < (uint64_t)4 * MOST; i++)
        take_all(budgets_key(b, i), T0);
    for (uint64_t i = 1000; i < 1010; i++)
        assert_int_equal(take_all(budgets_key(b, i), T0), 5);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(each_key_has_its_own_burst_and_rate),       test(a_look_spends_nothing),
        test(a_network_is_an_ipv4_address_or_64_bits),   test(keys_are_another_table_s_no_more),
        test(a_crowd_does_not_drive_out_who_spent_most), test(a_newcomer_has_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
