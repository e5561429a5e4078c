/* SPDX-License-Identifier: Apache-2.0 */
/* The must-report ledger: for each push, what the gateway expected of iOS, what the phone saw, and how it ended. Times
 * are Unix milliseconds. Thread: any. */
#ifndef GATEWAY_LEDGER_H
#define GATEWAY_LEDGER_H

#include "gateway/fields.h"
#include "gateway/store.h"

/* iOS looks a second time about 7 s after a delivery whether the call was reported. */
#define LEDGER_REPORT_LIMIT_MS 7000
/* A push that leaves so shortly before its ring's end is found late by the phone. */
#define LEDGER_STALE_MS 2500

#define LEDGER_NETWORK_BYTES 17

/* LEDGER_ALERT: a visible alert push, of which nothing is ever required. */
enum ledger_why { LEDGER_ASLEEP, LEDGER_FOREGROUND, LEDGER_ON_CALL, LEDGER_STALE, LEDGER_ALERT };

enum ledger_outcome {
    LEDGER_OPEN,
    LEDGER_REPORTED,
    LEDGER_EXEMPT,
    LEDGER_VIOLATED,
    LEDGER_LATE,
    LEDGER_SILENT,
    LEDGER_FILTERED,
    LEDGER_OUTCOMES
};

/* What a phone says about a push. Texts belong to the message that it was read from. */
struct receipt {
    const char *call, *push;
    int must_report; /* 1, 0, -1: null, which counts as true */
    const char *app_state;
    int on_call;          /* 1, 0, -1: not said */
    uint64_t received_ms; /* 0: not said */
    const char *reported; /* "callkit", "lck", "none", "": not said */
    const char *report_error;
    const char *network; /* "wifi", "cellular", what the phone calls it; "": not said */
};

/* The JSON of a receipt, over REST and WebSocket. */
int receipt_read(struct receipt *r, const json_t *o, struct field_error *fe);
/* The report failed because of Do Not Disturb or a block list: a final answer. */
bool receipt_filtered(const struct receipt *r);
/* The call was reported to the system. */
bool receipt_reported(const struct receipt *r);

struct ledger_known {
    bool alert;               /* the push is a visible alert */
    bool foreground, on_call; /* the phone's last known state */
    uint64_t remaining_ms;    /* of the ring */
};

struct ledger {
    enum ledger_why why;
    int observed;
    bool accepted; /* by APNs */
    char reported[8], report_error[48], network[LEDGER_NETWORK_BYTES];
    enum ledger_outcome outcome;
    int status;
    char reason[160]; /* of APNs, or why it was not asked */
    uint64_t ring_end_ms;
    uint64_t receipt_ms; /* the first receipt's arrival here; 0: none */
    uint64_t queued_ms, written_ms, answered_ms, received_ms, reported_ms, attached_ms;
};

void ledger_open(struct ledger *l, const struct ledger_known *known, uint64_t now_ms, uint64_t ring_end_ms);
/* A row as it was stored. */
void ledger_from_row(struct ledger *l, const struct push_row *row);
/* What ledger and row share; the row's texts are the ledger's, or static. */
void ledger_to_row(struct push_row *row, const struct ledger *l);
bool ledger_predicted(const struct ledger *l);
/* Enter a receipt. The same one again changes nothing. Returns whether anything changed. */
bool ledger_receipt(struct ledger *l, const struct receipt *r, uint64_t now_ms);
/* Time passes: silent at the ring's end, violated at the report limit. Returns whether the outcome changed. */
bool ledger_tick(struct ledger *l, uint64_t now_ms);
/* When ledger_tick may decide next; 0: never. */
uint64_t ledger_due_ms(const struct ledger *l);

const char *ledger_why_name(enum ledger_why w);
const char *ledger_outcome_name(enum ledger_outcome o); /* "" while open */

#endif
