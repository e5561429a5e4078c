/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that go on after a crash. With a seal key, all that a live call is lies in the store, sealed, in parts:
 *
 *   call        the state machine, its phones and their pushes
 *   offer       the caller's SDP
 *   media       struct media_call_state
 *   far, near   struct media_leg_state, and phone/N of a phone that rings with keys of its own
 *
 * A part is written whenever it changes, `call` in the transaction of the call's row, and all go with its end. They are
 * this program's structs as they are: another version, or another boot of the machine, whose monotonic clock they speak
 * of, does not go on with them. */
#include "base/log.h"
#include "gateway/calls_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define PART_BYTES    20
#define PARTS_MAX     (4 + MEDIA_WAITING_MAX + 1)
#define BOOT_ID_BYTES 37
#define ABOUT_BYTES   (UUID_BYTES + PART_BYTES + 16)

static const char part_call[] = "call", part_offer[] = "offer", part_media[] = "media", part_far[] = "far",
                  part_near[] = "near";

struct kept_near {
    int device;
    enum media_mode mode;
    char phone_ufrag[HANDOFF_UFRAG_BYTES];
    bool told, taken, answered_sdp, noted;
};

/* The rest is in its row of the ledger, which is written before it can leave and with each thing that is heard of it.
 */
struct kept_push {
    char id[UUID_BYTES];
    enum apns_push_type type;
    enum push_state state;
};

/* Its pushes follow. */
struct kept_device {
    char id[DEVICE_ID_BYTES];
    char app_version[DEVICE_VERSION_BYTES], os_version[DEVICE_VERSION_BYTES];
    enum media_mode mode;
    bool waits;
    struct kept_near waiting;
    unsigned push_count;
};

/* Its devices follow, and its timeline as JSON. */
struct kept_call {
    char version[sizeof WAKEGATE_VERSION];
    char boot[BOOT_ID_BYTES];
    size_t sizes[5];
    struct call_fsm fsm;
    char handle[PUSH_NAME_BYTES], name[PUSH_NAME_BYTES];
    bool video, ringback;
    uint64_t request_us, request_wall_us, created_ms, expires_ms, answered_ms;
    uint16_t port;
    char fingerprint[DTLS_FINGERPRINT_BYTES];
    char ice_ufrag[ICE_REMOTE_UFRAG_BYTES], ice_pwd[257]; /* the caller's present ones */
    unsigned ice_session;
    struct ice_lite far_ice;
    enum media_profile profile;
    struct kept_near near;
    unsigned device_count;
};

static const char *boot_id(void) {
    static char id[BOOT_ID_BYTES];
    FILE *f = id[0] ? NULL : fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f) {
        if (!fgets(id, sizeof id, f))
            id[0] = 0;
        fclose(f);
    }
    return id;
}

static void stamp(struct kept_call *k) {
    const size_t sizes[] = {sizeof *k, sizeof(struct kept_device), sizeof(struct kept_push),
                            sizeof(struct media_leg_state), sizeof(struct media_call_state)};
    memcpy(k->version, WAKEGATE_VERSION, sizeof k->version);
    snprintf(k->boot, sizeof k->boot, "%s", boot_id());
    memcpy(k->sizes, sizes, sizeof k->sizes);
}

static bool stamp_is_ours(const struct kept_call *k) {
    struct kept_call ours;
    stamp(&ours);
    return k->boot[0] && memcmp(k->version, ours.version, sizeof ours.version) == 0 &&
           memcmp(k->sizes, ours.sizes, sizeof ours.sizes) == 0 && strncmp(k->boot, ours.boot, sizeof k->boot) == 0;
}

/* A sealed part is of one call, and is that part. */
static const char *about(char out[static ABOUT_BYTES], const char *call, const char *part) {
    snprintf(out, ABOUT_BYTES, "wakegate %s %s", call, part);
    return out;
}

/* Writing */

