/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that go on after a crash: what was written of them is read, and they go on. */
#include "base/log.h"
#include "gateway/calls_kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define PARTS_MAX (4 + MEDIA_WAITING_MAX + 1)

/* Loading */

struct part {
    char name[KEPT_PART_BYTES];
    char *p; /* NULL: it could not be opened */
    size_t len;
};

struct kept {
    char call[UUID_BYTES];
    struct part parts[PARTS_MAX];
    size_t count;
    int err; /* of a part that could not be opened */
    UT_hash_handle hh;
};

void calls_load_kept(struct calls *cs, const struct kept_row *row) {
    char text[KEPT_ABOUT_BYTES];
    struct kept *k;
    if (!cs->d.seal || strlen(row->call) >= UUID_BYTES || strlen(row->part) >= KEPT_PART_BYTES)
        return;
    HASH_FIND_STR(cs->kept, row->call, k);
    if (!k) {
        k = calloc(1, sizeof *k);
        if (!k)
            return;
        snprintf(k->call, sizeof k->call, "%s", row->call);
        HASH_ADD_STR(cs->kept, call, k); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    }
    if (k->count == PARTS_MAX)
        return;
    struct part *part = &k->parts[k->count++];
    snprintf(part->name, sizeof part->name, "%s", row->part);
    int err = seal_open(&part->p, &part->len, cs->d.seal, row->value, kept_about(text, row->call, row->part));
    k->err = k->err ? k->err : err;
}

static void forget(struct calls *cs, struct kept *k) {
    HASH_DEL(cs->kept, k); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    for (size_t i = 0; i < k->count; i++)
        if (k->parts[i].p)
            secret_free(k->parts[i].p, k->parts[i].len);
    free(k);
}

static const struct part *find_part(const struct kept *k, const char *name, size_t len) {
    for (size_t i = 0; i < k->count; i++)
        if (strcmp(k->parts[i].name, name) == 0 && k->parts[i].p && (len == 0 || k->parts[i].len == len))
            return &k->parts[i];
    return NULL;
}

/* Going on */

struct reader {
    const char *p;
    size_t left;
};

static bool take(struct reader *r, void *out, size_t len) {
    if (r->left < len)
        return false;
    memcpy(out, r->p, len);
    r->p += len;
    r->left -= len;
    return true;
}

static void set_near(struct call_near *n, const struct kept_near *k) {
    n->device = k->device;
    n->mode = k->mode;
    memcpy(n->phone_ufrag, k->phone_ufrag, sizeof n->phone_ufrag);
    n->told = k->told;
    n->taken = k->taken;
    n->answered_sdp = k->answered_sdp;
    n->noted = k->noted;
    n->kept = true;
}

static void set_push(struct call_push *p, const struct kept_push *k, struct call_device *d) {
    *p = (struct call_push){.device = d, .type = k->type, .state = k->state};
    memcpy(p->id, k->id, sizeof p->id);
    /* Whether it left, nobody can say; a phone gets no push twice. */
    if (p->state == PUSH_QUEUED)
        p->state = PUSH_FAILED;
}

static int take_device(struct call *c, struct reader *r) {
    const struct calls *cs = c->owner;
    struct call_device *d = &c->devices[c->device_count++];
    struct kept_device k;
    struct kept_push push;
    if (!take(r, &k, sizeof k) || k.push_count > CALL_PUSHES_MAX)
        return E_MALFORMED;
    memcpy(d->id, k.id, sizeof d->id);
    memcpy(d->app_version, k.app_version, sizeof d->app_version);
    memcpy(d->os_version, k.os_version, sizeof d->os_version);
    d->mode = k.mode;
    const struct device *dev = devices_get(cs->d.devices, c->tenant, d->id);
    d->credential = push_service_credential(cs->d.pushes, c->app->name, dev && dev->sandbox);
    if (k.waits && !(d->waiting = calloc(1, sizeof *d->waiting)))
        return E_NOMEM;
    if (k.waits)
        set_near(d->waiting, &k.waiting);
    for (; d->push_count < k.push_count; d->push_count++) {
        if (!take(r, &push, sizeof push))
            return E_MALFORMED;
        set_push(&d->pushes[d->push_count], &push, d);
    }
    return 0;
}

