/* SPDX-License-Identifier: Apache-2.0 */
/* The bench mode: as little as HTTP/2 allows, so that the client is what is measured. Headers are not decoded (nobody
 * here depends on the HPACK table), and each END_STREAM is answered with ":status: 200" of the static table. */
#include "apns/sim/sim_conn.h"

#include <string.h>

#define PREFACE_BYTES  24 /* "PRI * HTTP/2.0..." (RFC 9113 3.4); what is in it is not looked at */
#define HEAD_BYTES     9
#define WINDOW_BYTES   (1U << 30)
#define WINDOW_STEP    (1U << 24) /* given back at once, when so much was taken */
#define INDEXED_200    0x88       /* RFC 7541 6.1, index 8 */
#define FLAG_END       0x1        /* END_STREAM, and ACK of SETTINGS and PING */
#define FLAG_END_HEADS 0x4

static void frame(struct sim_conn *c, uint8_t type, uint8_t flags, uint32_t stream, const uint8_t *payload,
                  uint8_t len) {
    uint8_t head[HEAD_BYTES] = {0, 0, len, type, flags};
    sim_put32(head + 5, stream);
    buf_add(&c->plain, head, sizeof head);
    if (len > 0)
        buf_add(&c->plain, payload, len);
}

static void give_window(struct sim_conn *c, uint32_t bytes) {
    uint8_t payload[4];
    sim_put32(payload, bytes);
    frame(c, NGHTTP2_WINDOW_UPDATE, 0, 0, payload, sizeof payload);
}

void sim_bench_start(struct sim_conn *c) {
    uint8_t settings[12] = {0, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0, 0, 0, 0,
                            0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE};
    sim_put32(settings + 2, (uint32_t)c->s->b.settings_streams);
    sim_put32(settings + 8, 1U << 20);
    frame(c, NGHTTP2_SETTINGS, 0, 0, settings, sizeof settings);
    give_window(c, WINDOW_BYTES);
    c->limit = c->s->b.settings_streams;
    c->bench.preface_left = PREFACE_BYTES;
}

/* A frame's head is whole. */
static void take_head(struct sim_conn *c) {
    static const uint8_t ok = INDEXED_200;
    struct sim_bench *b = &c->bench;
    uint8_t type = b->head[3], flags = b->head[4];
    b->skip = (size_t)b->head[0] << 16 | (size_t)b->head[1] << 8 | b->head[2];
    if (type == NGHTTP2_DATA && (b->unacked += b->skip) >= WINDOW_STEP) {
        give_window(c, (uint32_t)b->unacked);
        b->unacked = 0;
    }
    if (type <= NGHTTP2_HEADERS && (flags & FLAG_END)) {
        frame(c, NGHTTP2_HEADERS, FLAG_END | FLAG_END_HEADS, sim_get32(b->head + 5) & 0x7fffffff, &ok, 1);
        c->requests++;
        c->answers++;
    }
    if (type == NGHTTP2_SETTINGS && !(flags & FLAG_END))
        frame(c, NGHTTP2_SETTINGS, FLAG_END, 0, NULL, 0);
}

/* A PING is answered with the eight bytes that it carries. */
static void take_payload(struct sim_conn *c, const uint8_t *p, size_t n) {
    struct sim_bench *b = &c->bench;
    if (b->head[3] != NGHTTP2_PING || (b->head[4] & FLAG_END) || b->skip > sizeof b->ping)
        return;
    memcpy(b->ping + sizeof b->ping - b->skip, p, n);
    if (n == b->skip)
        frame(c, NGHTTP2_PING, FLAG_END, 0, b->ping, sizeof b->ping);
}

bool sim_bench_input(struct sim_conn *c, const uint8_t *p, size_t len) {
    struct sim_bench *b = &c->bench;
    while (len > 0) {
        size_t *want = b->preface_left ? &b->preface_left : &b->skip, n;
        if (*want > 0) {
            n = *want < len ? *want : len;
            if (want == &b->skip)
                take_payload(c, p, n);
            *want -= n;
        } else {
            n = HEAD_BYTES - b->head_len < len ? HEAD_BYTES - b->head_len : len;
            memcpy(b->head + b->head_len, p, n);
            b->head_len += n;
            if (b->head_len == HEAD_BYTES) {
                b->head_len = 0;
                take_head(c);
            }
        }
        p += n;
        len -= n;
    }
    return true;
}
