/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_core_priv.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <utlist.h>

#define LATER_S 900 /* Apple: others than rings are not tried again before 15 minutes after a 5xx */

/* The breaker of a credential */

bool apns_policy_open(const struct apns_credential *c) {
    const struct apns_breaker *b = &c->breaker;
    return b->pause_ms == 0 || (apns_now_ms(c->core) >= b->until_ms && c->flying == 0);
}

/* Every connection that knows us by what was refused goes; one push at a time finds out when it is mended. */
static void trip(struct apns_credential *c) {
    struct apns_breaker *b = &c->breaker;
    struct apns_link *l;
    if (apns_now_ms(c->core) >= b->until_ms)
        b->pause_ms = b->pause_ms == 0                      ? APNS_BREAK_MIN_MS
                      : b->pause_ms * 2 > APNS_BREAK_MAX_MS ? APNS_BREAK_MAX_MS
                                                            : b->pause_ms * 2;
    b->until_ms = apns_now_ms(c->core) + b->pause_ms;
    DL_FOREACH(c->links, l) {
        if (l->state == APNS_LINK_UP)
            apns_link_retire(l, true);
    }
}

static void alarm_of(struct apns_credential *c, enum apns_alarm alarm, int status, const char *reason,
                     const char *mend) {
    char sentence[ERR_TEXT_BYTES];
    log_error("apns refuses", log_s("credential", c->name), log_i("status", status), log_s("reason", reason),
              log_s("mend", mend));
    snprintf(sentence, sizeof sentence, "APNs answers %d %.80s: %s", status, reason, mend);
    apns_core_alarm(c, alarm, sentence);
}

/* Many bad tokens at once */

static uint32_t hash(const char *s) {
    uint32_t h = 2166136261U; /* FNV-1a */
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 16777619U;
    return h;
}

static void count_answer(struct apns_credential *c) {
    struct apns_bad_tokens *b = &c->bad;
    if (apns_now_ms(c->core) - b->window_ms >= APNS_BAD_WINDOW_MS) {
        b->window_ms = apns_now_ms(c->core);
        b->different = b->answers = b->bad = 0;
    }
    b->answers++;
}

/* True when the verdict is to be withheld. */
static bool count_bad(struct apns_credential *c, const char *token) {
    struct apns_bad_tokens *b = &c->bad;
    uint64_t now_ms = apns_now_ms(c->core);
    uint32_t h = hash(token);
    bool known = false;
    for (unsigned i = 0; i < b->different && i < APNS_BAD_TOKENS_MAX; i++)
        known = known || b->seen[i] == h;
    b->bad++;
    if (!known && b->different < APNS_BAD_TOKENS_MAX)
        b->seen[b->different++] = h;
    if (b->different == APNS_BAD_TOKENS_MAX && b->bad * 2 > b->answers) {
        if (now_ms >= b->hold_until_ms)
            apns_core_alarm(c, APNS_ALARM_BAD_TOKENS,
                            "APNs refuses many device tokens as bad: probably the app's environment or bundle id is "
                            "set wrong; no token is given up for ten minutes");
        b->hold_until_ms = now_ms + APNS_BAD_HOLD_MS;
    }
    return now_ms < b->hold_until_ms;
}

/* A topic that was added to the key */

/* APNs learns a key's topics when a connection begins: what an older one says of a topic may be out of date. All of the
 * credential are renewed then, ten minutes apart at least. True when the answer came from one that goes for that. */
static bool renew_for_topic(const struct apns_link *from) {
    struct apns_credential *c = from->credential;
    uint64_t now_ms = apns_now_ms(c->core);
    struct apns_link *l;
    if (!from->token) /* a certificate's topics stand in it */
        return false;
    if (from->dialled_ms < c->renewed_ms)
        return true;
    if (now_ms - from->dialled_ms < APNS_TOPIC_OLD_MS ||
        (c->renewed_ms && now_ms - c->renewed_ms < APNS_TOPIC_AGAIN_MS))
        return false;
    c->renewed_ms = now_ms;
    log_info("apns connections renewed for a topic", log_s("credential", c->name));
    DL_FOREACH(c->links, l) {
        if (l->state != APNS_LINK_WAITING)
            apns_link_retire(l, true);
    }
    return true;
}

