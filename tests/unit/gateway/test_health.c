/* SPDX-License-Identifier: Apache-2.0 */
/* Rows are written as letters, the newest first: h heard and reported, v heard and not reported, s silent, o open and
 * young, O open and overdue, r refused by APNs, a not answered by a receipt but attached. */
#include "gateway/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS 1790000000000U

static const struct config_must_report rules = {
    .suspect_after_ms = 6000, .suspect_silent = 2, .blocked_violations = 3, .blocked_silent = 2};

static struct health judged(const char *letters, enum health_cause before) {
    struct health_row rows[2 * HEALTH_ROWS_MAX];
    struct health h;
    size_t n = strlen(letters);
    for (size_t i = 0; i < n; i++) {
        char c = letters[i];
        rows[i] = (struct health_row){.accepted = c != 'r',
                                      .heard = c == 'h' || c == 'v' || c == 'a',
                                      .open = c == 'o' || c == 'O',
                                      .violated = c == 'v',
                                      .queued_ms = NOW_MS - (c == 'o' ? 5999 : 6000)};
    }
    health_judge(&h, rows, n, &rules, before, NOW_MS);
    return h;
}

struct judgement {
    const char *rows;
    enum health_cause before, want;
};

static void assert_judgements(const struct judgement *all, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct health h = judged(all[i].rows, all[i].before);
        if (h.cause != all[i].want)
            fail_msg("\"%s\" after %d: %d, expected %d", all[i].rows, all[i].before, h.cause, all[i].want);
        assert_int_equal(h.reason[0] != 0, h.cause != HEALTH_FINE && all[i].rows[0]);
    }
}
#define JUDGE(...)                                                                                                     \
    do {                                                                                                               \
        const struct judgement all[] = {__VA_ARGS__};                                                                  \
        assert_judgements(all, sizeof all / sizeof *all);                                                              \
    } while (0)

static void who_was_heard_last_is_well(void **state) {
    (void)state;
    JUDGE({"h", HEALTH_FINE, HEALTH_FINE}, {"hss", HEALTH_SILENT, HEALTH_FINE}, {"a", HEALTH_NO_RECEIPT, HEALTH_FINE},
          {"hssvvv", HEALTH_FINE, HEALTH_VIOLATIONS}, {"v", HEALTH_FINE, HEALTH_FINE});
}

static void a_receipt_is_missed_when_it_is_time(void **state) {
    (void)state;
    JUDGE({"oh", HEALTH_FINE, HEALTH_FINE}, {"Oh", HEALTH_FINE, HEALTH_NO_RECEIPT},
          {"sh", HEALTH_NO_RECEIPT, HEALTH_NO_RECEIPT}, {"Osh", HEALTH_NO_RECEIPT, HEALTH_SILENT});
}

static void silence_in_a_row_makes_suspect_and_nothing_more(void **state) {
    (void)state;
    JUDGE({"ss", HEALTH_FINE, HEALTH_SILENT}, {"ssssssssssssssss", HEALTH_SILENT, HEALTH_SILENT},
          {"ssvv", HEALTH_FINE, HEALTH_SILENT}, {"shs", HEALTH_FINE, HEALTH_NO_RECEIPT});
}

static void silence_after_violations_is_a_block(void **state) {
    (void)state;
    JUDGE({"ssvvv", HEALTH_SILENT, HEALTH_BLOCKED}, {"ssvhvhv", HEALTH_FINE, HEALTH_BLOCKED},
          {"svvv", HEALTH_FINE, HEALTH_NO_RECEIPT}, {"rsosvvv", HEALTH_FINE, HEALTH_BLOCKED});
}

static void a_block_stays_until_the_phone_is_heard(void **state) {
    (void)state;
    JUDGE({"s", HEALTH_BLOCKED, HEALTH_BLOCKED}, {"ssssssssssssssss", HEALTH_BLOCKED, HEALTH_BLOCKED},
          {"", HEALTH_BLOCKED, HEALTH_BLOCKED}, {"hssvvv", HEALTH_BLOCKED, HEALTH_VIOLATIONS},
          {"hssvv", HEALTH_BLOCKED, HEALTH_FINE});
}

static void rows_that_say_nothing_change_nothing(void **state) {
    (void)state;
    JUDGE({"", HEALTH_FINE, HEALTH_FINE}, {"", HEALTH_SILENT, HEALTH_SILENT},
          {"", HEALTH_VIOLATIONS, HEALTH_VIOLATIONS});
    assert_int_equal(judged("rr", HEALTH_FINE).cause, HEALTH_FINE);
    assert_int_equal(judged("ro", HEALTH_SILENT).cause, HEALTH_SILENT);
}

static void violations_before_the_window_are_forgotten(void **state) {
    (void)state;
    JUDGE({"hhhhhhhhhhhhhvvv", HEALTH_FINE, HEALTH_VIOLATIONS}, {"hhhhhhhhhhhhhhvvv", HEALTH_FINE, HEALTH_FINE});
}

static void the_sentence_has_the_figures_and_the_way_back(void **state) {
    struct health h = judged("ssvvv", HEALTH_FINE);
    (void)state;
    assert_non_null(strstr(h.reason, "3 pushes were not reported"));
    assert_non_null(strstr(h.reason, "the 2 after them"));
    assert_non_null(strstr(h.reason, "new push token"));
    h = judged("sss", HEALTH_FINE);
    assert_non_null(strstr(h.reason, "3 pushes in a row"));
    assert_non_null(strstr(h.reason, "next receipt"));
}

static void causes_are_of_the_token_or_of_the_ledger(void **state) {
    static const enum device_health want[HEALTH_CAUSES] = {
        DEVICE_OK, DEVICE_SUSPECT, DEVICE_SUSPECT, DEVICE_SUSPECT, DEVICE_BLOCKED, DEVICE_SUSPECT, DEVICE_INVALID};
    (void)state;
    for (int i = 0; i < HEALTH_CAUSES; i++) {
        assert_int_equal(health_of_cause((enum health_cause)i), want[i]);
        assert_int_equal(health_is_of_token((enum health_cause)i), i >= HEALTH_TOKEN_MISFILED);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_was_heard_last_is_well),
        cmocka_unit_test(a_receipt_is_missed_when_it_is_time),
        cmocka_unit_test(silence_in_a_row_makes_suspect_and_nothing_more),
        cmocka_unit_test(silence_after_violations_is_a_block),
        cmocka_unit_test(a_block_stays_until_the_phone_is_heard),
        cmocka_unit_test(rows_that_say_nothing_change_nothing),
        cmocka_unit_test(violations_before_the_window_are_forgotten),
        cmocka_unit_test(the_sentence_has_the_figures_and_the_way_back),
        cmocka_unit_test(causes_are_of_the_token_or_of_the_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
