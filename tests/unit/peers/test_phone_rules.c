/* SPDX-License-Identifier: Apache-2.0 */
/* PushKit's mustReport by its documented criteria: false in the foreground, on a call, or when the push is found late.
 */
#include "tests/peers/phone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOW_MS     1790000000000
#define EXPIRES_MS (NOW_MS + 40000)
#define NEW_OS     "26.4"

static bool asked(const char *os_version, bool foreground, bool on_call, uint64_t expires_ms) {
    bool known = false;
    bool must = phone_must_report(os_version, foreground, on_call, NOW_MS, expires_ms, &known);
    assert_true(known);
    return must;
}

static bool is_known(const char *os_version) {
    bool known = false;
    phone_must_report(os_version, false, false, NOW_MS, EXPIRES_MS, &known);
    return known;
}

static void a_sleeping_phone_must_report(void **state) {
    (void)state;
    assert_true(asked(NEW_OS, false, false, EXPIRES_MS));
}

static void an_app_in_the_foreground_need_not(void **state) {
    (void)state;
    assert_false(asked(NEW_OS, true, false, EXPIRES_MS));
}

static void an_app_on_a_call_need_not(void **state) {
    (void)state;
    assert_false(asked(NEW_OS, false, true, EXPIRES_MS));
    assert_false(asked(NEW_OS, true, true, EXPIRES_MS));
}

static void a_push_that_is_found_late_need_not_be_reported(void **state) {
    (void)state;
    assert_true(asked(NEW_OS, false, false, NOW_MS + 1));
    assert_false(asked(NEW_OS, false, false, NOW_MS));
    assert_false(asked(NEW_OS, false, false, NOW_MS - 1));
}

static void a_push_without_an_expiry_is_never_late(void **state) {
    (void)state;
    assert_true(asked(NEW_OS, false, false, 0));
}

static void the_property_came_with_26_4(void **state) {
    (void)state;
    assert_false(is_known("26.3.1"));
    assert_false(is_known("26"));
    assert_false(is_known("18.7"));
    assert_false(is_known("9.3"));
    assert_true(is_known("26.4"));
    assert_true(is_known("26.4.1"));
    assert_true(is_known("26.10")); /* a minor version, not a decimal */
    assert_true(is_known("27"));
    assert_true(is_known("27.0"));
}

static void an_older_system_must_always_report(void **state) {
    bool known = true;
    (void)state;
    assert_true(phone_must_report("18.5", true, true, NOW_MS, NOW_MS - 1, &known));
    assert_false(known);
}

static void a_version_that_says_nothing_counts_as_old(void **state) {
    (void)state;
    assert_false(is_known(""));
    assert_false(is_known("beta"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sleeping_phone_must_report),
        cmocka_unit_test(an_app_in_the_foreground_need_not),
        cmocka_unit_test(an_app_on_a_call_need_not),
        cmocka_unit_test(a_push_that_is_found_late_need_not_be_reported),
        cmocka_unit_test(a_push_without_an_expiry_is_never_late),
        cmocka_unit_test(the_property_came_with_26_4),
        cmocka_unit_test(an_older_system_must_always_report),
        cmocka_unit_test(a_version_that_says_nothing_counts_as_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