/* Answers */

static void about_the_credential(struct apns_link *l, const struct apns_reason *why, const struct apns_answer *a,
                                 bool outdated) {
    struct apns_credential *c = l->credential;
    if (why->policy & APNS_POLICY_BREAK) {
        trip(c);
        alarm_of(c, APNS_ALARM_CREDENTIAL, a->status, a->reason, why->mend);
    } else if (why->policy & APNS_POLICY_CLOCK) {
        bool wrong = l->token && apns_token_expired(l->token, &l->use, &c->core->now);
        if (wrong)
            alarm_of(c, APNS_ALARM_CLOCK, a->status, a->reason, why->mend);
        if (wrong && ++c->breaker.expired > APNS_TRIES_MAX)
            trip(c);
    } else if (a->status < 500) {
        c->breaker = (struct apns_breaker){0};
    }
    if ((why->policy & APNS_POLICY_TOPIC) && !outdated)
        alarm_of(c, APNS_ALARM_TOPIC, a->status, a->reason, why->mend);
    if (why->policy & APNS_POLICY_BUG)
        alarm_of(c, APNS_ALARM_BUG, a->status, a->reason, why->mend);
    if (why->close_connection)
        apns_link_retire(l, true);
    if (a->status >= 500 && a->retry_after_s)
        l->refused_until_ms = apns_now_ms(c->core) + (a->retry_after_s > 60 ? 60 : a->retry_after_s) * 1000ULL;
}

/* That it went out does not count: it was not processed. */
static void uncount_try(struct apns_item *p) {
    if (--p->tries == 0)
        p->written_us = 0;
}

static bool may_go_again(const struct apns_item *p, unsigned tries_max) {
    return p->tries < tries_max && apns_now_ms(p->credential->core) < p->deadline_ms;
}

static void go_again(struct apns_item *p, const struct apns_link *from, struct metric *m) {
    p->avoid = from->serial;
    p->avoid_addr = from->peer;
    p->hedge_at_ms = 0;
    metric_add(m, 1);
    if (apns_lane_enqueue(p, p->credential, p->queue_lane) == 0)
        apns_item_arm(p);
    else
        apns_item_fail(p, APNS_SERVER_ERROR, E_NOMEM);
}

static void save(struct apns_item *p, const struct apns_reason *why, const struct apns_answer *a) {
    p->saved = why;
    p->saved_status = a->status;
    snprintf(p->saved_reason, sizeof p->saved_reason, "%s", a->reason);
}

/* Once, on the other environment's probe lane. */
static bool probe_pair(struct apns_item *p) {
    struct apns_credential *other = p->credential->pair;
    if (p->lane != APNS_LANE_PROBE || p->probed || !other || p->flying || apns_now_ms(other->core) >= p->deadline_ms ||
        other->queued >= APNS_QUEUE_MAX)
        return false;
    p->probed = true;
    p->tries = 0;
    p->avoid = 0;
    p->avoid_addr = (struct addr){0};
    p->hedge_at_ms = 0;
    if (apns_lane_enqueue(p, other, APNS_LANE_PROBE) != 0)
        return false;
    apns_item_arm(p);
    return true;
}

static void finish(struct apns_item *p, const struct apns_reason *why, const struct apns_answer *a, bool withhold) {
    struct apns_credential *c = p->credential;
    struct apns_result r = {.verdict = why->verdict,
                            .status = a->status,
                            .reason = a->reason,
                            .timestamp_ms = a->timestamp_ms,
                            .apns_id = a->apns_id,
                            .answered_us = c->core->now.mono_us,
                            .credential = c,
                            .retry_after_s = a->retry_after_s,
                            .unique_id = a->unique_id};
    if (p->lane != APNS_LANE_RING && (why->policy & APNS_POLICY_LATER) && r.retry_after_s < LATER_S)
        r.retry_after_s = LATER_S;
    if (p->credential != p->home && a->status != 200) { /* the pair did not take it: the first answer stands */
        r.verdict = p->saved->verdict;
        r.status = p->saved_status;
        r.reason = p->saved_reason;
        r.credential = p->home;
        withhold = withhold || apns_now_ms(c->core) < p->home->bad.hold_until_ms;
    }
    if (withhold && r.verdict == APNS_TOKEN_INVALID)
        r.verdict = APNS_TOKEN_DOUBTFUL;
    apns_item_finish(p, &r);
}

