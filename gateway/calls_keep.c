/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that go on after a crash: what is written of them meanwhile. */
#include "base/log.h"
#include "gateway/calls_kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static const char *boot_id(void) {
    static char id[KEPT_BOOT_BYTES];
    FILE *f = id[0] ? NULL : fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f) {
        if (!fgets(id, sizeof id, f))
            id[0] = 0;
        fclose(f);
    }
    return id;
}

void kept_stamp(struct kept_call *k) {
    const size_t sizes[] = {sizeof *k, sizeof(struct kept_device), sizeof(struct kept_push),
                            sizeof(struct media_leg_state), sizeof(struct media_call_state)};
    memset(k->version, 0, sizeof k->version);
    snprintf(k->version, sizeof k->version, "%s", WAKEGATE_VERSION);
    snprintf(k->boot, sizeof k->boot, "%s", boot_id());
    memcpy(k->sizes, sizes, sizeof k->sizes);
}

bool kept_stamp_is_ours(const struct kept_call *k) {
    struct kept_call ours;
    kept_stamp(&ours);
    return k->boot[0] && memcmp(k->version, ours.version, sizeof ours.version) == 0 &&
           memcmp(k->sizes, ours.sizes, sizeof ours.sizes) == 0 && strncmp(k->boot, ours.boot, sizeof k->boot) == 0;
}

const char *kept_phone(char out[static KEPT_PART_BYTES], unsigned number) {
    snprintf(out, KEPT_PART_BYTES, "phone/%u", number);
    return out;
}

const char *kept_about(char out[static KEPT_ABOUT_BYTES], const char *call, const char *part) {
    snprintf(out, KEPT_ABOUT_BYTES, "wakegate %s %s", call, part);
    return out;
}

/* Writing */

static char *seal_part(const struct call *c, const char *part, const void *p, size_t len) {
    char text[KEPT_ABOUT_BYTES], *closed = NULL;
    if (seal_close(&closed, c->owner->d.seal, p, len, kept_about(text, c->id, part)) != 0)
        return NULL;
    return closed;
}

static void put_along(const struct call *c, const char *part, const void *p, size_t len) {
    char *closed = seal_part(c, part, p, len);
    struct kept_row row = {c->id, part, closed};
    if (!closed || store_kept_put_along(c->owner->d.store, &row) != 0)
        log_error("not kept for a crash", log_s("call", c->id), log_s("part", part));
    free(closed);
}

static void fill_near(struct kept_near *k, const struct call_near *n) {
    k->device = n->device;
    k->mode = n->mode;
    memcpy(k->phone_ufrag, n->phone_ufrag, sizeof k->phone_ufrag);
    k->told = n->told;
    k->taken = n->taken;
    k->answered_sdp = n->answered_sdp;
    k->noted = n->noted;
}

static void add_device(struct buf *out, const struct call_device *d) {
    struct kept_device k;
    memset(&k, 0, sizeof k);
    memcpy(k.id, d->id, sizeof k.id);
    memcpy(k.app_version, d->app_version, sizeof k.app_version);
    memcpy(k.os_version, d->os_version, sizeof k.os_version);
    k.mode = d->mode;
    k.waits = d->waiting != NULL;
    if (d->waiting)
        fill_near(&k.waiting, d->waiting);
    k.push_count = d->push_count;
    buf_add(out, &k, sizeof k);
    for (unsigned i = 0; i < d->push_count; i++) {
        const struct call_push *p = &d->pushes[i];
        struct kept_push push;
        memset(&push, 0, sizeof push);
        memcpy(push.id, p->id, sizeof push.id);
        push.type = p->type;
        push.state = p->state;
        buf_add(out, &push, sizeof push);
    }
}

static void fill_media(struct kept_call *k, const struct call *c) {
    const struct media *m = c->owner->d.media;
    const char *fingerprint = media_call_fingerprint(m, c->media);
    k->port = media_port(m, c->worker);
    snprintf(k->fingerprint, sizeof k->fingerprint, "%s", fingerprint ? fingerprint : "");
    memcpy(k->ice_ufrag, c->offer->ice_ufrag, sizeof k->ice_ufrag);
    memcpy(k->ice_pwd, c->offer->ice_pwd, sizeof k->ice_pwd);
}

