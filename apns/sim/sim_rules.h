/* SPDX-License-Identifier: Apache-2.0 */
/* What APNs checks of a request, in its order: one small function a rule. Thread: the loop's. */
#ifndef APNS_SIM_SIM_RULES_H
#define APNS_SIM_SIM_RULES_H

#include "apns/sim/sim_priv.h"

struct sim_verdict {
    int status;
    const char *reason;    /* "" with 200 */
    uint64_t timestamp_ms; /* 410 */
    int64_t retry_after_s; /* 0: none */
};

/* Judge a request that came on a connection with this provider-token state. now_ms: virtual. */
void sim_rules_judge(struct sim *s, struct sim_provider *provider, const struct sim_request *r, uint64_t now_ms,
                     struct sim_verdict *v);

#endif
