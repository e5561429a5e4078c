/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/peer_world.h"

#include "base/bytes.h"
#include "base/secret.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UFRAG   "localfrag"
#define PWD     "localpasswordlocalpassword"
#define WAIT_MS 10000

/* In every build: these are what the tests stand on. */
#undef assert
#define assert(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static void on_path(void *arg) {
    ((struct peer_end *)arg)->path = true;
}

static void on_keys(enum media_profile profile, void *arg) {
    (void)profile;
    ((struct peer_end *)arg)->keys = true;
}

static void keep(struct peer_end *end, bool rtcp, const uint8_t *p, size_t len) {
    if (end->count == PEER_WORLD_GOT_MAX)
        return;
    struct peer_packet *k = &end->got[end->count++];
    assert(len <= sizeof k->p);
    k->at_ms = clock_mono_ms();
    k->rtcp = rtcp;
    k->len = len;
    memcpy(k->p, p, len);
}

static void on_rtp(const uint8_t *p, size_t len, void *arg) {
    keep(arg, false, p, len);
}

static void on_rtcp(const uint8_t *p, size_t len, void *arg) {
    keep(arg, true, p, len);
}

static void on_data(const uint8_t *p, size_t len, void *arg) {
    struct peer_end *end = arg;
    snprintf(end->data, sizeof end->data, "%.*s", (int)len, (const char *)p);
}

static void on_closed(int err, void *arg) {
    (void)err;
    ((struct peer_end *)arg)->closed = true;
}

static const struct peer_endpoint_ops ops = {
    .path_up = on_path, .keys_up = on_keys, .rtp = on_rtp, .data = on_data, .closed = on_closed, .rtcp = on_rtcp};

static struct sdp_fingerprint fingerprint_of(const char *text) {
    struct sdp_fingerprint f = {.hash = "sha-256", .len = 32};
    char hex[65];
    size_t n = 0;
    for (const char *s = text + strlen("sha-256 "); *s; s++)
        if (*s != ':')
            hex[n++] = *s;
    hex[n] = 0;
    assert(hex_decode(f.value, sizeof f.value, hex) == 32);
    return f;
}

static void take_state(struct peer_world *w, const struct media_event *ev) {
    w->states++;
    if (ev->kind == MEDIA_EV_CALL_STATE) {
        w->call_state = ev->u.call;
        return;
    }
    *(ev->u.leg.near ? &w->near_state : &w->far_state) = ev->u.leg;
    if (w->keeps)
        media_kept(w->media, w->id, &ev->u.leg);
}

static void take_events(struct peer_world *w) {
    struct media_event ev;
    while (media_poll(w->media, &ev) == 0) {
        w->seen[ev.kind] = true;
        if (ev.kind == MEDIA_EV_LEG_STATE || ev.kind == MEDIA_EV_CALL_STATE)
            take_state(w, &ev);
        if (ev.kind == MEDIA_EV_KEYS)
            w->keys = ev;
        if (ev.kind == MEDIA_EV_STATS || ev.kind == MEDIA_EV_CLOSED)
            w->last_stats = ev;
        if (ev.kind == MEDIA_EV_FAILED)
            w->failed_err = ev.u.failed.err;
    }
}

void peer_world_step(struct peer_world *w) {
    struct peer_end *ends[] = {&w->caller, &w->phone};
    poll(NULL, 0, 2);
    for (int i = 0; i < 2; i++) {
        if (!ends[i]->e)
            continue;
        peer_endpoint_on_readable(ends[i]->e, clock_mono_ms());
        peer_endpoint_tick(ends[i]->e, clock_mono_ms());
    }
    take_events(w);
}

void peer_world_settle(struct peer_world *w, unsigned ms) {
    uint64_t until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until)
        peer_world_step(w);
}

static void wait_for_flag(struct peer_world *w, const bool *flag) {
    uint64_t until = clock_mono_ms() + WAIT_MS;
    while (!*flag && clock_mono_ms() < until)
        peer_world_step(w);
    assert(*flag);
}

void peer_world_sync(struct peer_world *w) {
    bool *done = &w->seen[MEDIA_EV_STATS];
    *done = false;
    assert(media_stats(w->media, w->id) == 0);
    wait_for_flag(w, done);
}

void peer_world_gate(struct peer_world *w) {
    assert(media_gate(w->media, w->id) == 0);
    peer_world_sync(w);
}

struct peer_world *peer_world_new(const struct media_config *cfg) {
    struct peer_world *w = calloc(1, sizeof *w);
    struct err_text et = {""};
    assert(w && media_start(&w->media, cfg, &et) == 0);
    return w;
}

/* What the workers still send goes nowhere. */
static void cut_off(uint16_t port) {
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC), cut = 0;
    assert(nowhere >= 0);
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_storage bound;
        struct addr a;
        socklen_t len = sizeof bound;
        if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0)
            continue;
        addr_from_sockaddr(&a, (struct sockaddr *)&bound);
        if (addr_is_set(&a) && addr_port(&a) == port)
            cut += dup2(nowhere, fd) == fd;
    }
    assert(cut == 1);
    close(nowhere);
}

