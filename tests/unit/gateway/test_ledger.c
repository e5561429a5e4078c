/* SPDX-License-Identifier: Apache-2.0 */
/* A push leaves at START_MS and rings until END_MS; times in the tests count from START_MS. */
#include "gateway/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define START_MS 1790000000000U
#define RING_MS  40000U
#define END_MS   (START_MS + RING_MS)
#define DAY_MS   86400000U
#define YES      1
#define NO       0
#define NULL_    (-1)

static struct ledger opened(void) {
    struct ledger l;
    struct ledger_known known = {.remaining_ms = RING_MS};
    ledger_open(&l, &known, START_MS, END_MS);
    l.accepted = true;
    return l;
}

static struct receipt said(int must_report, const char *reported, const char *error) {
    return (struct receipt){.call = "",
                            .push = "",
                            .must_report = must_report,
                            .app_state = "",
                            .on_call = -1,
                            .reported = reported,
                            .report_error = error};
}

/* A receipt that arrives so long after the push. */
static bool receipt_after(struct ledger *l, unsigned ms, int must_report, const char *reported, const char *error) {
    struct receipt r = said(must_report, reported, error);
    return ledger_receipt(l, &r, START_MS + ms);
}

static void assert_outcome(const struct ledger *l, enum ledger_outcome want) {
    assert_string_equal(ledger_outcome_name(l->outcome), ledger_outcome_name(want));
}

/* Prediction */

static void assert_predicted(struct ledger_known known, enum ledger_why why, bool must_report) {
    struct ledger l;
    ledger_open(&l, &known, START_MS, END_MS);
    assert_string_equal(ledger_why_name(l.why), ledger_why_name(why));
    assert_int_equal(ledger_predicted(&l), must_report);
}

static void a_sleeping_phone_is_expected_to_report(void **state) {
    (void)state;
    assert_predicted((struct ledger_known){.remaining_ms = RING_MS}, LEDGER_ASLEEP, true);
    assert_predicted((struct ledger_known){.remaining_ms = LEDGER_STALE_MS}, LEDGER_ASLEEP, true);
}

static void a_phone_in_the_foreground_is_expected_to_be_exempt(void **state) {
    (void)state;
    assert_predicted((struct ledger_known){.foreground = true, .remaining_ms = RING_MS}, LEDGER_FOREGROUND, false);
}

static void a_phone_on_a_call_is_expected_to_be_exempt(void **state) {
    (void)state;
    assert_predicted((struct ledger_known){.on_call = true, .remaining_ms = RING_MS}, LEDGER_ON_CALL, false);
}

static void a_push_at_the_end_of_its_ring_is_expected_to_be_stale(void **state) {
    (void)state;
    assert_predicted((struct ledger_known){.remaining_ms = LEDGER_STALE_MS - 1}, LEDGER_STALE, false);
    assert_predicted((struct ledger_known){.remaining_ms = 0}, LEDGER_STALE, false);
}

static void the_foreground_is_named_before_the_call_and_the_lateness(void **state) {
    (void)state;
    assert_predicted((struct ledger_known){.foreground = true, .on_call = true}, LEDGER_FOREGROUND, false);
    assert_predicted((struct ledger_known){.on_call = true}, LEDGER_ON_CALL, false);
}

static void names_are_those_of_the_api(void **state) {
    static const char *const outcomes[] = {"", "reported", "exempt", "violated", "late", "silent", "filtered"};
    static const char *const whys[] = {"asleep", "foreground", "on_call", "stale", "alert"};
    (void)state;
    for (int i = 0; i < LEDGER_OUTCOMES; i++)
        assert_string_equal(ledger_outcome_name((enum ledger_outcome)i), outcomes[i]);
    for (int i = LEDGER_ASLEEP; i <= LEDGER_ALERT; i++)
        assert_string_equal(ledger_why_name((enum ledger_why)i), whys[i]);
}

