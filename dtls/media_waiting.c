/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"
#include "dtls/media_call_priv.h"

#include <stdlib.h>
#include <utlist.h>

static struct media_leg *find(const struct media_call *c, unsigned number) {
    struct media_leg *leg;
    LL_FOREACH2(c->phones, leg, next_phone) {
        if (leg->number == number)
            return leg;
    }
    return NULL;
}

static void drop(struct media_call *c, struct media_leg *leg) {
    LL_DELETE2(c->phones, leg, next_phone);
    media_leg_close(leg);
    free(leg);
}

void media_waiting_drop(struct media_call *c, unsigned number) {
    struct media_leg *leg = find(c, number);
    if (leg)
        drop(c, leg);
}

void media_waiting_drop_all(struct media_call *c) {
    while (c->phones)
        drop(c, c->phones);
}

struct media_leg *media_waiting_new(struct media_call *c, unsigned number) {
    media_waiting_drop(c, number);
    struct media_leg *leg = calloc(1, sizeof *leg);
    if (!leg)
        return NULL;
    leg->call = c;
    LL_PREPEND2(c->phones, leg, next_phone);
    return leg;
}

void media_waiting_open(struct media_call *c, const struct media_near *near) {
    struct media_leg *leg = media_waiting_new(c, near->number);
    if (!leg) /* choosing it will fail */
        return;
    media_leg_open(leg, &near->ice, true);
    leg->unchosen = true;
    leg->number = near->number;
    leg->keys = near->keys;
    media_tell_leg(leg);
}

/* The hash tables point into a leg, so it cannot be copied: it leaves them and comes back as the near leg. */
static void move_to_near(struct media_leg *from) {
    struct media_call *c = from->call;
    struct media_leg *to = &c->near, was = *from;
    from->crypt = NULL;
    drop(c, from);
    media_leg_open(to, &was.ice, true);
    to->number = was.number;
    to->keys = was.keys;
    to->crypt = was.crypt;
    /* RFC 7675 5.1: nothing is sent to who has not been heard of for so long. A leg that waits is not swept. */
    if (c->worker->now_ms - was.seen_ms <= LEG_CONSENT_MS) {
        to->seen_ms = was.seen_ms;
        to->ice.selected = was.ice.selected;
        for (unsigned i = 0; i < was.source_count; i++)
            media_leg_vouch(to, &was.sources[i].addr);
    }
    to->rtcp_next = was.rtcp_next;
    to->rtcp_limit = was.rtcp_limit;
    secret_wipe(&was, sizeof was);
    media_tell_leg(to);
}

void media_waiting_choose(struct media_call *c, unsigned number) {
    struct media_leg *chosen = find(c, number);
    media_leg_close(&c->near);
    c->near.is_near = true;
    if (!chosen || c->keys_told) {
        media_call_fail(&c->near, E_STATE);
        return;
    }
    c->mode = MEDIA_MODE_SEALED;
    move_to_near(chosen);
    media_waiting_drop_all(c);
    media_tell_call(c);
    media_relay_prepare(c);
    media_relay_flush(c);
    if (addr_is_set(&c->near.ice.selected))
        media_leg_tell_path(&c->near, MEDIA_EV_NEAR_ICE, true);
}