void peer_world_crash(struct peer_world *w, const struct media_config *as) {
    struct media_config cfg = *as;
    struct media_resume r = {.call = w->call_state, .far = w->far_state};
    struct err_text et = {""};
    char fingerprint[DTLS_FINGERPRINT_BYTES];
    cfg.port = r.port = media_port(w->media, 0);
    snprintf(fingerprint, sizeof fingerprint, "%s", media_call_fingerprint(w->media, w->id));
    r.fingerprint = fingerprint;
    assert(w->identity || media_identity_save(w->media, 0, &w->identity, &w->identity_len) == 0);
    cut_off(cfg.port);
    media_stop(w->media);
    assert(media_start(&w->media, &cfg, &et) == 0);
    assert(media_identity_load(w->media, w->identity, w->identity_len, &et) == 0);
    memset(w->seen, 0, sizeof w->seen);
    assert(media_resume(w->media, &r, &w->id, &et) == 0);
    if (w->near_state.near)
        assert(media_resume_near(w->media, w->id, &w->near_state) == 0);
    media_identities_settle(w->media, NULL, NULL);
    peer_world_sync(w);
}

static void end_free(struct peer_end *end) {
    peer_endpoint_free(end->e);
    dtls_identity_free(end->identity);
}

struct peer_world *peer_world_free(struct peer_world *w) {
    end_free(&w->caller);
    end_free(&w->phone);
    media_stop(w->media);
    secret_free(w->identity, w->identity_len);
    free(w);
    return NULL;
}

static void open_end(struct peer_world *w, struct peer_end *end, const struct ice_lite *ice,
                     const struct media_keys *keys) {
    struct sdp_fingerprint theirs = fingerprint_of(media_fingerprint(w->media, 0));
    struct peer_endpoint_params p = {
        .local_ufrag = UFRAG,
        .local_pwd = PWD,
        .remote_ufrag = ice->ufrag,
        .remote_pwd = ice->pwd,
        .dtls = keys ? PEER_DTLS_NONE : PEER_DTLS_CLIENT,
        .identity = end->identity,
        .fingerprints = &theirs,
        .fingerprint_count = 1,
        .keys = keys,
    };
    addr_parse(&p.remote, "127.0.0.1", media_port(w->media, 0));
    assert(peer_endpoint_new(&end->e, &p, &ops, end) == 0);
}

static void open_ice(struct ice_lite *ice) {
    ice_lite_init(ice);
    snprintf(ice->remote_ufrag, sizeof ice->remote_ufrag, "%s", UFRAG);
}

void peer_world_open(struct peer_world *w, const struct media_far *as) {
    struct media_far far = *as;
    assert(dtls_identity_new(&w->caller.identity, NULL) == 0);
    open_ice(&w->far);
    far.ice = w->far;
    far.fingerprint_count = 1;
    far.fingerprints[0] = fingerprint_of(dtls_identity_fingerprint(w->caller.identity));
    assert(media_open(w->media, &far, &w->id) == 0);
    open_end(w, &w->caller, &w->far, NULL);
}

void peer_world_call(struct peer_world *w, const struct media_far *far) {
    peer_world_open(w, far);
    wait_for_flag(w, &w->caller.keys);
    wait_for_flag(w, &w->seen[MEDIA_EV_FAR_DTLS]);
}

void peer_world_hand_over(struct peer_world *w, enum media_mode mode) {
    struct media_near near = {.mode = mode, .waits = w->waits};
    struct media_keys phone = {.profile = MEDIA_PROFILE_NONE};
    open_ice(&w->near);
    near.ice = w->near;
    if (mode == MEDIA_MODE_SDES || mode == MEDIA_MODE_SEALED) {
        media_keys_random(&near.keys, MEDIA_PROFILE_AES128_CM_SHA1_80);
        phone.profile = near.keys.profile;
        memcpy(phone.rx, near.keys.tx, sizeof phone.rx);
        memcpy(phone.tx, near.keys.rx, sizeof phone.tx);
    } else if (mode == MEDIA_MODE_DTLS) {
        assert(dtls_identity_new(&w->phone.identity, NULL) == 0);
        near.fingerprint_count = 1;
        near.fingerprints[0] = fingerprint_of(dtls_identity_fingerprint(w->phone.identity));
    }
    assert(media_near_open(w->media, w->id, &near) == 0);
    if (mode == MEDIA_MODE_TRANSFER) {
        wait_for_flag(w, &w->seen[MEDIA_EV_KEYS]);
        phone = w->keys.u.keys.keys;
    }
    open_end(w, &w->phone, &w->near, mode == MEDIA_MODE_DTLS ? NULL : &phone);
    wait_for_flag(w, &w->phone.path);
    wait_for_flag(w, &w->phone.keys);
    if (mode == MEDIA_MODE_DTLS)
        wait_for_flag(w, &w->seen[MEDIA_EV_NEAR_DTLS]);
    if (mode == MEDIA_MODE_TRANSFER)
        assert(media_keys_taken(w->media, w->id) == 0);
    peer_world_sync(w);
}

void peer_world_send(struct peer_end *from, const uint8_t *p, size_t len) {
    assert(peer_endpoint_send_rtp(from->e, p, len) == 0);
}

void peer_world_send_rtp(struct peer_end *from, uint32_t ssrc, uint16_t seq) {
    uint8_t p[172] = {0x80,
                      0,
                      (uint8_t)(seq >> 8),
                      (uint8_t)seq,
                      0,
                      0,
                      0,
                      0,
                      (uint8_t)(ssrc >> 24),
                      (uint8_t)(ssrc >> 16),
                      (uint8_t)(ssrc >> 8),
                      (uint8_t)ssrc};
    peer_world_send(from, p, sizeof p);
}