static void set_timeline(struct call *c, const struct reader *r) {
    json_t *timeline = json_loadb(r->p, r->left, 0, NULL);
    if (json_is_array(timeline)) {
        json_decref(c->timeline);
        c->timeline = json_incref(timeline);
    }
    json_decref(timeline);
}

static int set_call(struct call *c, const struct kept_call *k, const struct call_row *row, struct err_text *et) {
    const struct config *cfg = c->config = config_ref(c->owner->d.config);
    json_t *doc = json_loads(row->doc, 0, NULL);
    const char *route = json_string_value(json_object_get(doc, "route"));
    for (unsigned i = 0; route && i < cfg->routes_count; i++)
        if (strcmp(cfg->routes[i].name, route) == 0)
            c->route = &cfg->routes[i];
    c->app = c->route && !c->route->reject ? config_app(cfg, c->route->app) : NULL;
    c->data = json_incref(json_object_get(doc, "data"));
    json_decref(doc);
    snprintf(c->tenant, sizeof c->tenant, "%s", row->tenant);
    snprintf(c->callee, sizeof c->callee, "%s", row->callee);
    memcpy(c->handle, k->handle, sizeof c->handle);
    memcpy(c->name, k->name, sizeof c->name);
    c->fsm = k->fsm;
    c->video = k->video;
    c->ringback = k->ringback;
    c->request_us = k->request_us;
    c->request_wall_us = k->request_wall_us;
    c->created_ms = k->created_ms;
    c->expires_ms = k->expires_ms;
    c->answered_ms = k->answered_ms;
    c->ice_session = k->ice_session;
    c->far_ice = k->far_ice;
    c->profile = k->profile;
    set_near(&c->near, &k->near);
    return c->app ? 0 : err_say(et, E_NOTFOUND, "its route is not in the configuration any more");
}

/* What the phone was told, or is still to be told. */
static void set_keys(struct call_near *n, const struct media_leg_state *leg) {
    n->ice = leg->ice;
    n->keys.profile = leg->keys.profile;
    memcpy(n->keys.tx, leg->keys.rx, sizeof n->keys.tx);
    memcpy(n->keys.rx, leg->keys.tx, sizeof n->keys.rx);
}

static int resume_near(struct call *c, const struct kept *k, struct call_near *n, const char *name,
                       struct err_text *et) {
    struct media_leg_state leg;
    const struct part *part = find_part(k, name, sizeof leg);
    if (!part)
        return err_say(et, E_NOTFOUND, "the phone's leg was not kept yet");
    memcpy(&leg, part->p, sizeof leg);
    int err = media_resume_near(c->owner->d.media, c->media, &leg);
    if (err == 0 && leg.waits && n == &c->near) /* it was chosen, and the worker had not told of it */
        err = media_near_choose(c->owner->d.media, c->media, leg.number);
    if (err != 0)
        err = err_say(et, err, "the worker does not listen");
    else if (!n->taken && n->mode != MEDIA_MODE_TRANSFER)
        set_keys(n, &leg);
    else
        n->ice = leg.ice;
    if (err == 0 && n == &c->near && !n->taken && n->mode != MEDIA_MODE_TRANSFER) {
        err = call_near_write(&n->handoff, c, n, NULL, 0, et);
        media_keys_wipe(&n->keys);
    }
    secret_wipe(&leg, sizeof leg);
    return err;
}

