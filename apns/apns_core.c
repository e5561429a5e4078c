/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_core_priv.h"
#include "apns/apns_preflight.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* The end of a push */

void apns_item_finish(struct apns_item *p, struct apns_result *r) {
    struct apns_core *k = p->home->core;
    apns_result_cb cb = p->cb;
    void *arg = p->arg;
    char id[UUID_BYTES], reason[sizeof p->saved_reason]; /* the item is wiped before its owner is told */
    apns_item_ground(p, false);
    apns_lane_dequeue(p);
    apns_heap_remove(&k->due, &p->due_place);
    snprintf(id, sizeof id, "%s", p->apns_id);
    r->apns_id = r->apns_id && r->apns_id[0] ? r->apns_id : id;
    snprintf(reason, sizeof reason, "%s", r->reason ? r->reason : "");
    r->reason = reason;
    r->unique_id = r->unique_id ? r->unique_id : "";
    r->credential = r->credential ? r->credential : p->home;
    p->home->homes--;
    r->queued_us = p->queued_us;
    r->written_us = p->written_us;
    r->tries = p->tries;
    r->hedged = p->hedged;
    apns_meters_result(r->credential, r);
    slots_release(k->items, p->id);
    cb(r, arg);
}

/* No answer will come. One that came before, and asked for another try, is what its owner hears. */
void apns_item_fail(struct apns_item *p, enum apns_verdict verdict, int err) {
    struct apns_result r = {.verdict = verdict, .err = err};
    if (p->saved && err != E_CLOSED)
        r = (struct apns_result){.verdict = p->saved->verdict, .status = p->saved_status, .reason = p->saved_reason};
    apns_item_finish(p, &r);
}

void apns_item_arm(struct apns_item *p) {
    struct apns_core *k = p->home->core;
    uint64_t due_ms = p->hedge_at_ms && p->hedge_at_ms < p->deadline_ms ? p->hedge_at_ms : p->deadline_ms;
    struct apns_heap_entry e = {due_ms, p->seq, p, &p->due_place};
    apns_heap_remove(&k->due, &p->due_place);
    apns_heap_put(&k->due, &e); /* there is room: apns_core_push made it */
}

static void item_due(struct apns_item *p) {
    struct apns_core *k = p->home->core;
    if (apns_now_ms(k) < p->deadline_ms) {
        apns_lane_hedge(p);
        return;
    }
    bool written = p->tries > 0;
    apns_item_ground(p, true);
    apns_item_fail(p, written ? APNS_SERVER_ERROR : APNS_NOT_SENT, written ? E_TIMEOUT : E_EXPIRED);
}

/* Time */

void apns_core_time(struct apns_core *k, const struct apns_time *now) {
    k->now = *now;
}

static void step_links(struct apns_credential *c) {
    struct apns_link *l, *next;
    DL_FOREACH_SAFE(c->links, l, next) {
        apns_link_step(l);
    }
    apns_lanes_pump(c);
}

void apns_core_step(struct apns_core *k) {
    const struct apns_heap_entry *top;
    struct apns_credential *c;
    while ((top = apns_heap_top(&k->due)) && top->key <= apns_now_ms(k)) {
        struct apns_item *p = top->item;
        apns_push_id id = p->id;
        item_due(p);
        if ((p = slots_get(k->items, id)))
            apns_item_arm(p);
    }
    LL_FOREACH(k->credentials, c) {
        step_links(c);
    }
    apns_meters_gauges(k);
}

uint64_t apns_core_next_ms(struct apns_core *k) {
    const struct apns_heap_entry *top = apns_heap_top(&k->due);
    uint64_t next = top ? top->key : UINT64_MAX, at;
    struct apns_credential *c;
    struct apns_link *l;
    if (k->stopped)
        return UINT64_MAX;
    LL_FOREACH(k->credentials, c) {
        if (c->queued && c->breaker.pause_ms && c->flying == 0 && c->breaker.until_ms > apns_now_ms(k) &&
            c->breaker.until_ms < next)
            next = c->breaker.until_ms;
        DL_FOREACH(c->links, l) {
            at = apns_link_next_ms(l);
            next = at < next ? at : next;
        }
    }
    return k->metrics && k->credentials && k->gauges_ms < next ? k->gauges_ms : next;
}

uint32_t apns_core_under_way(const struct apns_core *k) {
    return slots_used(k->items);
}

/* Life */

int apns_core_new(struct apns_core **kp, const struct apns_core_ops *ops, void *arg, struct metrics *m) {
    struct apns_core *k = calloc(1, sizeof *k);
    if (!k || slots_new(&k->items, sizeof(struct apns_item), APNS_UNDER_WAY_MAX) != 0) {
        free(k);
        return E_NOMEM;
    }
    k->ops = *ops;
    k->arg = arg;
    k->metrics = m;
    apns_meters_init(k);
    *kp = k;
    return 0;
}

