/* SPDX-License-Identifier: Apache-2.0 */
/* Why do pushes not work? Goes the way of a push step by step with blocking calls, and says in words what it finds and
 * how to mend it. Never says a secret. Thread: any, one at a time; not the loop's. */
#ifndef APNS_APNS_DOCTOR_H
#define APNS_APNS_DOCTOR_H

#include "apns/apns.h"

struct apns_doctor_config {
    const struct apns_credential_config *credential;
    const char *bundle_id;    /* the topic is BUNDLE.voip */
    const char *device_token; /* gets one real VoIP push; NULL: APNs is asked about a token that no device has, and its
                                 refusal tells that authentication and topic are good */
    /* One line for each step, in order: "dns", "tcp", ... */
    void (*say)(const char *step, bool good, const char *sentence, void *arg);
    void *arg;
};

/* Ends at the first step that fails; each takes 10 s at most. SIGPIPE must be ignored by the program. Returns 0, or the
 * failed step's error. */
int apns_doctor(const struct apns_doctor_config *cfg);

#endif