static void write_call(struct buf *out, const struct call *c) {
    struct kept_call k;
    char *timeline = json_dumps(c->timeline, JSON_COMPACT);
    memset(&k, 0, sizeof k);
    kept_stamp(&k);
    k.fsm = c->fsm;
    memcpy(k.handle, c->handle, sizeof k.handle);
    memcpy(k.name, c->name, sizeof k.name);
    k.video = c->video;
    k.ringback = c->ringback;
    k.request_us = c->request_us;
    k.request_wall_us = c->request_wall_us;
    k.created_ms = c->created_ms;
    k.expires_ms = c->expires_ms;
    k.answered_ms = c->answered_ms;
    k.ice_session = c->ice_session;
    k.far_ice = c->far_ice;
    k.profile = c->profile;
    fill_near(&k.near, &c->near);
    k.device_count = c->device_count;
    if (c->offer)
        fill_media(&k, c);
    buf_reserve(out,
                sizeof k + c->device_count * (sizeof(struct kept_device) + CALL_PUSHES_MAX * sizeof(struct kept_push)));
    buf_add(out, &k, sizeof k);
    secret_wipe(&k, sizeof k);
    for (unsigned i = 0; i < c->device_count; i++)
        add_device(out, &c->devices[i]);
    buf_adds(out, timeline ? timeline : "[]");
    free(timeline);
}

void call_keep_along(struct call *c) {
    struct buf b = {0};
    if (!c->owner->d.seal)
        return;
    if (!c->near_new) /* that one is waited for */
        call_keep_done(c);
    if (c->fsm.state == CALL_ENDED) {
        store_kept_delete_along(c->owner->d.store, c->id, "");
        return;
    }
    if (c->offer_text)
        put_along(c, KEPT_OFFER, c->offer_text, strlen(c->offer_text));
    call_keep_forget_offer(c);
    write_call(&b, c);
    if (!b.oom)
        put_along(c, KEPT_CALL, b.p, b.len);
    buf_wipe(&b);
}

void call_keep_forget_offer(struct call *c) {
    if (c->offer_text)
        c->offer_text = secret_free(c->offer_text, strlen(c->offer_text));
}

void call_keep_offer(struct call *c, const char *offer) {
    if (c->owner->d.seal)
        c->offer_text = strdup(offer);
}

/* Changes that no row of the call tells of are collected until the loop is about to wait. */

void call_keep(struct call *c) {
    struct calls *cs = c->owner;
    if (!cs->d.seal || c->keeping || !c->started || c->fsm.state == CALL_ENDED)
        return;
    c->keeping = true;
    DL_APPEND2(cs->to_keep, c, keep_prev, keep_next);
    uv_prepare_start(&cs->keep, calls_on_keep);
}

void call_keep_done(struct call *c) {
    if (!c->keeping)
        return;
    c->keeping = false;
    DL_DELETE2(c->owner->to_keep, c, keep_prev, keep_next);
}

/* States of the media plane */

struct near_kept {
    struct calls *calls;
    slot_id call;
};

struct leg_kept {
    struct calls *calls;
    media_id media;
    struct media_leg_state leg; /* of it, what media_kept looks at */
};

static void on_leg_kept(int err, void *arg) {
    struct leg_kept *k = arg;
    if (err == 0)
        media_kept(k->calls->d.media, k->media, &k->leg);
    free(k);
}

static const char *part_of(char out[static KEPT_PART_BYTES], const struct media_leg_state *leg) {
    if (leg->waits)
        kept_phone(out, leg->number);
    else
        snprintf(out, KEPT_PART_BYTES, "%s", leg->near ? KEPT_NEAR : KEPT_FAR);
    return out;
}

