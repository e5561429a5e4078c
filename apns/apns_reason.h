/* SPDX-License-Identifier: Apache-2.0 */
/* The documented statuses and reasons of APNs, as one table for client and simulator (Apple, "Handling notification
 * responses from APNs"). */
#ifndef APNS_APNS_REASON_H
#define APNS_APNS_REASON_H

#include "apns/apns.h"

/* What an answer leads to besides its verdict. */
enum apns_policy {
    APNS_POLICY_BREAK = 1,        /* the credential is refused: close all its connections, pause, alarm */
    APNS_POLICY_TOPIC = 2,        /* renew connections that may be older than the topic; alarm: key against topic */
    APNS_POLICY_CLOCK = 4,        /* the provider token has expired; alarm when it cannot have */
    APNS_POLICY_COUNT = 8,        /* many of these at once are not the tokens' fault: count, withhold the verdict */
    APNS_POLICY_ENVIRONMENT = 16, /* a new token may belong to the other environment */
    APNS_POLICY_BUG = 32,         /* alarm: never to be sent */
    APNS_POLICY_LATER = 64,       /* others than rings: not before 15 minutes (Apple) */
    APNS_POLICY_FREE = 128        /* it was not processed, and the connection goes: another try costs nothing */
};

struct apns_reason {
    const char *name; /* e.g. "BadDeviceToken" */
    int status;
    enum apns_verdict verdict;
    bool retry_elsewhere;  /* a ring may be tried once more on another connection */
    bool close_connection; /* the connection is of no use afterwards */
    const char *mend;      /* what an operator should do, one sentence; "" when nothing */
    unsigned policy;       /* enum apns_policy, or-ed */
};

/* All rows; *count gets their number. */
const struct apns_reason *apns_reason_table(size_t *count);
/* The row, or for an unknown reason a generic row by status class. Never NULL. */
const struct apns_reason *apns_reason_find(int status, const char *name);

#endif
