/* SPDX-License-Identifier: Apache-2.0 */
/* A device's health, from its recent rows of the must-report ledger: rows in, health and a sentence out. What APNs says
 * about the token (device_token.c) comes before all of this. Thread: any. */
#ifndef GATEWAY_HEALTH_H
#define GATEWAY_HEALTH_H

#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEALTH_ROWS_MAX     CONFIG_LEDGER_ROWS
#define HEALTH_REASON_BYTES 256

enum device_health { DEVICE_OK, DEVICE_SUSPECT, DEVICE_BLOCKED, DEVICE_INVALID, DEVICE_HEALTHS };

/* Stored: the order is kept. */
enum health_cause {
    HEALTH_FINE,
    HEALTH_NO_RECEIPT, /* the latest push has no receipt although it is time */
    HEALTH_SILENT,     /* several in a row were not heard of */
    HEALTH_VIOLATIONS, /* calls were not reported: iOS is about to block the app */
    HEALTH_BLOCKED,
    HEALTH_TOKEN_MISFILED,
    HEALTH_TOKEN_INVALID,
    HEALTH_CAUSES
};

/* One VoIP push to the device. */
struct health_row {
    bool accepted;      /* by APNs; other rows say nothing about the phone */
    bool heard;         /* a receipt came, or the phone attached for it */
    bool open;          /* it may still be heard of in time */
    bool violated;      /* a report was due, and did not come in time */
    uint64_t queued_ms; /* Unix */
};

struct health {
    enum health_cause cause;
    char reason[HEALTH_REASON_BYTES]; /* what is wrong, and the way back; "" when fine */
};

/* rows: newest first, those since the present token was registered; before: the cause until now, which holds where the
 * rows say nothing, because rows are pruned and the phone is as it was. Returns false then. */
bool health_judge(struct health *h, const struct health_row *rows, size_t count, const struct config_must_report *rules,
                  enum health_cause before, uint64_t now_ms);
enum device_health health_of_cause(enum health_cause c);
/* Of APNs, not of the ledger. */
bool health_is_of_token(enum health_cause c);

#endif
