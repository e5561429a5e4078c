/* SPDX-License-Identifier: Apache-2.0 */
/* The core on a fake clock against an APNs of nghttp2 servers in the same memory: one peer for each connection. */
#ifndef TESTS_UNIT_APNS_CORE_FIXTURE_H
#define TESTS_UNIT_APNS_CORE_FIXTURE_H

#include "apns/apns_core.h"
#include "base/bytes.h"
#include "base/log.h"

#include <nghttp2/nghttp2.h>
#include <openssl/ec.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include <cmocka.h>

#define PEERS_MAX   4096
#define STREAMS_MAX 100
#define REQUEST_MAX 40000
#define RESULTS_MAX 12000
#define START_MS    1000000
#define START_WALL  1780000000000ULL

struct world;
struct peer;

struct request {
    struct peer *peer;
    int32_t stream;
    unsigned number; /* of the push: its apns-id */
    char token[32], bearer[300];
    uint64_t at_ms;
    bool answered, reset;
};

struct peer {
    struct world *w;
    struct apns_link *link; /* NULL: hung up */
    nghttp2_session *h2;
    unsigned index, address, seen, answered;
    uint64_t connect_at_ms, dialled_ms; /* 0: connected already */
    enum apns_lane lane;
    bool connected, deaf, goaway; /* deaf: reads nothing, says nothing */
    struct request *last;         /* whose headers are coming */
    char body[128];
    size_t body_at;
};

struct result {
    unsigned calls;
    enum apns_verdict verdict;
    int status, err;
    unsigned tries, retry_after_s;
    bool hedged;
    struct apns_credential *credential;
    uint64_t at_ms;
    apns_push_id id;
    char reason[64];
    struct world *w;
};

struct world {
    struct apns_core *core;
    struct apns_credential *credential, *other;
    EVP_PKEY *key;
    struct metrics *metrics; /* NULL: none */
    struct apns_time now;
    unsigned addresses, ring_connections, hedge_ms;
    uint32_t streams_max;
    bool refuse_connects;
    struct peer *peers[PEERS_MAX];
    unsigned peer_count;
    struct request *requests;
    unsigned request_count;
    struct result *results;
    void (*react)(struct world *w, struct request *r);
    unsigned alarms[APNS_ALARM_BUG + 1];
    unsigned counter, kinds; /* for reactions */
    void *arg;
};

static inline uint64_t now_ms(const struct world *w) {
    return w->now.mono_us / 1000;
}

/* The peer */

static inline ssize_t peer_read_body(nghttp2_session *h2, int32_t id, uint8_t *out, size_t cap, uint32_t *flags,
                                     nghttp2_data_source *source, void *arg) {
    const char *body = source->ptr;
    size_t n = strlen(body);
    (void)h2;
    (void)id;
    (void)arg;
    assert_true(n <= cap);
    memcpy(out, body, n);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static inline nghttp2_nv peer_field(const char *name, const char *value) {
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), 0};
}

static inline void respond(struct request *r, int status, const char *reason) {
    char code[8];
    struct peer *p = r->peer;
    snprintf(code, sizeof code, "%d", status);
    nghttp2_nv nv[] = {peer_field(":status", code)};
    r->answered = true;
    p->answered++;
    if (*reason) /* one reason at a time on a connection: the body is read when it is sent */
        snprintf(p->body, sizeof p->body, "{\"reason\":\"%s\"}", reason);
    nghttp2_data_provider body = {.source.ptr = p->body, .read_callback = peer_read_body};
    nghttp2_submit_response(p->h2, r->stream, nv, 1, *reason ? &body : NULL);
}

static inline void say_goaway(struct peer *p, int32_t last, const char *text) {
    p->goaway = true;
    nghttp2_submit_goaway(p->h2, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, (const uint8_t *)text, strlen(text));
}

static inline void say_streams(struct peer *p, uint32_t max) {
    nghttp2_settings_entry e = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max};
    nghttp2_submit_settings(p->h2, NGHTTP2_FLAG_NONE, &e, 1);
}

static inline int peer_on_header(nghttp2_session *h2, const nghttp2_frame *f, const uint8_t *name, size_t nlen,
                                 const uint8_t *value, size_t vlen, uint8_t flags, void *arg) {
    struct peer *p = arg;
    struct world *w = p->w;
    char text[300] = "";
    (void)flags;
    struct request *r = nghttp2_session_get_stream_user_data(h2, f->hd.stream_id);
    if (!r) {
        assert_true(w->request_count < REQUEST_MAX);
        r = &w->requests[w->request_count++];
        *r = (struct request){.peer = p, .stream = f->hd.stream_id, .at_ms = now_ms(w)};
        nghttp2_session_set_stream_user_data(h2, f->hd.stream_id, r);
        p->seen++;
    }
    if (vlen < sizeof text)
        memcpy(text, value, vlen);
    if (nlen == 7 && memcmp(name, "apns-id", 7) == 0)
        r->number = (unsigned)strtoul(text + 24, NULL, 16);
    else if (nlen == 5 && memcmp(name, ":path", 5) == 0)
        snprintf(r->token, sizeof r->token, "%.31s", text + strlen("/3/device/"));
    else if (nlen == 13 && memcmp(name, "authorization", 13) == 0)
        snprintf(r->bearer, sizeof r->bearer, "%s", text);
    return 0;
}

