/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/stun_budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define T0 1000000ULL /* any time */

static struct budgets *sources;

static int setup(void **state) {
    (void)state;
    return budgets_new(&sources, STUN_SOURCES);
}

static int teardown(void **state) {
    (void)state;
    sources = budgets_free(sources);
    return 0;
}

static struct addr from(const char *ip) {
    struct addr a;
    assert_int_equal(addr_parse(&a, ip, 5000), 0);
    return a;
}

static struct addr number(unsigned i) {
    char ip[32];
    snprintf(ip, sizeof ip, "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
    return from(ip);
}

/* A forged check: was it looked into? */
static bool forged(struct stun_budget *b, const struct addr *src, uint64_t now_ms) {
    if (!stun_budget_take(b, sources, src, false, now_ms))
        return false;
    stun_budget_failed(b, sources, src, now_ms);
    return true;
}

/* RFC 8445 14: a new check each 5 ms, and each of them once again 500 ms later, for a minute. */
static void an_agent_with_many_candidates_is_never_refused(void **state) {
    struct stun_budget b = {0};
    (void)state;
    for (uint64_t ms = 0; ms < 60000; ms += 5) {
        struct addr src = number((unsigned)(ms / 5 % 20));
        assert_true(stun_budget_take(&b, sources, &src, false, T0 + ms));
        if (ms >= 500)
            assert_true(stun_budget_take(&b, sources, &src, false, T0 + ms));
    }
}

static void a_leg_is_checked_400_times_a_second_whoever_asks(void **state) {
    struct stun_budget b = {0};
    unsigned taken = 0;
    (void)state;
    for (unsigned i = 0; i < 50000; i++) { /* 10 s; each source once */
        struct addr src = number(i);
        taken += forged(&b, &src, T0 + i / 5);
    }
    assert_in_range(taken, 10 * 400, 10 * 400 + STUN_LEG_CHECKS_BURST);
}

static void strangers_do_not_use_up_the_budget_of_vouched_addresses(void **state) {
    struct stun_budget b = {0};
    struct addr src = from("192.0.2.1"), good = from("192.0.2.2");
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        struct addr a = number(i);
        forged(&b, &a, T0);
    }
    assert_false(stun_budget_take(&b, sources, &src, false, T0));
    for (int i = 0; i < STUN_LEG_CHECKS_BURST; i++)
        assert_true(stun_budget_take(&b, sources, &good, true, T0));
    assert_false(stun_budget_take(&b, sources, &good, true, T0)); /* it is bounded, too */
    assert_true(stun_budget_take(&b, sources, &good, true, T0 + 3));
}

static void one_source_fails_50_times_and_then_10_times_a_second(void **state) {
    struct stun_budget b = {0};
    struct addr src = from("192.0.2.1");
    unsigned taken = 0;
    (void)state;
    for (unsigned ms = 0; ms < 10000; ms++)
        taken += forged(&b, &src, T0 + ms);
    assert_in_range(taken, 50 + 99, 50 + 100);
    assert_true(forged(&b, &src, T0 + 10100));
}

static void a_source_has_one_budget_for_all_legs(void **state) {
    struct stun_budget legs[100] = {{{0, 0}, {0, 0}, 0}};
    struct addr src = from("192.0.2.1");
    unsigned taken = 0;
    (void)state;
    for (unsigned round = 0; round < 100; round++)
        for (unsigned i = 0; i < 100; i++)
            taken += forged(&legs[i], &src, T0);
    /* The first few of each leg, and no more: the source's are used up by then. */
    assert_int_equal(taken, 100 * STUN_LEG_FAILED_FREE);
}

static void a_spent_source_may_still_bring_up_other_calls(void **state) {
    struct stun_budget attacked = {0}, other = {0};
    struct addr src = from("192.0.2.1");
    (void)state;
    while (forged(&attacked, &src, T0))
        ;
    assert_false(stun_budget_take(&attacked, sources, &src, false, T0));
    assert_true(stun_budget_take(&other, sources, &src, false, T0));
    assert_true(stun_budget_take(&attacked, sources, &src, true, T0)); /* and go on with what is vouched for */
}

static void other_ports_and_the_same_64_bits_are_the_same_source(void **state) {
    struct stun_budget b = {0};
    struct addr src = from("192.0.2.1"), v6 = from("2001:db8::1");
    (void)state;
    while (forged(&b, &src, T0))
        ;
    addr_set_port(&src, 6000);
    assert_false(stun_budget_take(&b, sources, &src, false, T0));
    while (forged(&b, &v6, T0))
        ;
    v6 = from("2001:db8::ffff:1");
    assert_false(stun_budget_take(&b, sources, &v6, false, T0));
    v6 = from("2001:db8:0:1::1");
    assert_true(stun_budget_take(&b, sources, &v6, false, T0));
}

/* A socket of both families has IPv4 sources mapped. */
static void mapped_addresses_are_sources_of_their_own(void **state) {
    struct stun_budget b = {0};
    struct addr src = from("::ffff:192.0.2.1");
    (void)state;
    while (forged(&b, &src, T0))
        ;
    src = from("::ffff:192.0.2.2");
    assert_true(stun_budget_take(&b, sources, &src, false, T0));
    src = from("192.0.2.1");
    assert_false(stun_budget_take(&b, sources, &src, false, T0));
}

/* Many others cannot make the table forget the worst of them. */
static void the_table_is_bounded_and_keeps_those_that_fail_most(void **state) {
    struct stun_budget b = {0};
    struct addr worst = from("192.0.2.1");
    (void)state;
    while (forged(&b, &worst, T0))
        ;
    for (unsigned i = 0; i < 20 * STUN_SOURCES; i++) {
        struct addr src = number(i);
        stun_budget_failed(&b, sources, &src, T0);
    }
    assert_false(stun_budget_take(&b, sources, &worst, false, T0));
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(an_agent_with_many_candidates_is_never_refused),
        test(a_leg_is_checked_400_times_a_second_whoever_asks),
        test(strangers_do_not_use_up_the_budget_of_vouched_addresses),
        test(one_source_fails_50_times_and_then_10_times_a_second),
        test(a_source_has_one_budget_for_all_legs),
        test(a_spent_source_may_still_bring_up_other_calls),
        test(other_ports_and_the_same_64_bits_are_the_same_source),
        test(mapped_addresses_are_sources_of_their_own),
        test(the_table_is_bounded_and_keeps_those_that_fail_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
