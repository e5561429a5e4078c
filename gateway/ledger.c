/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/ledger.h"

#include <stdio.h>
#include <string.h>

#define CLOCK_SKEW_MS 86400000 /* a phone's clock that is off by more than a day says nothing */

static const char *const reported_choices[] = {"callkit", "lck", "none", NULL};

int receipt_read(struct receipt *r, const json_t *o, struct field_error *fe) {
    static const struct field fields[] = {
        {"call", FIELD_TEXT, offsetof(struct receipt, call), true, 36, NULL},
        {"push", FIELD_TEXT, offsetof(struct receipt, push), true, 36, NULL},
        {"must_report", FIELD_TRI, offsetof(struct receipt, must_report), false, 0, NULL},
        {"app_state", FIELD_TEXT, offsetof(struct receipt, app_state), false, 32, NULL},
        {"on_call", FIELD_TRI, offsetof(struct receipt, on_call), false, 0, NULL},
        {"received_at", FIELD_TIME, offsetof(struct receipt, received_ms), false, 0, NULL},
        {"reported", FIELD_CHOICE, offsetof(struct receipt, reported), false, 0, reported_choices},
        {"network", FIELD_TEXT, offsetof(struct receipt, network), false, LEDGER_NETWORK_BYTES - 1, NULL},
        {"report_error", FIELD_TEXT, offsetof(struct receipt, report_error), false, 256, NULL},
    };
    *r = (struct receipt){
        .must_report = -1, .app_state = "", .on_call = -1, .reported = "", .report_error = "", .network = ""};
    return fields_read(r, o, fields, sizeof fields / sizeof *fields, "", fe);
}

/* CallKit's own names (CXErrorCodeIncomingCallError) and LiveCommunicationKit's, however the app spells them. */
bool receipt_filtered(const struct receipt *r) {
    static const char *const words[] = {"filtered", "disturb", "dnd", "block"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasestr(r->report_error, words[i]))
            return true;
    return false;
}

bool receipt_reported(const struct receipt *r) {
    bool said = strcmp(r->reported, "callkit") == 0 || strcmp(r->reported, "lck") == 0;
    /* CXErrorCodeIncomingCallErrorCallUUIDAlreadyExists: the system has this call already. */
    return said && (r->report_error[0] == 0 || strcasestr(r->report_error, "AlreadyExists"));
}

void ledger_open(struct ledger *l, const struct ledger_known *known, uint64_t now_ms, uint64_t ring_end_ms) {
    memset(l, 0, sizeof *l);
    l->observed = -1;
    l->queued_ms = now_ms;
    l->ring_end_ms = ring_end_ms;
    l->why = known->alert                            ? LEDGER_ALERT
             : known->foreground                     ? LEDGER_FOREGROUND
             : known->on_call                        ? LEDGER_ON_CALL
             : known->remaining_ms < LEDGER_STALE_MS ? LEDGER_STALE
                                                     : LEDGER_ASLEEP;
}

bool ledger_predicted(const struct ledger *l) {
    return l->why == LEDGER_ASLEEP;
}

static bool is_filtered(const struct ledger *l) {
    struct receipt r = {.report_error = l->report_error};
    return receipt_filtered(&r);
}

/* What the row says by all that is known at now_ms. */
static enum ledger_outcome judge(const struct ledger *l, uint64_t now_ms) {
    if (l->receipt_ms == 0)
        return l->accepted && now_ms >= l->ring_end_ms ? LEDGER_SILENT : LEDGER_OPEN;
    if (l->receipt_ms >= l->ring_end_ms)
        return LEDGER_LATE;
    if (l->observed == 0 || l->why == LEDGER_ALERT)
        return LEDGER_EXEMPT;
    if (is_filtered(l))
        return LEDGER_FILTERED;
    if (l->reported_ms)
        return l->reported_ms > l->receipt_ms + LEDGER_REPORT_LIMIT_MS ? LEDGER_VIOLATED
               : l->reported_ms >= l->ring_end_ms                      ? LEDGER_LATE
                                                                       : LEDGER_REPORTED;
    if (l->reported[0])
        return LEDGER_VIOLATED;
    return now_ms >= l->receipt_ms + LEDGER_REPORT_LIMIT_MS ? LEDGER_VIOLATED : LEDGER_OPEN;
}