void apns_core_set_alarm(struct apns_core *k, apns_alarm_cb cb, void *arg) {
    k->alarm = cb;
    k->alarm_arg = arg;
}

void apns_core_drain(struct apns_core *k) {
    k->draining = true;
}

void apns_core_stop(struct apns_core *k) {
    struct apns_credential *c;
    struct apns_link *l;
    struct apns_item *p;
    uint32_t cursor = 0;
    slot_id id;
    k->stopped = true;
    while ((p = slots_next(k->items, &cursor, &id))) {
        bool flying = p->flying > 0;
        apns_item_ground(p, false);
        apns_item_fail(p, flying ? APNS_SERVER_ERROR : APNS_NOT_SENT, E_CLOSED);
    }
    LL_FOREACH(k->credentials, c) {
        while ((l = c->links))
            apns_link_end(l);
    }
}

static void credential_free(struct apns_credential *c) {
    for (int i = 0; i < APNS_LANES; i++)
        apns_heap_free(&c->queue[i]);
    free(c->name);
    free(c->host);
    free(c);
}

struct apns_core *apns_core_free(struct apns_core *k) {
    struct apns_credential *c, *next;
    struct apns_token_node *t, *next_token;
    LL_FOREACH_SAFE(k->credentials, c, next) {
        credential_free(c);
    }
    LL_FOREACH_SAFE(k->tokens, t, next_token) {
        apns_token_free(t->token);
        free(t);
    }
    apns_heap_free(&k->due);
    slots_free(k->items);
    free(k);
    return NULL;
}

/* Credentials */

/* Credentials with the same key share its clock: APNs counts the tokens of a team, not of an app. */
static int token_get(struct apns_core *k, struct apns_token **tp, const struct apns_core_identity *id) {
    struct apns_token_node *n;
    *tp = NULL;
    if (!id->key)
        return 0;
    LL_FOREACH(k->tokens, n) {
        if (apns_token_is(n->token, id->key, id->team_id, id->key_id)) {
            *tp = n->token;
            return 0;
        }
    }
    n = calloc(1, sizeof *n);
    if (!n || apns_token_new(&n->token, id->key, id->team_id, id->key_id) != 0) {
        free(n);
        return E_NOMEM;
    }
    LL_PREPEND(k->tokens, n);
    *tp = n->token;
    return 0;
}

static bool token_used(const struct apns_core *k, const struct apns_token *t) {
    const struct apns_credential *c;
    const struct apns_link *l;
    LL_FOREACH(k->credentials, c) {
        if (c->token == t)
            return true;
        DL_FOREACH(c->links, l) {
            if (l->token == t)
                return true;
        }
    }
    return false;
}

static void tokens_sweep(struct apns_core *k) {
    struct apns_token_node *n, *next;
    LL_FOREACH_SAFE(k->tokens, n, next) {
        if (token_used(k, n->token))
            continue;
        LL_DELETE(k->tokens, n);
        apns_token_free(n->token);
        free(n);
    }
}

static void take_settings(struct apns_credential *c, const struct apns_core_identity *id) {
    c->ring_connections =
        id->ring_connections > APNS_RING_CONNECTIONS_MAX ? APNS_RING_CONNECTIONS_MAX : id->ring_connections;
    c->hedge_ms = id->hedge_ms ? id->hedge_ms : APNS_HEDGE_MS;
}

int apns_core_add(struct apns_core *k, struct apns_credential **cp, const struct apns_core_identity *id) {
    struct apns_credential *c = calloc(1, sizeof *c);
    if (!c)
        return E_NOMEM;
    c->core = k;
    c->owner = id->owner;
    c->port = id->port;
    c->name = strdup(id->name);
    c->host = strdup(id->host);
    if (!c->name || !c->host || token_get(k, &c->token, id) != 0) {
        credential_free(c);
        return E_NOMEM;
    }
    take_settings(c, id);
    apns_meters_add(c);
    c->used[APNS_LANE_PROBE] = id->open_probe;
    LL_APPEND(k->credentials, c);
    apns_lanes_fill(c);
    *cp = c;
    return 0;
}

int apns_core_reload(struct apns_credential *c, const struct apns_core_identity *id) {
    struct apns_token *t;
    struct apns_link *l;
    int err = token_get(c->core, &t, id);
    if (err != 0)
        return err;
    c->token = t;
    c->breaker = (struct apns_breaker){0};
    take_settings(c, id);
    DL_FOREACH(c->links, l) {
        l->leaving = l->leaving || l->state != APNS_LINK_WAITING;
    }
    apns_lanes_fill(c);
    tokens_sweep(c->core);
    return 0;
}

void apns_core_retire(struct apns_credential *c) {
    struct apns_credential *other;
    c->retired = true;
    c->pair = NULL;
    LL_FOREACH(c->core->credentials, other) {
        if (other->pair == c)
            other->pair = NULL;
    }
}

bool apns_core_unused(const struct apns_credential *c) {
    return c->homes == 0 && c->queued == 0 && c->flying == 0;
}