static void a_new_row_is_open_and_has_observed_nothing(void **state) {
    struct ledger l = opened();
    (void)state;
    assert_outcome(&l, LEDGER_OPEN);
    assert_int_equal(l.observed, NULL_);
    assert_int_equal(l.queued_ms, START_MS);
    assert_int_equal(ledger_due_ms(&l), END_MS);
}

static void of_an_alert_nothing_is_required(void **state) {
    struct ledger l;
    const struct ledger_known known = {.alert = true, .remaining_ms = RING_MS};
    (void)state;
    assert_predicted(known, LEDGER_ALERT, false);
    ledger_open(&l, &known, START_MS, END_MS);
    receipt_after(&l, 900, NULL_, "none", "");
    assert_outcome(&l, LEDGER_EXEMPT);
}

static void a_row_comes_back_as_the_ledger_that_it_was(void **state) {
    struct ledger l = opened(), back;
    struct push_row row = {0};
    struct receipt r = said(NO, "lck", "e");
    (void)state;
    r.network = "wifi";
    l.status = 200;
    l.written_ms = START_MS + 1;
    l.answered_ms = START_MS + 2;
    l.attached_ms = START_MS + 3;
    ledger_receipt(&l, &r, START_MS + 900);
    ledger_to_row(&row, &l);
    assert_string_equal(row.network, "wifi");
    ledger_from_row(&back, &row);
    assert_memory_equal(&back, &l, sizeof l);
}

/* Outcomes */

static void required_and_reported_is_reported(void **state) {
    struct ledger l = opened();
    (void)state;
    assert_true(receipt_after(&l, 900, YES, "callkit", ""));
    assert_outcome(&l, LEDGER_REPORTED);
    assert_int_equal(l.observed, YES);
    assert_int_equal(l.reported_ms, START_MS + 900);
    assert_int_equal(ledger_due_ms(&l), 0);
}

static void a_report_to_live_communication_kit_is_one(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, YES, "lck", "");
    assert_outcome(&l, LEDGER_REPORTED);
}

static void a_null_must_report_counts_as_true(void **state) {
    struct ledger reported = opened(), not_reported = opened();
    (void)state;
    receipt_after(&reported, 900, NULL_, "callkit", "");
    assert_outcome(&reported, LEDGER_REPORTED);
    assert_int_equal(reported.observed, NULL_);
    receipt_after(&not_reported, 900, NULL_, "none", "");
    assert_outcome(&not_reported, LEDGER_VIOLATED);
}

static void nothing_required_is_exempt_whether_reported_or_not(void **state) {
    static const char *const reported[] = {"", "none", "callkit"};
    (void)state;
    for (size_t i = 0; i < sizeof reported / sizeof *reported; i++) {
        struct ledger l = opened();
        receipt_after(&l, 900, NO, reported[i], "");
        assert_outcome(&l, LEDGER_EXEMPT);
        assert_int_equal(l.observed, NO);
    }
}

static void required_and_not_reported_is_violated_at_once(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, YES, "none", "");
    assert_outcome(&l, LEDGER_VIOLATED);
}

static void a_report_that_failed_is_violated(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, YES, "callkit", "unentitled");
    assert_outcome(&l, LEDGER_VIOLATED);
    assert_int_equal(l.reported_ms, 0);
    assert_string_equal(l.report_error, "unentitled");
}

static void a_call_that_the_system_already_has_is_reported(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, YES, "callkit", "callUUIDAlreadyExists");
    assert_outcome(&l, LEDGER_REPORTED);
}

static void do_not_disturb_and_block_lists_filter(void **state) {
    static const char *const errors[] = {"filteredByDoNotDisturb", "filteredByBlockList", "Filtered", "DND", "blocked"};
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct ledger l = opened();
        receipt_after(&l, 900, YES, "callkit", errors[i]);
        assert_outcome(&l, LEDGER_FILTERED);
    }
}

static void a_receipt_after_the_ring_is_late(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, RING_MS, YES, "callkit", "");
    assert_outcome(&l, LEDGER_LATE);
    l = opened();
    receipt_after(&l, RING_MS - 1, YES, "callkit", "");
    assert_outcome(&l, LEDGER_REPORTED);
}

