/* SPDX-License-Identifier: Apache-2.0 */
/* What APNs' answers say about a device's token. One refusal of a token that was accepted before may be a mistake
 * elsewhere (a certificate, the environment): the device is tried once more, away from the others' connection. */
#include "base/clock.h"
#include "base/log.h"
#include "gateway/devices_priv.h"

#include <stdio.h>
#include <string.h>

#define THROTTLE_S 30 /* where APNs does not say how long */

static void set_health(struct device *dev, enum health_cause cause, const char *why) {
    dev->health_cause = cause;
    snprintf(dev->health_reason, sizeof dev->health_reason, "%s", why);
}

static void accepted(struct device *dev, const struct device_verdict *v) {
    if (!dev->token_accepted_ms)
        dev->token_accepted_ms = clock_wall_ms();
    dev->token_refused = false;
    dev->sandbox = v->sandbox;
    if (dev->health_cause == HEALTH_TOKEN_MISFILED)
        set_health(dev, HEALTH_FINE, "");
}

static void invalid(struct device *dev, const struct device_verdict *v) {
    char why[sizeof dev->health_reason];
    if (v->invalid_since_ms && dev->token_updated_ms > v->invalid_since_ms)
        return; /* registered again since it died */
    if (v->status != 410 && dev->token_accepted_ms && !dev->token_refused) {
        dev->token_refused = true;
        return;
    }
    snprintf(why, sizeof why, "APNs refused the push token (%d %.40s); the app must register a new one", v->status,
             v->reason);
    set_health(dev, HEALTH_TOKEN_INVALID, why);
}

static void misfiled(struct device *dev, const struct device_verdict *v) {
    (void)v;
    dev->token_refused = true;
    set_health(dev, HEALTH_TOKEN_MISFILED,
               "APNs knows this token under another topic; the app must register PushKit's VoIP token");
}

static void throttled(struct device *dev, const struct device_verdict *v) {
    dev->throttled_until_ms = clock_wall_ms() + (v->retry_after_s ? v->retry_after_s : THROTTLE_S) * 1000ULL;
}

/* The other verdicts are not about the token. */
static void (*const learn[])(struct device *dev, const struct device_verdict *v) = {
    [APNS_ACCEPTED] = accepted,
    [APNS_TOKEN_INVALID] = invalid,
    [APNS_TOKEN_MISFILED] = misfiled,
    [APNS_THROTTLED] = throttled,
};

static void say(const struct device *dev, const struct device *before, const struct device_verdict *v) {
    if (dev->sandbox != before->sandbox)
        log_warn("device environment", log_s("device", dev->id), log_s("tenant", dev->tenant),
                 log_s("environment", dev->sandbox ? "sandbox" : "production"),
                 log_s("why", "APNs refused the token in the other one and took it here"));
    if (dev->token_refused && !before->token_refused)
        log_warn("device token refused", log_s("device", dev->id), log_s("tenant", dev->tenant),
                 log_i("status", v->status), log_s("reason", v->reason));
}

void devices_token_verdict(struct devices *d, const struct device_verdict *v) {
    const struct device *known = devices_get(d, v->tenant, v->id);
    bool told = (size_t)v->verdict < sizeof learn / sizeof *learn && learn[v->verdict];
    if (!told || !known || known->token_updated_ms != v->token_updated_ms)
        return;
    struct device before = *known, dev = *known;
    learn[v->verdict](&dev, v);
    say(&dev, &before, v);
    devices_learn(d, &dev);
}

enum apns_lane device_lane(const struct device *dev) {
    return dev->token_accepted_ms && !dev->token_refused ? APNS_LANE_RING : APNS_LANE_PROBE;
}