static bool same(const struct ledger *a, const struct ledger *b) {
    return a->receipt_ms == b->receipt_ms && a->reported_ms == b->reported_ms && a->observed == b->observed &&
           a->outcome == b->outcome && strcmp(a->network, b->network) == 0 && strcmp(a->reported, b->reported) == 0 &&
           strcmp(a->report_error, b->report_error) == 0;
}

bool ledger_receipt(struct ledger *l, const struct receipt *r, uint64_t now_ms) {
    struct ledger before = *l;
    if (l->receipt_ms == 0) {
        bool plausible =
            r->received_ms > 0 && r->received_ms < now_ms + CLOCK_SKEW_MS && r->received_ms + CLOCK_SKEW_MS > now_ms;
        l->receipt_ms = now_ms;
        l->received_ms = plausible ? r->received_ms : now_ms;
    }
    if (l->observed < 0)
        l->observed = r->must_report;
    if (!l->network[0] && r->network)
        snprintf(l->network, sizeof l->network, "%s", r->network);
    /* What was reported stays reported; "none" may be followed by a report. */
    if (!l->reported_ms) {
        if (r->reported[0])
            snprintf(l->reported, sizeof l->reported, "%s", r->reported);
        if (r->reported[0] || r->report_error[0])
            snprintf(l->report_error, sizeof l->report_error, "%s", r->report_error);
        if (receipt_reported(r))
            l->reported_ms = now_ms;
    }
    l->outcome = judge(l, now_ms);
    return !same(&before, l);
}

bool ledger_tick(struct ledger *l, uint64_t now_ms) {
    enum ledger_outcome before = l->outcome;
    if (before == LEDGER_OPEN)
        l->outcome = judge(l, now_ms);
    return l->outcome != before;
}

uint64_t ledger_due_ms(const struct ledger *l) {
    if (l->outcome != LEDGER_OPEN)
        return 0;
    return l->receipt_ms ? l->receipt_ms + LEDGER_REPORT_LIMIT_MS : l->ring_end_ms;
}

static const char *const why_names[] = {"asleep", "foreground", "on_call", "stale", "alert"};
static const char *const outcome_names[LEDGER_OUTCOMES] = {"",     "reported", "exempt",  "violated",
                                                           "late", "silent",   "filtered"};

const char *ledger_why_name(enum ledger_why w) {
    return why_names[w];
}

const char *ledger_outcome_name(enum ledger_outcome o) {
    return outcome_names[o];
}

static int by_name(const char *const *names, int count, const char *name) {
    int i = count;
    while (i > 0 && strcmp(names[i], name) != 0)
        i--;
    return i;
}

void ledger_from_row(struct ledger *l, const struct push_row *row) {
    *l = (struct ledger){.why = (enum ledger_why)by_name(why_names, LEDGER_ALERT, row->predicted_why),
                         .outcome = (enum ledger_outcome)by_name(outcome_names, LEDGER_OUTCOMES - 1, row->outcome),
                         .observed = row->observed,
                         .accepted = row->status == 200,
                         .status = row->status,
                         .ring_end_ms = row->ring_end_ms,
                         .receipt_ms = row->receipt_ms,
                         .queued_ms = row->queued_ms,
                         .written_ms = row->written_ms,
                         .answered_ms = row->answered_ms,
                         .received_ms = row->received_ms,
                         .reported_ms = row->reported_ms,
                         .attached_ms = row->attached_ms};
    snprintf(l->reported, sizeof l->reported, "%s", row->reported);
    snprintf(l->report_error, sizeof l->report_error, "%s", row->report_error);
    snprintf(l->network, sizeof l->network, "%s", row->network);
    snprintf(l->reason, sizeof l->reason, "%s", row->reason);
}

void ledger_to_row(struct push_row *row, const struct ledger *l) {
    row->predicted = ledger_predicted(l);
    row->predicted_why = ledger_why_name(l->why);
    row->observed = l->observed;
    row->reported = l->reported;
    row->report_error = l->report_error;
    row->outcome = ledger_outcome_name(l->outcome);
    row->status = l->status;
    row->reason = l->reason;
    row->queued_ms = l->queued_ms;
    row->written_ms = l->written_ms;
    row->answered_ms = l->answered_ms;
    row->received_ms = l->received_ms;
    row->reported_ms = l->reported_ms;
    row->attached_ms = l->attached_ms;
    row->receipt_ms = l->receipt_ms;
    row->network = l->network;
    row->ring_end_ms = l->ring_end_ms;
}
