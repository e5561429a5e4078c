/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void assert_time(const char *text, uint64_t want_ms) {
    uint64_t ms = 1;
    if (clock_rfc3339_parse(&ms, text) != 0 || ms != want_ms)
        fail_msg("\"%s\": %llu is not %llu", text, (unsigned long long)ms, (unsigned long long)want_ms);
}

static void a_time_is_written_in_utc_with_milliseconds(void **state) {
    char text[CLOCK_RFC3339_BYTES];
    (void)state;
    assert_string_equal(clock_rfc3339(text, 0), "1970-01-01T00:00:00.000Z");
    assert_string_equal(clock_rfc3339(text, 951782400007U), "2000-02-29T00:00:00.007Z");
    assert_string_equal(clock_rfc3339(text, 1767323045678U), "2026-01-02T03:04:05.678Z");
    assert_string_equal(clock_rfc3339(text, 253402300799999U), "9999-12-31T23:59:59.999Z");
}

/* RFC 3339 5.8. */
static void the_examples_of_rfc_3339_are_read(void **state) {
    (void)state;
    assert_time("1985-04-12T23:20:50.52Z", 482196050520U);
    assert_time("1996-12-19T16:39:57-08:00", 851042397000U);
    assert_time("1990-12-31T23:59:60Z", 662688000000U);
    assert_time("1990-12-31T15:59:60-08:00", 662688000000U);
}

static void what_was_written_is_read_back(void **state) {
    static const uint64_t times[] = {0, 1, 999, 951782400007U, 1767323045678U, 253402300799999U};
    char text[CLOCK_RFC3339_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        assert_time(clock_rfc3339(text, times[i]), times[i]);
}

static void fractions_of_any_length_count_to_the_millisecond(void **state) {
    (void)state;
    assert_time("1970-01-01T00:00:00.1Z", 100);
    assert_time("1970-01-01T00:00:00.12Z", 120);
    assert_time("1970-01-01T00:00:00.1239999999999Z", 123);
}

static void an_offset_is_taken_off(void **state) {
    (void)state;
    assert_time("1970-01-01T02:00:00+02:00", 0);
    assert_time("1970-01-01T00:00:00-05:30", 19800000);
    assert_time("1970-01-02T00:00:00.5+00:01", 86400000 - 60000 + 500);
    assert_time("1970-01-01t00:00:01z", 1000);
}

static void what_is_no_time_is_malformed(void **state) {
    static const char *const wrong[] = {"",
                                        "now",
                                        "2026-01-02",
                                        "2026-01-02T03:04",
                                        "2026-01-02T03:04:05",
                                        "2026-01-02T03:04:05.678",
                                        "2026-01-02T03:04:05.Z",
                                        "2026-01-02T03:04:05ZZ",
                                        "2026-01-02T03:04:05Z ",
                                        "2026-01-02T03:04:05+02",
                                        "2026-01-02T03:04:05+02:0x",
                                        "2026-01-02T03:04:05+24:00",
                                        "2026-01-02T03:04:05+02:60",
                                        "2026-01-02T03:04:05+02:00Z",
                                        "2026-00-02T03:04:05Z",
                                        "2026-13-02T03:04:05Z",
                                        "2026-01-00T03:04:05Z",
                                        "2026-01-32T03:04:05Z",
                                        "2026-02-30T03:04:05Z",
                                        "2025-02-29T03:04:05Z",
                                        "2026-01-02T24:04:05Z",
                                        "2026-01-02T03:60:05Z",
                                        "2026-01-02T03:04:61Z",
                                        "2026-1-2T3:4:5Z",
                                        "2026-01-02X03:04:05Z",
                                        " 2026-01-02T03:04:05Z",
                                        "2026-01-02T03:04:05+ 2:00",
                                        "2026-01-02T 3:04:05Z",
                                        "2026-01-02T+3:04:05Z",
                                        "1969-12-31T23:59:59Z",
                                        "1970-01-01T00:00:00+01:00",
                                        "-026-01-02T03:04:05Z",
                                        "99999-01-02T03:04:05Z"};
    uint64_t ms;
    unsigned taken = 0;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (clock_rfc3339_parse(&ms, wrong[i]) == E_MALFORMED)
            continue;
        print_error("taken: \"%s\"\n", wrong[i]);
        taken++;
    }
    assert_int_equal(taken, 0);
}

static void the_monotonic_clock_does_not_go_back(void **state) {
    uint64_t before = clock_mono_us();
    (void)state;
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_mono_us();
        assert_true(now >= before);
        before = now;
    }
    assert_true(clock_mono_ms() >= before / 1000);
    assert_true(clock_mono_ms() <= before / 1000 + 1000);
}

static void the_wall_clock_counts_from_1970(void **state) {
    uint64_t ms = clock_wall_ms(), us = clock_wall_us();
    (void)state;
    assert_true(ms > 1700000000000U);
    assert_true(us / 1000 >= ms && us / 1000 <= ms + 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_is_written_in_utc_with_milliseconds),
        cmocka_unit_test(the_examples_of_rfc_3339_are_read),
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(fractions_of_any_length_count_to_the_millisecond),
        cmocka_unit_test(an_offset_is_taken_off),
        cmocka_unit_test(what_is_no_time_is_malformed),
        cmocka_unit_test(the_monotonic_clock_does_not_go_back),
        cmocka_unit_test(the_wall_clock_counts_from_1970),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