static inline int peer_on_frame(nghttp2_session *h2, const nghttp2_frame *f, void *arg) {
    struct peer *p = arg;
    struct request *r = nghttp2_session_get_stream_user_data(h2, f->hd.stream_id);
    if (r && f->hd.type == NGHTTP2_RST_STREAM)
        r->reset = true;
    if (!r || !(f->hd.flags & NGHTTP2_FLAG_END_STREAM) || f->hd.type == NGHTTP2_RST_STREAM)
        return 0;
    if (p->w->react)
        p->w->react(p->w, r);
    else
        respond(r, 200, "");
    return 0;
}

static inline void peer_connect(struct peer *p) {
    nghttp2_session_callbacks *cbs;
    nghttp2_session_callbacks_new(&cbs);
    nghttp2_session_callbacks_set_on_header_callback(cbs, peer_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, peer_on_frame);
    nghttp2_session_server_new(&p->h2, cbs, p);
    nghttp2_session_callbacks_del(cbs);
    say_streams(p, p->w->streams_max);
    p->connected = true;
    assert_int_equal(apns_link_connected(p->link, "none"), 0);
}

/* The link's socket */

static inline int on_dial(struct apns_link *l, void *arg) {
    struct world *w = arg;
    assert_true(w->peer_count < PEERS_MAX);
    struct peer *p = w->peers[w->peer_count] = calloc(1, sizeof *p);
    p->w = w;
    p->index = w->peer_count++;
    p->link = l;
    p->lane = apns_link_lane(l);
    p->address = UINT32_MAX;
    apns_link_set_socket(l, p);
    return 0;
}

static inline void on_flush(struct apns_link *l, void *arg) {
    (void)l;
    (void)arg;
}

static inline void on_hang_up(struct apns_link *l, void *arg) {
    struct peer *p = apns_link_socket(l);
    (void)arg;
    if (p)
        p->link = NULL;
}

static inline void on_alarm(enum apns_alarm alarm, const char *credential, const char *sentence, void *arg) {
    struct world *w = arg;
    assert_true(credential[0] && sentence[0]);
    w->alarms[alarm]++;
}

static inline void peer_resolve(struct peer *p) {
    struct addr list[8];
    uint64_t wait_ms;
    for (unsigned i = 0; i < p->w->addresses; i++) {
        char ip[32];
        snprintf(ip, sizeof ip, "10.0.0.%u", i + 1);
        assert_int_equal(addr_parse(&list[i], ip, 443), 0);
    }
    p->address = apns_link_choose(p->link, list, p->w->addresses, &wait_ms);
    p->connect_at_ms = p->dialled_ms = now_ms(p->w) + wait_ms;
}

/* The connection breaks. */
static inline void peer_cut(struct peer *p) {
    struct apns_link *l = p->link;
    p->link = NULL;
    apns_link_closed(l, "read", "cut");
}

static inline bool peer_pump(struct peer *p) {
    const uint8_t *bytes;
    ssize_t n;
    bool any = false;
    while (p->link && (n = apns_link_output(p->link, &bytes)) > 0) {
        if (!p->deaf)
            assert_int_equal(nghttp2_session_mem_recv(p->h2, bytes, (size_t)n), n);
        any = !p->deaf;
    }
    bool input = false;
    while (p->link && !p->deaf && (n = nghttp2_session_mem_send(p->h2, &bytes)) > 0) {
        assert_int_equal(apns_link_input(p->link, bytes, (size_t)n), 0);
        any = input = true;
    }
    if (input && p->link)
        apns_link_settle(p->link);
    return any;
}

static inline void turn(struct world *w) {
    bool any = true;
    apns_core_time(w->core, &w->now);
    apns_core_step(w->core);
    while (any) {
        any = false;
        for (unsigned i = 0; i < w->peer_count; i++) {
            struct peer *p = w->peers[i];
            if (p->link && !p->connected && p->address == UINT32_MAX)
                peer_resolve(p);
            if (p->link && !p->connected && now_ms(w) >= p->connect_at_ms) {
                if (w->refuse_connects) {
                    peer_cut(p);
                    continue;
                }
                peer_connect(p);
                any = true;
            }
            if (p->link && p->connected)
                any = peer_pump(p) || any;
        }
        if (apns_core_next_ms(w->core) <= now_ms(w) && w->core) {
            apns_core_step(w->core);
            any = any || false;
        }
    }
}

static inline uint64_t next_event(struct world *w) {
    uint64_t next = apns_core_next_ms(w->core);
    for (unsigned i = 0; i < w->peer_count; i++) {
        const struct peer *p = w->peers[i];
        if (p->link && !p->connected && p->connect_at_ms < next)
            next = p->connect_at_ms;
    }
    return next;
}