static void on_answered(void *tag, const struct apns_answer *a, void *arg) {
    struct apns_flight *f = tag;
    struct apns_item *p = f->item;
    struct apns_link *l = arg;
    struct apns_credential *c = l->credential;
    const struct apns_reason *why = apns_reason_find(a->status, a->reason);
    bool outdated = (why->policy & APNS_POLICY_TOPIC) && renew_for_topic(l);
    bool again = why->retry_elsewhere || outdated;
    apns_flight_end(f);
    l->unanswered = l->failures = 0;
    l->answers++;
    count_answer(c);
    metric_observe_us(c->core->answer_time, c->core->now.mono_us - p->written_us);
    about_the_credential(l, why, a, outdated);
    c->meters.rejected += a->status != 200 && a->status != 410;
    bool later = p->lane == APNS_LANE_BULK && (why->policy & APNS_POLICY_LATER);
    if ((why->policy & APNS_POLICY_FREE) && !later)
        uncount_try(p);
    if (again && p->flying) { /* the other connection may do better */
        save(p, why, a);
        return;
    }
    if (again && !later && may_go_again(p, APNS_TRIES_MAX)) {
        if (!p->probed)
            save(p, why, a);
        go_again(p, l, c->meters.answered);
        return;
    }
    bool withhold = (why->policy & APNS_POLICY_COUNT) && count_bad(c, p->token);
    if (why->policy & APNS_POLICY_ENVIRONMENT) {
        if (!p->probed)
            save(p, why, a);
        if (probe_pair(p))
            return;
    }
    finish(p, why, a, withhold);
}

void apns_policy_lost(struct apns_flight *f, bool refused) {
    struct apns_item *p = f->item;
    struct apns_link *l = f->link;
    struct apns_credential *c = l->credential;
    refused = refused || !f->written;
    apns_flight_end(f);
    if (refused) {
        /* It was never processed: free of charge. */
        l->refused_until_ms = apns_now_ms(c->core) + APNS_REFUSED_WAIT_MS;
        uncount_try(p);
    }
    if (p->flying)
        return;
    /* Nobody knows whether it was processed. A ring is worth a second try; the call's UUID in the payload tells the
     * phone that it is the same. A hedge was none: what took one connection often takes both. */
    bool again = refused || p->lane != APNS_LANE_BULK || p->req.collapse_id;
    if (again && may_go_again(p, APNS_TRIES_MAX + p->hedged))
        go_again(p, l, refused ? c->meters.refused : c->meters.unknown);
    else if (refused && p->tries == 0)
        apns_item_fail(p, APNS_NOT_SENT, E_EXPIRED);
    else
        apns_item_fail(p, APNS_SERVER_ERROR, E_IO);
}

static void on_lost(void *tag, bool refused, void *arg) {
    (void)arg;
    apns_policy_lost(tag, refused);
}

static void on_goaway(const char *reason, void *arg) {
    struct apns_link *l = arg;
    struct apns_credential *c = l->credential;
    log_warn("apns goaway", log_s("credential", c->name), log_s("reason", reason));
    const struct apns_reason *why = apns_reason_find(403, reason);
    if (*reason && strcmp(why->name, reason) == 0 && (why->policy & APNS_POLICY_BREAK)) {
        trip(c);
        alarm_of(c, APNS_ALARM_CREDENTIAL, why->status, reason, why->mend);
    }
    apns_link_retire(l, true);
}

const struct apns_session_ops apns_policy_ops = {on_answered, on_lost, on_goaway};