static void a_receipt_after_the_ring_is_late_even_when_nothing_was_required(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, RING_MS, NO, "none", "");
    assert_outcome(&l, LEDGER_LATE);
}

static void a_report_after_the_ring_is_late(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, RING_MS - 500, YES, "", "");
    receipt_after(&l, RING_MS, YES, "callkit", "");
    assert_outcome(&l, LEDGER_LATE);
}

static void accepted_and_no_receipt_is_silent_at_the_end_of_the_ring(void **state) {
    struct ledger l = opened();
    (void)state;
    assert_false(ledger_tick(&l, END_MS - 1));
    assert_outcome(&l, LEDGER_OPEN);
    assert_true(ledger_tick(&l, END_MS));
    assert_outcome(&l, LEDGER_SILENT);
    assert_int_equal(ledger_due_ms(&l), 0);
}

static void what_apns_did_not_accept_is_never_silent(void **state) {
    struct ledger l = opened();
    (void)state;
    l.accepted = false;
    assert_false(ledger_tick(&l, END_MS + DAY_MS));
    assert_outcome(&l, LEDGER_OPEN);
}

static void a_phone_that_was_silent_and_comes_after_all_is_late(void **state) {
    struct ledger l = opened();
    (void)state;
    ledger_tick(&l, END_MS);
    assert_true(receipt_after(&l, RING_MS + 3000, YES, "callkit", ""));
    assert_outcome(&l, LEDGER_LATE);
}

static void no_report_within_the_limit_is_violated(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, YES, "", "");
    assert_outcome(&l, LEDGER_OPEN);
    assert_int_equal(ledger_due_ms(&l), START_MS + 900 + LEDGER_REPORT_LIMIT_MS);
    assert_false(ledger_tick(&l, START_MS + 899 + LEDGER_REPORT_LIMIT_MS));
    assert_true(ledger_tick(&l, START_MS + 900 + LEDGER_REPORT_LIMIT_MS));
    assert_outcome(&l, LEDGER_VIOLATED);
}

static void a_report_beyond_the_limit_is_violated(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, YES, "", "");
    receipt_after(&l, 901 + LEDGER_REPORT_LIMIT_MS, YES, "callkit", "");
    assert_outcome(&l, LEDGER_VIOLATED);
}

static void a_violation_stays_one_when_the_report_comes_after_the_ring(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, YES, "", "");
    ledger_tick(&l, START_MS + 900 + LEDGER_REPORT_LIMIT_MS);
    receipt_after(&l, RING_MS + 5000, YES, "callkit", "");
    assert_outcome(&l, LEDGER_VIOLATED);
}

static void a_report_at_the_limit_is_reported(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, YES, "", "");
    receipt_after(&l, 900 + LEDGER_REPORT_LIMIT_MS, YES, "callkit", "");
    assert_outcome(&l, LEDGER_REPORTED);
}

static void a_second_tick_changes_nothing(void **state) {
    struct ledger l = opened();
    (void)state;
    assert_true(ledger_tick(&l, END_MS));
    assert_false(ledger_tick(&l, END_MS));
    assert_false(ledger_tick(&l, END_MS + DAY_MS));
}

static void a_tick_leaves_a_decided_row_alone(void **state) {
    struct ledger l = opened();
    (void)state;
    l.outcome = LEDGER_FILTERED; /* for whatever reason */
    assert_false(ledger_tick(&l, END_MS));
    assert_outcome(&l, LEDGER_FILTERED);
}

/* Receipts twice, in parts and out of order */

static void the_same_receipt_again_changes_nothing(void **state) {
    static const struct {
        int must_report;
        const char *reported, *error;
    } receipts[] = {
        {YES, "callkit", ""}, {NO, "none", ""}, {YES, "none", ""}, {YES, "callkit", "filtered"}, {YES, "", ""}};
    (void)state;
    for (size_t i = 0; i < sizeof receipts / sizeof *receipts; i++) {
        struct ledger l = opened();
        assert_true(receipt_after(&l, 900, receipts[i].must_report, receipts[i].reported, receipts[i].error));
        struct ledger before;
        memcpy(&before, &l, sizeof before);
        assert_false(receipt_after(&l, 1500, receipts[i].must_report, receipts[i].reported, receipts[i].error));
        assert_memory_equal(&before, &l, sizeof l);
    }
}