static int resume_nears(struct call *c, const struct kept *k, struct err_text *et) {
    char name[KEPT_PART_BYTES];
    int err = 0;
    if (c->near.device >= 0) {
        kept_phone(name, (unsigned)c->near.device);
        err = resume_near(c, k, &c->near, find_part(k, name, 0) ? name : KEPT_NEAR, et);
    }
    for (unsigned i = 0; i < c->device_count && err == 0; i++) {
        if (!c->devices[i].waiting)
            continue;
        kept_phone(name, i);
        err = resume_near(c, k, c->devices[i].waiting, name, et);
    }
    return err;
}

static int resume_media(struct call *c, const struct kept *k, const struct kept_call *head, struct err_text *et) {
    struct calls *cs = c->owner;
    const struct part *offer = find_part(k, KEPT_OFFER, 0),
                      *media = find_part(k, KEPT_MEDIA, sizeof(struct media_call_state)),
                      *far = find_part(k, KEPT_FAR, sizeof(struct media_leg_state));
    struct media_resume r = {.port = head->port, .fingerprint = head->fingerprint};
    if (!offer || !media || !far)
        return err_say(et, E_NOTFOUND, "its media was not kept yet");
    int err = sdp_parse(&c->offer, offer->p, offer->len, et);
    if (err != 0)
        return err;
    c->offer_text = strdup(offer->p); /* it is sealed anew, by the present key */
    memcpy(c->offer->ice_ufrag, head->ice_ufrag, sizeof head->ice_ufrag);
    memcpy(c->offer->ice_pwd, head->ice_pwd, sizeof head->ice_pwd);
    memcpy(&r.call, media->p, sizeof r.call);
    memcpy(&r.far, far->p, sizeof r.far);
    err = media_resume(cs->d.media, &r, &c->media, et);
    secret_wipe(&r, sizeof r);
    if (err != 0) {
        c->media = 0;
        return err;
    }
    HASH_ADD(by_media, cs->by_media, media, sizeof c->media, c);
    c->worker = media_worker_of(c->media);
    return resume_nears(c, k, et);
}

/* What the worker knew and the state machine had not heard of, and the other way round. */
static void reconcile(struct call *c, const struct kept *k) {
    const struct part *media = find_part(k, KEPT_MEDIA, 0), *far = find_part(k, KEPT_FAR, 0),
                      *near = find_part(k, KEPT_NEAR, sizeof(struct media_leg_state));
    struct media_call_state s;
    struct media_leg_state leg;
    memcpy(&s, media->p, sizeof s);
    memcpy(&leg, far->p, sizeof leg);
    if (leg.dtls_up && !c->fsm.far_up)
        call_step(c, CALL_IN_FAR_UP, 0);
    if (near && c->near.device >= 0)
        memcpy(&leg, near->p, sizeof leg);
    if (near && c->near.device >= 0 && !c->fsm.near_up &&
        (c->near.mode == MEDIA_MODE_DTLS ? leg.dtls_up : addr_is_set(&leg.ice.selected)))
        call_step(c, CALL_IN_NEAR_UP, 0);
    if (c->fsm.state != CALL_RINGING && !s.gate)
        media_gate(c->owner->d.media, c->media);
    if (c->near.mode == MEDIA_MODE_TRANSFER && c->near.taken && !s.keys_taken)
        media_keys_taken(c->owner->d.media, c->media);
    c->near.taken = c->near.taken || (c->near.mode == MEDIA_MODE_TRANSFER && s.keys_taken);
    if (s.told_to_near)
        call_step(c, CALL_IN_TO_NEAR, 0);
    if (s.told_to_far)
        call_step(c, CALL_IN_TO_FAR, 0);
    secret_wipe(&leg, sizeof leg);
}

static bool fits(const struct kept_call *k) {
    int count = (int)k->device_count;
    return count > 0 && count <= CALL_LEGS_MAX && k->fsm.leg_count == k->device_count && k->near.device < count &&
           k->fsm.winner < count && k->fsm.handed < count && k->fsm.state < CALL_ENDED;
}

