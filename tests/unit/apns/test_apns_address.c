/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_address.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define START_MS 1000000
#define COUNT    4

struct world {
    struct apns_addresses known;
    struct addr list[COUNT];
    unsigned in_use[COUNT];
    uint64_t now_ms, wait_ms;
};

static struct addr address(unsigned n) {
    struct addr a;
    char ip[32];
    snprintf(ip, sizeof ip, "10.0.%u.%u", n / 256, n % 256);
    assert_int_equal(addr_parse(&a, ip, 443), 0);
    return a;
}

static int setup(void **state) {
    static struct world w;
    w = (struct world){.now_ms = START_MS};
    for (unsigned i = 0; i < COUNT; i++)
        w.list[i] = address(i);
    *state = &w;
    return 0;
}

/* Of the first `count` addresses. */
static unsigned choose(struct world *w, unsigned count) {
    return apns_address_choose(&w->known, w->list, w->in_use, count, w->now_ms, &w->wait_ms);
}

static void the_first_dial_does_not_wait(void **state) {
    struct world *w = *state;
    assert_int_equal(choose(w, 1), 0);
    assert_int_equal(w->wait_ms, 0);
}

/* The far side's clock sees at least a second, whatever takes a few milliseconds off a gap. */
static void dials_of_one_address_are_more_than_a_second_apart(void **state) {
    struct world *w = *state;
    uint64_t last_ms = 0;
    for (unsigned i = 0; i < 20; i++, w->now_ms += 300) {
        choose(w, 1);
        if (last_ms)
            assert_in_range(w->now_ms + w->wait_ms - last_ms, 1040, 1100);
        last_ms = w->now_ms + w->wait_ms;
    }
    w->now_ms = last_ms + 1100;
    choose(w, 1);
    assert_int_equal(w->wait_ms, 0);
}

static void connections_spread_over_the_addresses(void **state) {
    struct world *w = *state;
    for (unsigned i = 0; i < 3 * COUNT; i++, w->now_ms += 2000) {
        unsigned chosen = choose(w, COUNT);
        assert_int_equal(w->in_use[chosen], i / COUNT);
        w->in_use[chosen]++;
        assert_int_equal(w->wait_ms, 0);
    }
}

/* None is in use: the one that was left alone for the longest time. */
static void without_connections_they_take_turns(void **state) {
    struct world *w = *state;
    for (unsigned i = 0; i < 3 * COUNT; i++, w->now_ms += 10) {
        unsigned chosen = choose(w, COUNT);
        assert_int_equal(chosen, i % COUNT);
    }
}

static void an_address_that_failed_is_left_alone_for_a_while(void **state) {
    struct world *w = *state;
    apns_address_failed(&w->known, &w->list[0], w->now_ms);
    w->in_use[1] = 3;
    w->now_ms += APNS_ADDRESS_BAN_MS - 1;
    assert_int_equal(choose(w, 2), 1);
    w->now_ms += 1;
    assert_int_equal(choose(w, 2), 0);
}

static uint64_t ban_ms(struct world *w) {
    apns_address_failed(&w->known, &w->list[0], w->now_ms);
    return w->known.known[0].banned_until_ms - w->now_ms;
}

static void each_failure_doubles_the_pause_up_to_a_minute(void **state) {
    static const uint64_t pauses_ms[] = {5000, 10000, 20000, 40000, 60000, 60000};
    struct world *w = *state;
    for (unsigned i = 0; i < sizeof pauses_ms / sizeof *pauses_ms; i++)
        assert_int_equal(ban_ms(w), pauses_ms[i]);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(ban_ms(w), APNS_ADDRESS_LAME_MS);
}

static void one_that_worked_is_as_good_as_new(void **state) {
    struct world *w = *state;
    ban_ms(w);
    ban_ms(w);
    apns_address_worked(&w->known, &w->list[0]);
    w->in_use[1] = 1;
    assert_int_equal(choose(w, 2), 0);
    assert_int_equal(ban_ms(w), APNS_ADDRESS_BAN_MS);
}

/* Better a bad address than none. */
static void when_all_have_failed_one_is_dialled_all_the_same(void **state) {
    struct world *w = *state;
    for (unsigned i = 0; i < COUNT; i++)
        apns_address_failed(&w->known, &w->list[i], w->now_ms);
    w->in_use[0] = 1;
    assert_int_equal(choose(w, COUNT), 1);
    assert_int_equal(w->wait_ms, 0);
}

/* A name that stands for other addresses all the time: memory has an end, and the latest are remembered. */
static void the_one_not_dialled_for_the_longest_time_is_forgotten(void **state) {
    struct world *w = *state;
    unsigned kept = 2 * APNS_ADDRESS_MAX, none = 0;
    uint64_t wait_ms;
    for (unsigned i = 0; i < 10 * kept; i++, w->now_ms++) {
        struct addr a = address(i);
        apns_address_choose(&w->known, &a, &none, 1, w->now_ms, &wait_ms);
        assert_int_equal(wait_ms, 0);
    }
    assert_int_equal(w->known.count, kept);
    for (unsigned i = 9 * kept; i < 10 * kept; i++) {
        struct addr a = address(i);
        apns_address_choose(&w->known, &a, &none, 1, w->now_ms, &wait_ms);
        assert_true(wait_ms > 0);
    }
}

static void an_unknown_address_that_worked_is_no_news(void **state) {
    struct world *w = *state;
    apns_address_worked(&w->known, &w->list[0]);
    assert_int_equal(w->known.count, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_first_dial_does_not_wait),
        TEST(dials_of_one_address_are_more_than_a_second_apart),
        TEST(connections_spread_over_the_addresses),
        TEST(without_connections_they_take_turns),
        TEST(an_address_that_failed_is_left_alone_for_a_while),
        TEST(each_failure_doubles_the_pause_up_to_a_minute),
        TEST(one_that_worked_is_as_good_as_new),
        TEST(when_all_have_failed_one_is_dialled_all_the_same),
        TEST(the_one_not_dialled_for_the_longest_time_is_forgotten),
        TEST(an_unknown_address_that_worked_is_no_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