static void put_state(struct call *c, const char *part, const void *p, size_t len, bool late, store_done_cb cb,
                      void *arg) {
    char *closed = seal_part(c, part, p, len);
    struct kept_row row = {c->id, part, closed};
    call_submit_kept(c, closed ? &row : NULL, late, cb, arg);
    free(closed);
}

/* What could not be kept goes on all the same, until a crash. */
static void on_near_kept(int err, void *arg) {
    const struct near_kept *k = arg;
    struct call *c = calls_get(k->calls, k->call);
    (void)err;
    free(arg);
    if (!c || c->near.device < 0)
        return;
    const struct call_device *d = &c->devices[c->near.device];
    c->near.kept = true;
    if (c->fsm.state == CALL_ENDED || c->near.handoff.len == 0 || !d->ws)
        return;
    if (d->call_waits)
        phone_tell_call(c, (unsigned)c->near.device);
    else
        phone_tell_handoff(c);
}

static void keep_call(struct call *c) {
    struct buf b = {0};
    bool now = c->near_new;
    struct near_kept *k = now ? malloc(sizeof *k) : NULL;
    if (k)
        *k = (struct near_kept){c->owner, c->slot};
    c->near_new = false;
    c->near.kept = c->near.kept || (now && !k);
    write_call(&b, c);
    put_state(c, KEPT_CALL, b.p, b.oom ? 0 : b.len, !now, k ? on_near_kept : NULL, k);
    buf_wipe(&b);
}

void calls_on_keep(uv_prepare_t *prepare) {
    struct calls *cs = prepare->data;
    struct call *c, *next;
    uv_prepare_stop(prepare);
    DL_FOREACH_SAFE2(cs->to_keep, c, next, keep_next) {
        call_keep_done(c);
        if (c->fsm.state != CALL_ENDED)
            keep_call(c);
    }
}

/* A near leg may be one that waited. */
static void forget_waiting(const struct call *c, unsigned number) {
    char part[KEPT_PART_BYTES];
    kept_phone(part, number);
    store_kept_delete_along(c->owner->d.store, c->id, part);
}

/* Before the worker tells of it: the phone is told as soon as it is kept. */
void call_keep_near(struct call *c, const struct media_near *near) {
    struct media_leg_state leg;
    char part[KEPT_PART_BYTES];
    if (!c->owner->d.seal)
        return;
    memset(&leg, 0, sizeof leg);
    leg.near = true;
    leg.waits = near->waits;
    leg.number = near->number;
    leg.mode = near->mode;
    leg.ice = near->ice;
    leg.keys = near->keys;
    leg.rtcp = 1 + MEDIA_RESERVED;
    if (!leg.waits)
        forget_waiting(c, leg.number);
    put_along(c, part_of(part, &leg), &leg, sizeof leg);
    secret_wipe(&leg, sizeof leg);
    c->near_new = c->near_new || !near->waits;
    call_keep(c);
}

void call_keep_leg(struct call *c, const struct media_leg_state *leg) {
    char part[KEPT_PART_BYTES];
    struct leg_kept *k = c->owner->d.seal && c->fsm.state != CALL_ENDED ? calloc(1, sizeof *k) : NULL;
    if (!k)
        return;
    k->calls = c->owner;
    k->media = c->media;
    k->leg.near = leg->near;
    k->leg.waits = leg->waits;
    k->leg.rtcp = leg->rtcp;
    k->leg.dtls.record.tx_seq = leg->dtls.record.tx_seq;
    if (leg->near && !leg->waits) {
        forget_waiting(c, leg->number);
        if (c->keeping) /* whose leg it is */
            call_keep_along(c);
    }
    /* Without its keys a call cannot go on: they are not kept waiting for another row. */
    put_state(c, part_of(part, leg), leg, sizeof *leg, leg->keys.profile == MEDIA_PROFILE_NONE, on_leg_kept, k);
}

void call_keep_media(struct call *c, const struct media_call_state *state) {
    if (c->owner->d.seal && c->fsm.state != CALL_ENDED)
        put_state(c, KEPT_MEDIA, state, sizeof *state, true, NULL, NULL);
}