static void the_report_may_follow_in_a_second_receipt(void **state) {
    struct ledger l = opened();
    (void)state;
    assert_true(receipt_after(&l, 900, YES, "", ""));
    assert_true(receipt_after(&l, 1400, NULL_, "callkit", ""));
    assert_outcome(&l, LEDGER_REPORTED);
    assert_int_equal(l.observed, YES);
    assert_int_equal(l.receipt_ms, START_MS + 900);
    assert_int_equal(l.reported_ms, START_MS + 1400);
}

static void must_report_may_follow_in_a_second_receipt(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, NULL_, "", "");
    assert_true(receipt_after(&l, 1400, NO, "", ""));
    assert_outcome(&l, LEDGER_EXEMPT);
}

static void not_yet_reported_may_be_followed_by_a_report(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, YES, "none", "");
    assert_true(receipt_after(&l, 1400, YES, "callkit", ""));
    assert_outcome(&l, LEDGER_REPORTED);
    assert_string_equal(l.reported, "callkit");
}

static void what_was_reported_stays_reported(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, YES, "callkit", "");
    assert_false(receipt_after(&l, 1400, YES, "none", ""));
    assert_false(receipt_after(&l, 1500, YES, "callkit", "filtered"));
    assert_false(receipt_after(&l, RING_MS + 1, YES, "lck", ""));
    assert_outcome(&l, LEDGER_REPORTED);
    assert_string_equal(l.reported, "callkit");
    assert_string_equal(l.report_error, "");
}

static void the_first_word_about_must_report_holds(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, NO, "", "");
    receipt_after(&l, 1400, YES, "none", "");
    assert_int_equal(l.observed, NO);
    assert_outcome(&l, LEDGER_EXEMPT);
}

static void an_error_is_forgotten_when_the_report_succeeds(void **state) {
    struct ledger l = opened();
    (void)state;
    receipt_after(&l, 900, YES, "callkit", "invalid");
    receipt_after(&l, 1400, YES, "callkit", "");
    assert_outcome(&l, LEDGER_REPORTED);
    assert_string_equal(l.report_error, "");
}

static void a_long_error_is_cut(void **state) {
    struct ledger l = opened();
    char error[256];
    (void)state;
    memset(error, 'e', sizeof error - 1);
    error[sizeof error - 1] = 0;
    receipt_after(&l, 900, YES, "callkit", error);
    assert_int_equal(strlen(l.report_error), sizeof l.report_error - 1);
    assert_false(receipt_after(&l, 1400, YES, "callkit", error));
}

/* Clocks */

static void received_at(struct ledger *l, uint64_t received_ms) {
    struct receipt r = said(YES, "callkit", "");
    r.received_ms = received_ms;
    ledger_receipt(l, &r, START_MS + 900);
}

static void the_phones_own_time_of_arrival_is_kept(void **state) {
    struct ledger l = opened();
    (void)state;
    received_at(&l, START_MS + 350);
    assert_int_equal(l.received_ms, START_MS + 350);
    assert_int_equal(l.receipt_ms, START_MS + 900);
}

static void a_phone_that_says_no_time_is_taken_at_the_receipts_arrival(void **state) {
    struct ledger l = opened();
    (void)state;
    received_at(&l, 0);
    assert_int_equal(l.received_ms, START_MS + 900);
}

static void a_clock_that_is_off_by_a_day_says_nothing(void **state) {
    const uint64_t now_ms = START_MS + 900;
    const uint64_t kept[] = {now_ms + DAY_MS - 1, now_ms - DAY_MS + 1},
                   dropped[] = {now_ms + DAY_MS, now_ms - DAY_MS, 1};
    (void)state;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        struct ledger l = opened();
        received_at(&l, kept[i]);
        assert_int_equal(l.received_ms, kept[i]);
    }
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++) {
        struct ledger l = opened();
        received_at(&l, dropped[i]);
        assert_int_equal(l.received_ms, now_ms);
    }
}

