/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_rtpengine.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPLY_BYTES 16384
#define REPLY_MS    3000
#define CALL_UP_MS  10000
#define SUITE       "AES_CM_128_HMAC_SHA1_80"
#define MASTER      30 /* bytes of key and salt */

static void fail(const char *what, const char *text) {
    fprintf(stderr, "bench: rtpengine: %s: %s\n", what, text);
    exit(1);
}

void bench_rtpengine_open(struct bench_rtpengine *r, uint16_t ng_port) {
    struct addr at;
    addr_parse(&at, "127.0.0.1", ng_port);
    r->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (r->fd < 0 || connect(r->fd, &at.u.sa, addr_len(&at)) != 0)
        fail("its control port cannot be reached", "socket");
}

/* A bencoded string. */
static void put(struct buf *b, const char *s) {
    buf_addf(b, "%zu:%s", strlen(s), s);
}

static void put_pair(struct buf *b, const char *key, const char *value) {
    put(b, key);
    put(b, value);
}

/* Sends the dictionary (ends it first); reply: REPLY_BYTES. */
static void ask(struct bench_rtpengine *r, struct buf *b, char *reply) {
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    buf_addf(b, "e");
    if (write(r->fd, b->p, b->len) != (ssize_t)b->len || poll(&p, 1, REPLY_MS) <= 0)
        fail("no answer", "is it running?");
    ssize_t n = read(r->fd, reply, REPLY_BYTES - 1);
    if (n <= 0)
        fail("no answer", "is it running?");
    reply[n] = 0;
    if (!strstr(reply, "6:result2:ok"))
        fail("it refuses", reply);
    buf_free(b);
}

static void begin(struct buf *b, const char *command, uint32_t number) {
    char id[32];
    snprintf(id, sizeof id, "%d-%u", (int)getpid(), number);
    buf_addf(b, "%s-%s d", id, command); /* a cookie that comes again gets the old answer */
    put_pair(b, "call-id", id);
    put_pair(b, "command", command);
    put_pair(b, "from-tag", "caller");
}

/* The value of the attribute `name` in an answer's SDP, up to the end of its line or the first of `stop`. */
static void attribute(char *out, size_t cap, const char *reply, const char *name, const char *stop) {
    const char *at = strstr(reply, name);
    if (!at)
        fail(name, reply);
    at += strlen(name);
    size_t n = strcspn(at, stop);
    if (n >= cap)
        fail(name, reply);
    memcpy(out, at, n);
    out[n] = 0;
}

static struct addr media_addr(const char *reply) {
    char port[16];
    struct addr a;
    attribute(port, sizeof port, reply, "m=audio ", " \r\n");
    addr_parse(&a, "127.0.0.1", (uint16_t)strtoul(port, NULL, 10));
    return a;
}

static void sdp_head(struct buf *sdp, const struct addr *at, const char *proto) {
    char ip[ADDR_STR_BYTES];
    addr_ip(ip, at);
    buf_addf(sdp, "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %u %s 0\r\n", ip, ip,
             addr_port(at), proto);
}

static void offer(struct bench_rtpengine *r, uint32_t number, char *reply) {
    struct buf b = {0}, sdp = {0};
    struct addr at = bench_socket_addr(r->sockets[0], number);
    sdp_head(&sdp, &at, "UDP/TLS/RTP/SAVP");
    buf_addf(&sdp, "a=setup:active\r\na=fingerprint:%s\r\na=rtcp-mux\r\n", r->callers);
    begin(&b, "offer", number);
    put_pair(&b, "DTLS", "off");
    put_pair(&b, "ICE", "remove");
    put_pair(&b, "sdp", sdp.p);
    put_pair(&b, "transport-protocol", "RTP/SAVP");
    ask(r, &b, reply);
    buf_free(&sdp);
}