static char *seal_part(const struct call *c, const char *part, const void *p, size_t len) {
    char text[ABOUT_BYTES], *closed = NULL;
    if (seal_close(&closed, c->owner->d.seal, p, len, about(text, c->id, part)) != 0)
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
    stamp(&k);
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
    call_keep_done(c);
    if (c->fsm.state == CALL_ENDED) {
        store_kept_delete_along(c->owner->d.store, c->id, "");
        return;
    }
    if (c->offer_text)
        put_along(c, part_offer, c->offer_text, strlen(c->offer_text));
    free(c->offer_text);
    c->offer_text = NULL;
    write_call(&b, c);
    if (!b.oom)
        put_along(c, part_call, b.p, b.len);
    buf_wipe(&b);
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

static const char *part_of(char out[static PART_BYTES], const struct media_leg_state *leg) {
    if (leg->waits)
        snprintf(out, PART_BYTES, "phone/%u", leg->number);
    else
        snprintf(out, PART_BYTES, "%s", leg->near ? part_near : part_far);
    return out;
}

static void put_state(struct call *c, const char *part, const void *p, size_t len, bool late, store_done_cb cb,
                      void *arg) {
    char *closed = seal_part(c, part, p, len);
    struct kept_row row = {c->id, part, closed};
    call_submit_kept(c, closed ? &row : NULL, late, cb, arg);
    free(closed);
}

void calls_on_keep(uv_prepare_t *prepare) {
    struct calls *cs = prepare->data;
    struct call *c, *next;
    uv_prepare_stop(prepare);
    DL_FOREACH_SAFE2(cs->to_keep, c, next, keep_next) {
        struct buf b = {0};
        call_keep_done(c);
        if (c->fsm.state == CALL_ENDED)
            continue;
        write_call(&b, c);
        if (!b.oom)
            put_state(c, part_call, b.p, b.len, true, NULL, NULL);
        buf_wipe(&b);
    }
}

/* A near leg may be one that waited. */
static void forget_waiting(const struct call *c, unsigned number) {
    char part[PART_BYTES];
    snprintf(part, sizeof part, "phone/%u", number);
    store_kept_delete_along(c->owner->d.store, c->id, part);
}

/* Before the worker tells of it: the phone may have been told by then. */
void call_keep_near(const struct call *c, const struct media_near *near) {
    struct media_leg_state leg;
    char part[PART_BYTES];
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
}

void call_keep_leg(struct call *c, const struct media_leg_state *leg) {
    char part[PART_BYTES];
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
        put_state(c, part_media, state, sizeof *state, true, NULL, NULL);
}

/* Loading */

struct part {
    char name[PART_BYTES];
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
    char text[ABOUT_BYTES];
    struct kept *k;
    if (!cs->d.seal || strlen(row->call) >= UUID_BYTES || strlen(row->part) >= PART_BYTES)
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
    int err = seal_open(&part->p, &part->len, cs->d.seal, row->value, about(text, row->call, row->part));
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
    char name[PART_BYTES];
    int err = 0;
    if (c->near.device >= 0) {
        snprintf(name, sizeof name, "phone/%d", c->near.device);
        err = resume_near(c, k, &c->near, find_part(k, name, 0) ? name : part_near, et);
    }
    for (unsigned i = 0; i < c->device_count && err == 0; i++) {
        if (!c->devices[i].waiting)
            continue;
        snprintf(name, sizeof name, "phone/%u", i);
        err = resume_near(c, k, c->devices[i].waiting, name, et);
    }
    return err;
}

static int resume_media(struct call *c, const struct kept *k, const struct kept_call *head, struct err_text *et) {
    struct calls *cs = c->owner;
    const struct part *offer = find_part(k, part_offer, 0),
                      *media = find_part(k, part_media, sizeof(struct media_call_state)),
                      *far = find_part(k, part_far, sizeof(struct media_leg_state));
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
    const struct part *media = find_part(k, part_media, 0), *far = find_part(k, part_far, 0),
                      *near = find_part(k, part_near, sizeof(struct media_leg_state));
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

static int resume(struct call *c, const struct kept *k, const struct call_row *row, struct err_text *et) {
    struct kept_call head;
    const struct part *part = find_part(k, part_call, 0);
    struct reader r = {part ? part->p : NULL, part ? part->len : 0};
    if (!take(&r, &head, sizeof head) || !stamp_is_ours(&head) || head.device_count > CALL_LEGS_MAX)
        return err_say(et, E_UNSUPPORTED, "it was kept by another version, or before the machine was started");
    int err = set_call(c, &head, row, et);
    c->devices = calloc(head.device_count, sizeof *c->devices);
    if (!c->devices)
        return err_say(et, E_NOMEM, "out of memory");
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