static void outcomes_follow_our_clock_and_not_the_phones(void **state) {
    struct ledger l = opened();
    (void)state;
    received_at(&l, END_MS + 5000); /* its clock runs 44 s fast */
    assert_outcome(&l, LEDGER_REPORTED);
}

static void the_second_receipt_does_not_move_the_time_of_arrival(void **state) {
    struct ledger l = opened();
    struct receipt r = said(YES, "", "");
    (void)state;
    r.received_ms = START_MS + 350;
    ledger_receipt(&l, &r, START_MS + 900);
    r.received_ms = START_MS + 2000;
    ledger_receipt(&l, &r, START_MS + 2100);
    assert_int_equal(l.received_ms, START_MS + 350);
    assert_int_equal(l.receipt_ms, START_MS + 900);
}

/* The receipt's JSON */

#define CALL "11111111-2222-4333-8444-555555555555"
#define PUSH "66666666-7777-4888-8999-aaaaaaaaaaaa"
#define IDS  "\"call\":\"" CALL "\",\"push\":\"" PUSH "\""

static void assert_read(const char *text, void (*check)(const struct receipt *r)) {
    struct receipt r;
    struct field_error fe = {"", {""}};
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    if (receipt_read(&r, o, &fe) != 0)
        fail_msg("%s", fe.text.s);
    check(&r);
    json_decref(o);
}

static void check_full(const struct receipt *r) {
    assert_string_equal(r->call, CALL);
    assert_string_equal(r->push, PUSH);
    assert_int_equal(r->must_report, YES);
    assert_string_equal(r->app_state, "background");
    assert_int_equal(r->on_call, NO);
    assert_int_equal(r->received_ms, 1767323045678);
    assert_string_equal(r->reported, "callkit");
    assert_string_equal(r->report_error, "why not");
}

static void a_receipt_is_read_with_all_its_fields(void **state) {
    (void)state;
    assert_read("{" IDS ",\"must_report\":true,\"app_state\":\"background\",\"on_call\":false,"
                "\"received_at\":\"2026-01-02T03:04:05.678Z\",\"reported\":\"callkit\",\"report_error\":\"why not\"}",
                check_full);
}

static void check_bare(const struct receipt *r) {
    assert_int_equal(r->must_report, NULL_);
    assert_int_equal(r->on_call, -1);
    assert_int_equal(r->received_ms, 0);
    assert_string_equal(r->app_state, "");
    assert_string_equal(r->reported, "");
    assert_string_equal(r->report_error, "");
}

static void what_a_receipt_does_not_say_stays_open(void **state) {
    (void)state;
    assert_read("{" IDS "}", check_bare);
    assert_read("{" IDS ",\"must_report\":null,\"on_call\":null,\"received_at\":null,\"reported\":null}", check_bare);
}

static void a_receipt_with_a_bad_field_is_refused_by_name(void **state) {
    static const struct {
        const char *text, *field;
    } bad[] = {{"{\"call\":\"" CALL "\"}", "push"},
               {"{\"push\":\"" PUSH "\"}", "call"},
               {"{" IDS ",\"must_report\":\"true\"}", "must_report"},
               {"{" IDS ",\"reported\":\"yes\"}", "reported"},
               {"{" IDS ",\"received_at\":\"noon\"}", "received_at"},
               {"{\"call\":\"" CALL "0\",\"push\":\"" PUSH "\"}", "call"}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct receipt r;
        struct field_error fe = {"", {""}};
        json_t *o = json_loads(bad[i].text, 0, NULL);
        assert_int_equal(receipt_read(&r, o, &fe), E_MALFORMED);
        assert_string_equal(fe.field, bad[i].field);
        json_decref(o);
    }
}