static inline void advance(struct world *w, uint64_t ms) {
    uint64_t until = now_ms(w) + ms;
    turn(w);
    while (now_ms(w) < until) {
        uint64_t next = next_event(w), step;
        next = next <= now_ms(w) ? now_ms(w) + 1 : next > until ? until : next;
        step = next - now_ms(w);
        w->now.mono_us += step * 1000;
        w->now.wall_ms += step;
        turn(w);
    }
}

/* Pushes */

static inline void on_result(const struct apns_result *r, void *arg) {
    struct result *out = arg;
    out->calls++;
    out->verdict = r->verdict;
    out->status = r->status;
    out->err = r->err;
    out->tries = r->tries;
    out->retry_after_s = r->retry_after_s;
    out->hedged = r->hedged;
    out->credential = r->credential;
    out->at_ms = now_ms(out->w);
    snprintf(out->reason, sizeof out->reason, "%s", r->reason);
}

/* A push with its number in apns-id; token: "00ff" when NULL. */
static inline void push_to(struct world *w, unsigned number, enum apns_lane lane, const char *token, uint64_t wait_ms) {
    char id[UUID_BYTES];
    struct err_text et = {""};
    struct result *r = &w->results[number];
    snprintf(id, sizeof id, "00000000-0000-4000-8000-%012x", number);
    struct apns_push p = {.token = token ? token : "00ff",
                          .apns_id = id,
                          .topic = "com.example.app.voip",
                          .priority = 10,
                          .payload = "{\"aps\":{}}",
                          .payload_len = 10,
                          .lane = lane,
                          .deadline_ms = now_ms(w) + wait_ms};
    r->w = w;
    apns_core_time(w->core, &w->now);
    if (apns_core_push(w->credential, &p, on_result, r, &r->id, &et) != 0)
        fail_msg("%s", et.s);
}

static inline void push(struct world *w, unsigned number) {
    push_to(w, number, APNS_LANE_RING, NULL, 30000);
}

static inline unsigned times(const struct world *w, unsigned number) {
    unsigned n = 0;
    for (unsigned i = 0; i < w->request_count; i++)
        n += w->requests[i].number == number;
    return n;
}

static inline unsigned alive(const struct world *w, enum apns_lane lane) {
    unsigned n = 0;
    for (unsigned i = 0; i < w->peer_count; i++)
        n += w->peers[i]->link && w->peers[i]->connected && w->peers[i]->lane == lane;
    return n;
}

/* Life */

static inline void world_core(struct world *w) {
    static const struct apns_core_ops ops = {on_dial, on_flush, on_hang_up};
    assert_int_equal(apns_core_new(&w->core, &ops, w, w->metrics), 0);
    apns_core_set_alarm(w->core, on_alarm, w);
    apns_core_time(w->core, &w->now);
}

static inline struct apns_credential *world_credential(struct world *w, const char *name) {
    struct apns_credential *c;
    struct apns_core_identity id = {.name = name,
                                    .host = "api.example",
                                    .port = 443,
                                    .key = w->key,
                                    .team_id = "ABCDE12345",
                                    .key_id = "FGHIJ67890",
                                    .ring_connections = w->ring_connections,
                                    .hedge_ms = w->hedge_ms};
    assert_int_equal(apns_core_add(w->core, &c, &id), 0);
    return c;
}

static inline void world_stop(struct world *w) {
    apns_core_time(w->core, &w->now);
    apns_core_stop(w->core);
    w->core = apns_core_free(w->core);
}

static inline int setup_with(void **state, struct metrics *metrics) {
    struct world *w = *state = calloc(1, sizeof *w);
    w->metrics = metrics;
    log_setup(LOG_LEVEL_ERROR + 1, LOG_FORMAT_LOGFMT);
    w->requests = calloc(REQUEST_MAX, sizeof *w->requests);
    w->results = calloc(RESULTS_MAX, sizeof *w->results);
    w->key = EVP_EC_gen("P-256");
    w->now = (struct apns_time){START_MS * 1000ULL, START_WALL};
    w->addresses = 4;
    w->streams_max = STREAMS_MAX;
    w->ring_connections = 2;
    world_core(w);
    w->credential = world_credential(w, "app");
    return 0;
}

static inline int setup(void **state) {
    return setup_with(state, NULL);
}

/* Both ring connections up and proven. */
static inline void prove(struct world *w) {
    advance(w, 2000);
    for (unsigned i = 0; i < 4; i++)
        push(w, RESULTS_MAX - 1 - i);
    advance(w, 10);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(w->results[RESULTS_MAX - 1 - i].status, 200);
    w->request_count = 0;
}

static inline int teardown(void **state) {
    struct world *w = *state;
    if (w->core)
        world_stop(w);
    for (unsigned i = 0; i < w->peer_count; i++) {
        nghttp2_session_del(w->peers[i]->h2);
        free(w->peers[i]);
    }
    EVP_PKEY_free(w->key);
    metrics_free(w->metrics);
    free(w->requests);
    free(w->results);
    free(w);
    return 0;
}

#endif
