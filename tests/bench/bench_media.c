/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_media.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/bench/bench_cpu.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALL_UP_MS 10000
#define TICK_MS    10

static void fail(const char *what) {
    fprintf(stderr, "bench: %s\n", what);
    _exit(1); /* other threads are at work */
}

void bench_media_start(struct bench_media *m, unsigned calls_max, const char *callers) {
    struct media_config cfg = {.address = "127.0.0.1", .workers = 1, .calls_max = calls_max, .hold_ms = 500};
    struct bench_threads before = bench_threads_of(getpid());
    struct err_text et = {""};
    if (media_start(&m->media, &cfg, &et) != 0)
        fail(et.s);
    m->worker = bench_thread_new(&before);
    bench_cpu_pin(m->worker, bench_cpu_measured());
    addr_parse(&m->at, cfg.address, media_port(m->media, 0));
    m->fingerprint = bench_fingerprint(media_fingerprint(m->media, 0));
    m->callers = bench_fingerprint(callers);
}

void bench_media_stop(struct bench_media *m) {
    m->media = media_stop(m->media);
}

int bench_media_open(struct bench_media *m, uint32_t number, media_id *id, struct bench_target *target) {
    struct media_far far = {.worker = 0, .fingerprints = {m->callers}, .fingerprint_count = 1};
    ice_lite_init(&far.ice);
    *target = (struct bench_target){.to = m->at, .ice = true, .dtls = true, .fingerprint = m->fingerprint};
    snprintf(target->ufrag, sizeof target->ufrag, "%s", far.ice.ufrag);
    snprintf(target->pwd, sizeof target->pwd, "%s", far.ice.pwd);
    snprintf(target->own_ufrag, sizeof target->own_ufrag, "%08x", number);
    snprintf(far.ice.remote_ufrag, sizeof far.ice.remote_ufrag, "%s", target->own_ufrag);
    return media_open(m->media, &far, id);
}

bool bench_media_event(struct bench_media *m, struct media_event *ev, unsigned wait_ms) {
    struct pollfd p = {.fd = media_fd(m->media), .events = POLLIN};
    uint64_t until_ms = clock_mono_ms() + wait_ms, now_ms;
    while (media_poll(m->media, ev) != 0) { /* readable does not mean that there is one */
        now_ms = clock_mono_ms();
        if (now_ms >= until_ms)
            return false;
        poll(&p, 1, (int)(until_ms - now_ms));
    }
    return true;
}

/* One call on its way up. */
struct rising {
    struct bench_media *m;
    struct bench_load *load;
    enum media_mode mode;
    struct bench_peer peers[2]; /* caller, phone */
    media_id id;
    struct media_keys phone_keys; /* as the phone sees them */
    bool near_ice;
};

static void on_dgram(const struct bench_dgram *dg, void *arg) {
    struct bench_peer *p = arg;
    if (dg->peer == p->number)
        bench_peer_input(p, dg->p, dg->len, clock_mono_ms());
}

static void step(struct rising *r) {
    struct media_event ev;
    for (int i = 0; i < 2; i++) {
        if (!r->peers[i].socket)
            continue;
        bench_socket_receive(r->peers[i].socket, on_dgram, &r->peers[i]);
        bench_peer_tick(&r->peers[i], clock_mono_ms());
        bench_socket_flush(r->peers[i].socket);
    }
    while (bench_media_event(r->m, &ev, 0)) {
        if (ev.kind == MEDIA_EV_FAILED)
            fail("a call failed while it was set up");
        if (ev.kind == MEDIA_EV_NEAR_ICE)
            r->near_ice = true;
        if (ev.kind == MEDIA_EV_KEYS) {
            /* In the event, rx is what the caller sends: the phone's rx, too. */
            r->phone_keys = ev.u.keys.keys;
        }
        media_keys_wipe(&ev.u.keys.keys);
    }
}

static void swap(struct media_keys *out, const struct media_keys *in) {
    out->profile = in->profile;
    memcpy(out->rx, in->tx, sizeof out->rx);
    memcpy(out->tx, in->rx, sizeof out->tx);
}

static bool caller_up(const struct rising *r) {
    return r->peers[0].keys.profile != MEDIA_PROFILE_NONE;
}

static bool phone_up(const struct rising *r) {
    return r->near_ice && r->phone_keys.profile != MEDIA_PROFILE_NONE;
}

static void wait_until(struct rising *r, bool (*done)(const struct rising *r)) {
    uint64_t until_ms = clock_mono_ms() + CALL_UP_MS;
    while (!done(r)) {
        if (clock_mono_ms() > until_ms)
            fail("a call did not come up");
        step(r);
    }
}

static void open_near(struct rising *r, uint32_t number) {
    struct media_near near = {.mode = r->mode};
    struct bench_peer *phone = &r->peers[1];
    ice_lite_init(&near.ice);
    *phone = (struct bench_peer){
        .socket = r->load->sockets[1], .number = number, .target = {.to = r->m->at, .ice = true, .own_ufrag = "phone"}};
    snprintf(phone->target.ufrag, sizeof phone->target.ufrag, "%s", near.ice.ufrag);
    snprintf(phone->target.pwd, sizeof phone->target.pwd, "%s", near.ice.pwd);
    snprintf(near.ice.remote_ufrag, sizeof near.ice.remote_ufrag, "%s", phone->target.own_ufrag);
    if (r->mode != MEDIA_MODE_TRANSFER) {
        media_keys_random(&near.keys, r->peers[0].keys.profile);
        swap(&r->phone_keys, &near.keys);
    }
    if (media_near_open(r->m->media, r->id, &near) != 0)
        fail("no near leg");
    bench_peer_start(phone, clock_mono_ms());
}

static void bring_up(struct rising *r, uint32_t number, struct dtls_identity *callers) {
    struct bench_peer *caller = &r->peers[0];
    *caller = (struct bench_peer){.socket = r->load->sockets[0], .number = number, .identity = callers};
    if (bench_media_open(r->m, number, &r->id, &caller->target) != 0)
        fail("the media plane takes no call");
    bench_peer_start(caller, clock_mono_ms());
    wait_until(r, caller_up);
    open_near(r, number);
    wait_until(r, phone_up);
    media_gate(r->m->media, r->id);
    if (r->mode == MEDIA_MODE_TRANSFER)
        media_keys_taken(r->m->media, r->id);
}

void bench_media_calls(struct bench_media *m, struct bench_load *l, unsigned calls, enum media_mode mode,
                       struct dtls_identity *callers) {
    for (unsigned i = 0; i < calls; i++) {
        struct rising r = {.m = m, .load = l, .mode = mode};
        bring_up(&r, i, callers);
        l->ends[i][0].to = l->ends[i][1].to = m->at;
        if (rtp_crypt_new(&l->ends[i][0].crypt, &r.peers[0].keys) != 0 ||
            rtp_crypt_new(&l->ends[i][1].crypt, &r.phone_keys) != 0)
            fail("no SRTP");
        media_keys_wipe(&r.phone_keys);
        bench_peer_end(&r.peers[0]);
        bench_peer_end(&r.peers[1]);
    }
    l->calls = calls;
    poll(NULL, 0, TICK_MS); /* the last commands */
}