static void answer(struct bench_rtpengine *r, uint32_t number, const char *tag, const uint8_t *master, char *reply) {
    struct buf b = {0}, sdp = {0};
    char key[B64_BYTES(MASTER)];
    struct addr at = bench_socket_addr(r->sockets[1], number);
    sdp_head(&sdp, &at, "RTP/SAVP");
    buf_addf(&sdp, "a=crypto:%s " SUITE " inline:%s\r\n", tag, b64_encode(key, master, MASTER));
    begin(&b, "answer", number);
    put_pair(&b, "sdp", sdp.p);
    put_pair(&b, "to-tag", "phone");
    ask(r, &b, reply);
    buf_free(&sdp);
}

/* "a=crypto:TAG SUITE inline:KEY": the tag, and the key as what rtpengine sends with. */
static void read_crypto(char *tag, size_t cap, uint8_t *master, const char *reply) {
    char key[B64_BYTES(MASTER)];
    const char *suite = strstr(reply, " " SUITE " inline:"), *line = suite;
    while (line && line > reply && line[-1] != ':')
        line--;
    if (!line || (size_t)(suite - line) >= cap)
        fail("no " SUITE, reply);
    memcpy(tag, line, (size_t)(suite - line));
    tag[suite - line] = 0;
    attribute(key, sizeof key, suite, " inline:", "|\r\n ");
    if (b64_decode(master, MASTER, key, strlen(key)) != MASTER)
        fail("its key", reply);
}

void bench_rtpengine_call(struct bench_rtpengine *r, uint32_t number, struct bench_target *caller,
                          struct bench_target *phone, struct media_keys *phone_keys) {
    char reply[REPLY_BYTES], tag[16], fingerprint[128];
    media_keys_random(phone_keys, MEDIA_PROFILE_AES128_CM_SHA1_80);
    offer(r, number, reply);
    read_crypto(tag, sizeof tag, phone_keys->rx, reply);
    *phone = (struct bench_target){.to = media_addr(reply)};
    answer(r, number, tag, phone_keys->tx, reply);
    attribute(fingerprint, sizeof fingerprint, reply, "a=fingerprint:", "\r\n");
    *caller =
        (struct bench_target){.to = media_addr(reply), .dtls = true, .fingerprint = bench_fingerprint(fingerprint)};
}

void bench_rtpengine_delete(struct bench_rtpengine *r, uint32_t number) {
    char reply[REPLY_BYTES];
    struct buf b = {0};
    begin(&b, "delete", number);
    ask(r, &b, reply);
}

static void on_dgram(const struct bench_dgram *dg, void *arg) {
    struct bench_peer *p = arg;
    if (dg->peer == p->number)
        bench_peer_input(p, dg->p, dg->len, clock_mono_ms());
}

void bench_rtpengine_calls(struct bench_rtpengine *r, struct bench_load *l, unsigned calls,
                           struct dtls_identity *callers) {
    for (unsigned i = 0; i < calls; i++) {
        struct bench_peer p = {.socket = r->sockets[0], .number = i, .identity = callers};
        struct bench_target phone;
        struct media_keys phone_keys;
        uint64_t until_ms = clock_mono_ms() + CALL_UP_MS;
        bench_rtpengine_call(r, i, &p.target, &phone, &phone_keys);
        bench_peer_start(&p, clock_mono_ms());
        while (p.keys.profile == MEDIA_PROFILE_NONE) {
            if (clock_mono_ms() > until_ms)
                fail("a call did not come up", "DTLS");
            bench_socket_flush(r->sockets[0]);
            bench_socket_receive(r->sockets[0], on_dgram, &p);
            bench_peer_tick(&p, clock_mono_ms());
        }
        bench_socket_flush(r->sockets[0]);
        l->ends[i][0].to = p.target.to;
        l->ends[i][1].to = phone.to;
        if (rtp_crypt_new(&l->ends[i][0].crypt, &p.keys) != 0 || rtp_crypt_new(&l->ends[i][1].crypt, &phone_keys) != 0)
            fail("no SRTP", "memory");
        bench_peer_end(&p);
    }
    l->calls = calls;
}