void apns_core_remove(struct apns_credential *c) {
    struct apns_core *k = c->core;
    while (c->links)
        apns_link_end(c->links);
    LL_DELETE(k->credentials, c);
    credential_free(c);
    tokens_sweep(k);
}

void apns_core_pair(struct apns_credential *a, struct apns_credential *b) {
    if (a->pair && a->pair->pair == a)
        a->pair->pair = NULL;
    a->pair = b;
    if (b)
        b->pair = a;
}

bool apns_core_ready(const struct apns_credential *c) {
    const struct apns_link *l;
    DL_FOREACH(c->links, l) {
        if (l->lane == APNS_LANE_RING && l->state == APNS_LINK_UP && apns_session_ready(l->session))
            return true;
    }
    return false;
}

void *apns_core_owner(const struct apns_credential *c) {
    return c->owner;
}

void *apns_core_arg(const struct apns_core *k) {
    return k->arg;
}

struct apns_core *apns_core_of(const struct apns_credential *c) {
    return c->core;
}

struct apns_token *apns_core_token(const struct apns_credential *c) {
    return c->token;
}

void apns_core_alarm(struct apns_credential *c, enum apns_alarm alarm, const char *sentence) {
    struct apns_core *k = c->core;
    uint64_t now_ms = apns_now_ms(k);
    if (c->alarmed_ms[alarm] && now_ms - c->alarmed_ms[alarm] < APNS_ALARM_AGAIN_MS)
        return;
    c->alarmed_ms[alarm] = now_ms ? now_ms : 1;
    log_error("apns alarm", log_s("credential", c->name), log_s("what", sentence));
    if (k->alarm)
        k->alarm(alarm, c->name, sentence, k->alarm_arg);
}

/* Pushes */

static const char *copy(char *out, size_t cap, const char *s) {
    snprintf(out, cap, "%s", s);
    return out;
}

static void fill(struct apns_item *p, const struct apns_push *in) {
    p->lane = in->lane;
    p->deadline_ms = in->deadline_ms;
    snprintf(p->expiration, sizeof p->expiration, "%" PRIu64, in->expiration_s);
    snprintf(p->priority, sizeof p->priority, "%d", in->priority);
    memcpy(p->payload, in->payload, in->payload_len);
    p->req = (struct apns_request){
        .token = copy(p->token, sizeof p->token, in->token),
        .topic = copy(p->topic, sizeof p->topic, in->topic),
        .push_type = apns_push_type_name(in->type),
        .priority = p->priority,
        .expiration = p->expiration,
        .apns_id = copy(p->apns_id, sizeof p->apns_id, in->apns_id),
        .collapse_id = in->collapse_id ? copy(p->collapse_id, sizeof p->collapse_id, in->collapse_id) : NULL,
        .payload = p->payload,
        .payload_len = in->payload_len,
    };
}

int apns_core_push(struct apns_credential *c, const struct apns_push *in, apns_result_cb cb, void *arg,
                   apns_push_id *id, struct err_text *et) {
    struct apns_core *k = c->core;
    if (k->draining || k->stopped)
        return err_say(et, E_CLOSED, "the client is closed");
    if (c->retired)
        return err_say(et, E_CLOSED, "the credential is not in use any more");
    int err = apns_preflight(in, et);
    if (err != 0)
        return err;
    if (c->queued >= APNS_QUEUE_MAX)
        return err_say(et, E_FULL, "%u pushes wait already; APNs does not keep up or cannot be reached", c->queued);
    slot_id item_id;
    struct apns_item *p = slots_alloc(k->items, &item_id);
    if (!p)
        return err_say(et, E_FULL, "too many pushes are under way");
    fill(p, in);
    p->id = item_id;
    p->home = c;
    p->seq = ++k->seq;
    p->queued_us = k->now.mono_us;
    p->cb = cb;
    p->arg = arg;
    if (p->lane == APNS_LANE_PROBE && c->hedge_ms != APNS_HEDGE_OFF)
        p->hedge_at_ms = apns_now_ms(k) + c->hedge_ms;
    struct apns_heap_entry e = {p->deadline_ms, p->seq, p, &p->due_place};
    if (apns_heap_put(&k->due, &e) != 0 || apns_lane_enqueue(p, c, p->lane) != 0) {
        apns_heap_remove(&k->due, &p->due_place);
        slots_release(k->items, item_id);
        return err_say(et, E_NOMEM, "out of memory");
    }
    c->homes++;
    apns_item_arm(p);
    *id = item_id;
    apns_lanes_pump(c);
    return 0;
}

int apns_core_withdraw(struct apns_credential *c, apns_push_id id) {
    struct apns_item *p = slots_get(c->core->items, id);
    if (!p || p->flying || p->home != c)
        return E_NOTFOUND;
    apns_item_fail(p, APNS_NOT_SENT, E_CLOSED);
    return 0;
}