static int resume(struct call *c, const struct kept *k, const struct call_row *row, struct err_text *et) {
    struct kept_call head;
    const struct part *part = find_part(k, KEPT_CALL, 0);
    struct reader r = {part ? part->p : NULL, part ? part->len : 0};
    if (!take(&r, &head, sizeof head) || !kept_stamp_is_ours(&head) || !fits(&head))
        return err_say(et, E_UNSUPPORTED, "it was kept by another version, or before the machine was started");
    int err = set_call(c, &head, row, et);
    c->devices = calloc(head.device_count, sizeof *c->devices);
    if (!c->devices)
        err = E_NOMEM;
    while (err == 0 && c->device_count < head.device_count)
        err = take_device(c, &r);
    set_timeline(c, &r);
    if (err == 0)
        err = calls_index_devices(c);
    if (err == 0 && c->fsm.media)
        err = resume_media(c, k, &head, et);
    secret_wipe(&head, sizeof head);
    if (err != 0)
        return et->s[0] ? err : err_say(et, err, "what was kept of it does not fit together");
    c->started = c->resumed = true;
    call_note(c, 0, "resumed", NULL);
    if (c->fsm.media)
        reconcile(c, k);
    return 0;
}

int calls_resume(struct calls *cs, const struct call_row *row, struct err_text *et) {
    struct kept *k;
    HASH_FIND_STR(cs->kept, row->id, k);
    if (!k)
        return err_say(et, E_NOTFOUND, "without store.seal_key_file nothing of it was kept");
    if (k->err == E_NOTFOUND)
        return err_say(et, k->err, "the key that closed it is not in store.seal_key_file any more");
    if (k->err != 0)
        return err_say(et, k->err, "what was kept of it cannot be read: %s", err_str(k->err));
    struct call *c = calls_add(cs, row->id);
    if (!c)
        return err_say(et, E_FULL, "there is no room for it");
    int err = resume(c, k, row, et);
    if (err != 0) {
        calls_remove(c);
        return err;
    }
    log_info("call resumed", log_s("call", c->id), log_s("state", call_state_name(c->fsm.state)),
             log_s("handoff", c->near.device >= 0 ? media_mode_name(c->near.mode) : ""));
    metric_add(cs->m_resumed, 1);
    call_store(c, NULL, NULL, NULL);
    return 0;
}

void call_resume_push(struct call *c, const struct push_row *row) {
    int device = call_device_by_id(c, row->device);
    struct call_push *p = device >= 0 ? call_push_by_id(&c->devices[device], row->id) : NULL;
    if (!p)
        return;
    ledger_from_row(&p->ledger, row);
    snprintf(p->token_hash, sizeof p->token_hash, "%s", row->token_hash);
    if (p->token_hash[0])
        HASH_ADD(by_token, c->owner->by_token, token_hash, SECRET_HASH_BYTES - 1, p);
    if (row->status == 200) {
        p->state = PUSH_ACCEPTED;
        call_step(c, CALL_IN_PUSH_ACCEPTED, (unsigned)device);
    } else if (row->status > 0) {
        p->state = PUSH_REJECTED;
    } else if (p->state == PUSH_FAILED && !row->reason[0]) {
        snprintf(p->ledger.reason, sizeof p->ledger.reason, "the gateway was restarted before APNs answered");
    }
    if (row->receipt_ms)
        call_step(c, CALL_IN_RECEIPT, (unsigned)device);
}

void calls_loaded(struct calls *cs) {
    struct kept *k, *next_kept;
    struct call *c, *next;
    HASH_ITER(hh, cs->kept, k, next_kept) {
        forget(cs, k);
    }
    store_kept_prune(cs->d.store);
    /* Their phones' connections are gone with the process that had them. */
    DL_FOREACH_SAFE(cs->live, c, next) {
        for (unsigned i = 0; i < c->device_count && c->resumed; i++)
            if (c->fsm.legs[i].state != CALL_LEG_OUT)
                call_step(c, CALL_IN_DETACHED, i);
    }
}
