/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/health.h"

#include <stdio.h>

struct seen {
    unsigned silent;     /* in a row, up to now */
    unsigned violations; /* among all */
    bool any;            /* a row that says something */
};

enum device_health health_of_cause(enum health_cause c) {
    static const enum device_health of[HEALTH_CAUSES] = {
        [HEALTH_FINE] = DEVICE_OK,
        [HEALTH_NO_RECEIPT] = DEVICE_SUSPECT,
        [HEALTH_SILENT] = DEVICE_SUSPECT,
        [HEALTH_VIOLATIONS] = DEVICE_SUSPECT,
        [HEALTH_BLOCKED] = DEVICE_BLOCKED,
        [HEALTH_TOKEN_MISFILED] = DEVICE_SUSPECT,
        [HEALTH_TOKEN_INVALID] = DEVICE_INVALID,
    };
    return of[c];
}

bool health_is_of_token(enum health_cause c) {
    return c == HEALTH_TOKEN_MISFILED || c == HEALTH_TOKEN_INVALID;
}

static struct seen look(const struct health_row *rows, size_t count, const struct config_must_report *rules,
                        uint64_t now_ms) {
    struct seen s = {0};
    bool heard = false;
    for (size_t i = 0; i < count && i < HEALTH_ROWS_MAX; i++) {
        const struct health_row *r = &rows[i];
        if (!r->heard && (!r->accepted || (r->open && now_ms < r->queued_ms + rules->suspect_after_ms)))
            continue;
        s.any = true;
        s.violations += r->violated;
        heard = heard || r->heard;
        s.silent += !heard;
    }
    return s;
}

/* That a push is lost now and then is known of healthy phones (facts: accepted, and nothing arrives), and that iOS
 * stops launching an app is known after repeated failures to report, and of no other reason. So silence alone makes a
 * phone suspect, and silence that follows on violations blocked. One violation fewer, or one receipt since, and it is
 * not. */
static enum health_cause cause_of(const struct seen *s, const struct config_must_report *rules,
                                  enum health_cause before) {
    if (!s->any)
        return before;
    if (s->silent == 0)
        return s->violations >= rules->blocked_violations ? HEALTH_VIOLATIONS : HEALTH_FINE;
    if (before == HEALTH_BLOCKED || (s->violations >= rules->blocked_violations && s->silent >= rules->blocked_silent))
        return HEALTH_BLOCKED;
    return s->silent >= rules->suspect_silent ? HEALTH_SILENT : HEALTH_NO_RECEIPT;
}

bool health_judge(struct health *h, const struct health_row *rows, size_t count, const struct config_must_report *rules,
                  enum health_cause before, uint64_t now_ms) {
    struct seen s = look(rows, count, rules, now_ms);
    h->cause = cause_of(&s, rules, before);
    h->reason[0] = 0;
    if (!s.any)
        return false;
    if (h->cause == HEALTH_NO_RECEIPT)
        snprintf(h->reason, sizeof h->reason,
                 "APNs accepted the latest push, and no receipt came in time; the next receipt mends it");
    else if (h->cause == HEALTH_SILENT)
        snprintf(h->reason, sizeof h->reason,
                 "%u pushes in a row were accepted by APNs and not heard of; the next receipt mends it", s.silent);
    else if (h->cause == HEALTH_VIOLATIONS)
        snprintf(h->reason, sizeof h->reason,
                 "%u of the latest %d pushes were not reported as calls, and iOS is about to stop launching the app; "
                 "the app "
                 "must report each call, and this is forgotten as reported calls follow",
                 s.violations, HEALTH_ROWS_MAX);
    else if (h->cause == HEALTH_BLOCKED)
        snprintf(h->reason, sizeof h->reason,
                 "%u pushes were not reported as calls, and the %u after them not heard of: iOS very probably does not "
                 "launch "
                 "the app any more; a new push token (the app installed again) or a receipt of a VoIP push mends it",
                 s.violations, s.silent);
    return true;
}