static void only_a_report_without_an_error_counts(void **state) {
    struct receipt r = said(YES, "callkit", "");
    (void)state;
    assert_true(receipt_reported(&r));
    r = said(YES, "lck", "");
    assert_true(receipt_reported(&r));
    r = said(YES, "none", "");
    assert_false(receipt_reported(&r));
    r = said(YES, "", "");
    assert_false(receipt_reported(&r));
    r = said(YES, "callkit", "unknown");
    assert_false(receipt_reported(&r));
    r = said(YES, "none", "callUUIDAlreadyExists");
    assert_false(receipt_reported(&r));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_an_alert_nothing_is_required),
        cmocka_unit_test(a_row_comes_back_as_the_ledger_that_it_was),
        cmocka_unit_test(a_sleeping_phone_is_expected_to_report),
        cmocka_unit_test(a_phone_in_the_foreground_is_expected_to_be_exempt),
        cmocka_unit_test(a_phone_on_a_call_is_expected_to_be_exempt),
        cmocka_unit_test(a_push_at_the_end_of_its_ring_is_expected_to_be_stale),
        cmocka_unit_test(the_foreground_is_named_before_the_call_and_the_lateness),
        cmocka_unit_test(names_are_those_of_the_api),
        cmocka_unit_test(a_new_row_is_open_and_has_observed_nothing),
        cmocka_unit_test(required_and_reported_is_reported),
        cmocka_unit_test(a_report_to_live_communication_kit_is_one),
        cmocka_unit_test(a_null_must_report_counts_as_true),
        cmocka_unit_test(nothing_required_is_exempt_whether_reported_or_not),
        cmocka_unit_test(required_and_not_reported_is_violated_at_once),
        cmocka_unit_test(a_report_that_failed_is_violated),
        cmocka_unit_test(a_call_that_the_system_already_has_is_reported),
        cmocka_unit_test(do_not_disturb_and_block_lists_filter),
        cmocka_unit_test(a_receipt_after_the_ring_is_late),
        cmocka_unit_test(a_receipt_after_the_ring_is_late_even_when_nothing_was_required),
        cmocka_unit_test(a_report_after_the_ring_is_late),
        cmocka_unit_test(accepted_and_no_receipt_is_silent_at_the_end_of_the_ring),
        cmocka_unit_test(what_apns_did_not_accept_is_never_silent),
        cmocka_unit_test(a_phone_that_was_silent_and_comes_after_all_is_late),
        cmocka_unit_test(no_report_within_the_limit_is_violated),
        cmocka_unit_test(a_report_beyond_the_limit_is_violated),
        cmocka_unit_test(a_violation_stays_one_when_the_report_comes_after_the_ring),
        cmocka_unit_test(a_report_at_the_limit_is_reported),
        cmocka_unit_test(a_second_tick_changes_nothing),
        cmocka_unit_test(a_tick_leaves_a_decided_row_alone),
        cmocka_unit_test(the_same_receipt_again_changes_nothing),
        cmocka_unit_test(the_report_may_follow_in_a_second_receipt),
        cmocka_unit_test(must_report_may_follow_in_a_second_receipt),
        cmocka_unit_test(not_yet_reported_may_be_followed_by_a_report),
        cmocka_unit_test(what_was_reported_stays_reported),
        cmocka_unit_test(the_first_word_about_must_report_holds),
        cmocka_unit_test(an_error_is_forgotten_when_the_report_succeeds),
        cmocka_unit_test(a_long_error_is_cut),
        cmocka_unit_test(the_phones_own_time_of_arrival_is_kept),
        cmocka_unit_test(a_phone_that_says_no_time_is_taken_at_the_receipts_arrival),
        cmocka_unit_test(a_clock_that_is_off_by_a_day_says_nothing),
        cmocka_unit_test(outcomes_follow_our_clock_and_not_the_phones),
        cmocka_unit_test(the_second_receipt_does_not_move_the_time_of_arrival),
        cmocka_unit_test(a_receipt_is_read_with_all_its_fields),
        cmocka_unit_test(what_a_receipt_does_not_say_stays_open),
        cmocka_unit_test(a_receipt_with_a_bad_field_is_refused_by_name),
        cmocka_unit_test(only_a_report_without_an_error_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
