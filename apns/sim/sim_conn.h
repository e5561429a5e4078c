/* SPDX-License-Identifier: Apache-2.0 */
/* A provider's connection, shared by the files of the provider's side. Thread: the loop's.
 *
 *   sim_listen.c  listeners, and who is let in
 *   sim_net.c     TCP, TLS: bytes in, bytes out
 *   sim_h2.c      an nghttp2 session: frames, streams, headers
 *   sim_answer.c  a whole request: what is answered, when, and what follows from it
 *   sim_act.c     GOAWAY, resets, black holes: what scripts do
 *   sim_bench.c   in place of the three above, when only speed counts */
#ifndef APNS_SIM_SIM_CONN_H
#define APNS_SIM_SIM_CONN_H

#include "apns/sim/sim_priv.h"
#include "apns/sim/sim_rules.h"
#include "apns/sim/sim_watch.h"
#include "base/buf.h"
#include "base/bytes.h"

#include <nghttp2/nghttp2.h>

#define SIM_READ_BYTES 65536

struct sim_stream {
    struct sim_stream *prev, *next;
    int32_t id;
    struct sim_request request;
    char *body;
    size_t header_bytes;
    struct sim_verdict verdict;
    char reason[64], apns_id[UUID_BYTES];
    struct sim_action then; /* what follows the answer; type SIM_ACT_PASS: nothing */
    bool answered;
    char reply[256];
    size_t reply_len, reply_at;
};

/* Of the bench mode: where in a frame the bytes are. */
struct sim_bench {
    uint8_t head[9];
    size_t head_len, skip; /* bytes of this frame's head that are here; bytes of its payload that are not */
    uint8_t ping[8];
    size_t preface_left, unacked;
};

struct sim_conn {
    struct sim_conn *prev, *next;
    struct sim *s;
    struct sim_listener *listener;
    uint64_t number;
    char address[ADDR_STR_BYTES], ip[ADDR_STR_BYTES], peer_ip[ADDR_STR_BYTES];
    uint64_t opened_ms;
    uv_tcp_t tcp;
    SSL *ssl;
    BIO *in, *out;         /* owned by ssl */
    struct buf plain, raw; /* on its way into TLS; frames of ours, to go behind those of the session */
    bool closing, reading, stalled, started;
    bool lingering; /* closing, and waiting for the peer's end */
    uv_shutdown_t shutdown;
    nghttp2_session *h2;
    struct sim_provider provider;
    struct sim_certificate certificate;
    struct sim_stream *streams;
    unsigned open_streams, settings_acks;
    int64_t limit, limit_before; /* before: until the latest SETTINGS are acknowledged */
    int32_t last_stream, last_answered;
    uint64_t requests, answers;
    bool goaway_sent, wedged;
    int32_t goaway_last;
    int64_t goaway_then;
    uint64_t wedged_until_ms; /* 0: for ever */
    int64_t hole;             /* a value of black_hole; -1: as the behaviour says */
    uint64_t budget_start_ms;
    int64_t budget_used;
    struct sim_bench bench;
};

struct sim_listener {
    struct sim *s;
    uv_tcp_t tcp;
    struct addr address;
    bool open;
};

struct sim_peer {
    char ip[ADDR_STR_BYTES];
    uint64_t window_start_ms, refused_until_ms;
    int64_t connects;
    UT_hash_handle hh;
};

struct sim_net {
    SSL_CTX *ctx;
    struct sim_listener listeners[SIM_LISTENERS_MAX];
    unsigned count, open;
    struct sim_conn *conns;
    struct sim_peer *peers;
    uint64_t number;
    uint8_t read_buffer[SIM_READ_BYTES]; /* the loop reads one connection at a time */
    bool closing;
    void (*done)(struct sim *s);
};

/* Big-endian fields of frames. */
static inline void sim_put32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static inline uint32_t sim_get32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* sim_net.c */
void sim_net_maybe_done(struct sim *s);
struct sim_conn *sim_conn_find(const struct sim *s, uint64_t number);
/* At once: what is not written yet, or not read by either side, is lost. */
void sim_conn_close(struct sim_conn *c);
/* All that was written arrives, then comes the end; what the peer still sends is thrown away until it ends, too. */
void sim_conn_finish(struct sim_conn *c);
/* TCP RST. */
void sim_conn_reset(struct sim_conn *c);
/* All that is queued, through TLS onto the wire. Not inside of a callback of the session. */
void sim_conn_flush(struct sim_conn *c);
/* Reading goes on, or stops, as the black hole says. */
void sim_conn_read(struct sim_conn *c);
int64_t sim_conn_hole(const struct sim_conn *c);

/* sim_h2.c */
bool sim_h2_start(struct sim_conn *c);
/* False when the session is beyond help. */
bool sim_h2_input(struct sim_conn *c, const uint8_t *p, size_t len);
/* Frames of the session, then ours, into c->plain. False when the session failed. */
bool sim_h2_output(struct sim_conn *c);
void sim_h2_free(struct sim_conn *c);
/* SETTINGS with this number of streams. */
void sim_h2_limit(struct sim_conn *c, int64_t streams);
/* A frame of ours. */
void sim_h2_raw(struct sim_conn *c, uint8_t type, int32_t stream, const void *payload, size_t len);
struct sim_stream *sim_h2_stream(const struct sim_conn *c, int32_t id);
void sim_h2_headers(struct sim_conn *c, struct sim_stream *st, const nghttp2_nv *nv, size_t n, bool with_body);

/* sim_answer.c */
/* The request is whole. */
void sim_request_done(struct sim_conn *c, struct sim_stream *st);

/* sim_act.c */
void sim_act(struct sim_conn *c, const struct sim_action *a);
/* GOAWAY as the behaviour has it. */
void sim_goaway(struct sim_conn *c);
void sim_goaway_send(struct sim_conn *c, const struct sim_action *a);
/* GOAWAY with this reason in JSON, last-stream-id 0 when nothing was taken; then close. */
void sim_goaway_reason(struct sim_conn *c, const char *reason, bool last_zero);

/* sim_bench.c */
void sim_bench_start(struct sim_conn *c);
bool sim_bench_input(struct sim_conn *c, const uint8_t *p, size_t len);

#endif
