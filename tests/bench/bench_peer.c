/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_peer.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_EVERY_MS   100
#define CONSENT_EVERY_MS 10000 /* a third of what the other side waits for (RFC 7675 5.1) */

struct sdp_fingerprint bench_fingerprint(const char *text) {
    struct sdp_fingerprint f = {.hash = "sha-256", .len = 32};
    const char *colon = strchr(text, ' ');
    char hex[2 * 32 + 1];
    size_t n = 0;
    for (const char *s = colon ? colon + 1 : ""; *s && n < sizeof hex - 1; s++)
        if (*s != ':')
            hex[n++] = *s;
    hex[n] = 0;
    if (strncasecmp(text, "sha-256 ", 8) != 0 || hex_decode(f.value, sizeof f.value, hex) != 32) {
        fprintf(stderr, "bench: not a SHA-256 fingerprint: %s\n", text);
        exit(1);
    }
    return f;
}

static void send_dgram(const uint8_t *dg, size_t len, void *arg) {
    struct bench_peer *p = arg;
    bench_socket_send(p->socket, p->number, &p->target.to, dg, len);
}

static void on_connected(const struct media_keys *keys, void *arg) {
    ((struct bench_peer *)arg)->keys = *keys;
}

static void on_closed(int err, void *arg) {
    struct bench_peer *p = arg;
    p->closed = true;
    p->err = err;
}

static const struct dtls_ops dtls_ops = {send_dgram, on_connected, NULL, on_closed};

static void start_dtls(struct bench_peer *p, uint64_t now_ms) {
    struct dtls_params params = {.client = true, .fingerprints = &p->target.fingerprint, .fingerprint_count = 1};
    if (dtls_session_new(&p->dtls, p->identity, &params, &dtls_ops, p) != 0) {
        fprintf(stderr, "bench: no DTLS session\n");
        exit(1);
    }
    dtls_session_start(p->dtls, now_ms);
}

static void send_check(struct bench_peer *p) {
    uint8_t out[STUN_MSG_MAX_BYTES];
    char username[2 * BENCH_NAME_BYTES];
    snprintf(username, sizeof username, "%s:%s", p->target.ufrag, p->target.own_ufrag);
    struct stun_build b = {.type = STUN_BINDING_REQUEST,
                           .txid = p->txid,
                           .username = username,
                           .has_priority = true,
                           .priority = 1853824767,
                           .use_candidate = true,
                           .ice_controlling = true,
                           .tie_breaker = p->number + 1,
                           .pwd = p->target.pwd};
    int len = stun_msg_encode(out, sizeof out, &b);
    if (len > 0)
        send_dgram(out, (size_t)len, p);
}

void bench_peer_start(struct bench_peer *p, uint64_t now_ms) {
    random_bytes(p->txid, sizeof p->txid);
    p->check_ms = now_ms + CHECK_EVERY_MS;
    if (p->target.ice) {
        send_check(p);
        return;
    }
    p->path_up = true;
    if (p->target.dtls)
        start_dtls(p, now_ms);
}

void bench_peer_input(struct bench_peer *p, uint8_t *dg, size_t len, uint64_t now_ms) {
    struct stun_msg m;
    if (len > 0 && dg[0] <= 3) {
        if (stun_msg_parse(&m, dg, len) != 0 || m.type != STUN_BINDING_SUCCESS ||
            memcmp(m.txid, p->txid, sizeof p->txid) != 0)
            return;
        p->check_ms = now_ms + CONSENT_EVERY_MS;
        if (!p->path_up && p->target.dtls)
            start_dtls(p, now_ms);
        p->path_up = true;
    } else if (len > 0 && dg[0] >= 20 && dg[0] <= 63 && p->dtls) {
        dtls_session_input(p->dtls, dg, len, now_ms);
    }
}

void bench_peer_tick(struct bench_peer *p, uint64_t now_ms) {
    if (p->closed)
        return;
    if (p->target.ice && now_ms >= p->check_ms) {
        send_check(p);
        p->check_ms = now_ms + CHECK_EVERY_MS;
    }
    if (p->dtls && p->keys.profile == MEDIA_PROFILE_NONE)
        dtls_session_tick(p->dtls, now_ms);
}

void bench_peer_end(struct bench_peer *p) {
    p->dtls = dtls_session_forget(p->dtls);
    media_keys_wipe(&p->keys);
}
