/* SPDX-License-Identifier: Apache-2.0 */
/* What can be wrong with a push before it is sent (Apple, "Sending notification requests to APNs"). Thread: any. */
#ifndef APNS_APNS_PREFLIGHT_H
#define APNS_APNS_PREFLIGHT_H

#include "apns/apns.h"

/* Returns 0, or E_INVAL with a sentence that names the field. */
int apns_preflight(const struct apns_push *p, struct err_text *et);
const char *apns_push_type_name(enum apns_push_type t); /* "voip", ... */

#endif
