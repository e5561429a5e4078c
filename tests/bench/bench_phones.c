/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_phones.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MASK_BYTES       4
#define HEADER_MAX_BYTES 14
#define SHORT_MAX_BYTES  125 /* RFC 6455 5.2: the length is in the second byte */

enum { OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

static void fail(const char *what, const char *text) {
    fprintf(stderr, "bench: %s: %.400s\n", what, text);
    exit(1);
}

/* A final frame to the server. The mask is zero, which is a mask (RFC 6455 5.3) and costs nothing. */
static void send_frame(struct bench_conn *c, int op, const char *p, size_t len) {
    uint8_t frame[HEADER_MAX_BYTES + 512] = {(uint8_t)(0x80 | op)};
    size_t n = 2;
    if (len > 512)
        fail("a frame is too long", p);
    frame[1] = (uint8_t)(0x80 | (len <= SHORT_MAX_BYTES ? len : 126));
    if (len > SHORT_MAX_BYTES) {
        frame[n++] = (uint8_t)(len >> 8);
        frame[n++] = (uint8_t)len;
    }
    n += MASK_BYTES;
    memcpy(frame + n, p, len);
    bench_conn_send(c, frame, n + len);
}

static void on_up(struct bench_conn *c, void *arg) {
    static const char request[] =
        "GET /v1/attach HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: wakegate.v1\r\n\r\n";
    (void)arg;
    bench_conn_send(c, request, sizeof request - 1);
}

static size_t take_upgrade(struct bench_conn *c, struct bench_phone *ph, const char *p) {
    char hello[256];
    const char *end = strstr(p, "\r\n\r\n");
    if (!end)
        return 0;
    if (strncmp(p, "HTTP/1.1 101 ", 13) != 0)
        fail("a phone is not let in", p);
    ph->upgraded = true;
    int n = snprintf(hello, sizeof hello,
                     "{\"type\":\"hello\",\"device\":\"%s\",\"secret\":\"%s\",\"app_state\":\"foreground\"}",
                     ph->device, ph->secret);
    send_frame(c, OP_TEXT, hello, (size_t)n);
    return (size_t)(end + 4 - p);
}

static bool is_type(const char *p, size_t len, const char *type) {
    char begin[64];
    int n = snprintf(begin, sizeof begin, "{\"type\":\"%s\"", type);
    return len > (size_t)n && memcmp(p, begin, (size_t)n) == 0;
}

static void take_text(struct bench_phone *ph, const char *p, size_t len) {
    struct bench_phones *all = ph->all;
    if (is_type(p, len, "welcome")) {
        all->welcome++;
    } else if (is_type(p, len, "call") && !ph->called_us) {
        ph->called_us = clock_mono_us();
        all->called++;
    } else if (is_type(p, len, "ended") && !ph->ended_us) {
        ph->ended_us = clock_mono_us();
        all->ended++;
    } else if (is_type(p, len, "error")) {
        fail("the gateway refuses a message", p);
    }
}

static size_t on_input(struct bench_conn *c, char *p, size_t len, void *arg) {
    struct bench_phone *ph = arg;
    if (!ph->upgraded)
        return take_upgrade(c, ph, p);
    const uint8_t *b = (const uint8_t *)p;
    size_t head = 2, payload = len >= 2 ? b[1] & 0x7f : 0;
    if (payload == 126) {
        head = 4;
        payload = len >= head ? (size_t)b[2] << 8 | b[3] : 0;
    } else if (payload == 127) {
        fail("a frame is too long", "64 KiB or more");
    }
    if (len < head || len < head + payload)
        return 0;
    int op = b[0] & 0x0f;
    if (op == OP_TEXT) {
        take_text(ph, p + head, payload);
    } else if (op == OP_PING) {
        ph->all->pings++;
        send_frame(c, OP_PONG, p + head, payload);
    }
    return head + payload;
}

static void on_down(struct bench_conn *c, void *arg) {
    struct bench_phone *ph = arg;
    (void)c;
    ph->all->gone++;
}

void bench_phones_new(struct bench_phones *p, struct bench_net *net, unsigned count) {
    *p = (struct bench_phones){.net = net, .count = count, .phones = calloc(count, sizeof *p->phones)};
    if (!p->phones)
        fail("memory", "none left");
    for (unsigned i = 0; i < count; i++) {
        p->phones[i].all = p;
        snprintf(p->phones[i].device, sizeof p->phones[i].device, "phone-%u", i);
    }
}

void bench_phones_attach(struct bench_phones *p, unsigned at_once) {
    static const struct bench_conn_ops ops = {on_up, on_input, on_down};
    for (; p->begun < p->count && p->begun - p->welcome < at_once; p->begun++)
        p->phones[p->begun].conn = bench_conn_new(p->net, &ops, &p->phones[p->begun]);
}

void bench_phones_free(struct bench_phones *p) {
    free(p->phones);
    *p = (struct bench_phones){0};
}
