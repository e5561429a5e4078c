/* SPDX-License-Identifier: Apache-2.0 */
/* The documented statuses and reasons of APNs, as one table for client and simulator (Apple, "Handling notification
 * responses from APNs"). */
#ifndef APNS_APNS_REASON_H
#define APNS_APNS_REASON_H

#include "apns/apns.h"

struct apns_reason {
    const char *name; /* e.g. "BadDeviceToken" */
    int status;
    enum apns_verdict verdict;
    bool retry_elsewhere;  /* a ring may be tried once more on another connection */
    bool close_connection; /* the connection is of no use afterwards */
    const char *mend;      /* what an operator should do, one sentence; "" when nothing */
};

/* All rows; *count gets their number. */
const struct apns_reason *apns_reason_table(size_t *count);
/* The row, or for an unknown reason a generic row by status class. Never NULL. */
const struct apns_reason *apns_reason_find(int status, const char *name);

#endif
