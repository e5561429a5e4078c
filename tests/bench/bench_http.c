/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_http.h"

#include "base/clock.h"
#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct request {
    struct buf text;
    unsigned number;
    uint64_t due_us;
    bench_reply_cb cb;
    void *arg;
    struct request *prev, *next;
};

struct channel {
    struct bench_http *http;
    struct bench_conn *conn;
    struct request *request; /* that waits for its reply */
    struct channel *next;    /* in http.free */
};

struct bench_http {
    struct channel *channels, *free;
    struct request *queue;
    char *token;
    size_t token_len;
    unsigned waiting;
};

static void fail(const char *what, const char *text) {
    fprintf(stderr, "bench: %s: %.400s\n", what, text);
    exit(1);
}

static void next_request(struct bench_http *h) {
    while (h->queue && h->free) {
        struct channel *ch = h->free;
        struct request *r = h->queue;
        LL_DELETE(h->free, ch);
        DL_DELETE(h->queue, r);
        ch->request = r;
        bench_conn_send(ch->conn, r->text.p, r->text.len);
    }
}

static void on_up(struct bench_conn *c, void *arg) {
    struct channel *ch = arg;
    (void)c;
    LL_APPEND(ch->http->free, ch);
    next_request(ch->http);
}

static void on_down(struct bench_conn *c, void *arg) {
    (void)c;
    (void)arg;
    fail("the gateway closed a connection", "keep-alive was expected");
}

/* The header's value as a number; 0 when absent. */
static size_t header_number(const char *head, const char *end, const char *name) {
    const char *at = strcasestr(head, name);
    return at && at < end ? strtoul(at + strlen(name), NULL, 10) : 0;
}

static size_t on_input(struct bench_conn *c, char *p, size_t len, void *arg) {
    struct channel *ch = arg;
    struct bench_http *h = ch->http;
    struct request *r = ch->request;
    const char *end = strstr(p, "\r\n\r\n");
    (void)c;
    if (!end)
        return 0;
    size_t used = (size_t)(end + 4 - p) + header_number(p, end, "\r\ncontent-length:");
    if (len < used)
        return 0;
    if (!r || strncmp(p, "HTTP/1.1 ", 9) != 0)
        fail("not a reply", p);
    struct bench_reply reply = {r->number, (unsigned)strtoul(p + 9, NULL, 10), end + 4, r->due_us, clock_mono_us()};
    ch->request = NULL;
    LL_APPEND(h->free, ch); /* each in its turn: one that rests for long is closed */
    h->waiting--;
    char behind = p[used];
    p[used] = 0; /* there is a byte behind what a buffer holds */
    r->cb(&reply, r->arg);
    p[used] = behind;
    buf_free(&r->text);
    free(r);
    next_request(h);
    return used;
}

static const struct bench_conn_ops ops = {on_up, on_input, on_down};

struct bench_http *bench_http_new(struct bench_net *n, unsigned connections, const char *token_file) {
    struct bench_http *h = calloc(1, sizeof *h);
    struct err_text et = {""};
    if (!h || !(h->channels = calloc(connections, sizeof *h->channels)))
        fail("memory", "none left");
    if (secret_file_read(&h->token, &h->token_len, token_file, &et) != 0)
        fail(token_file, et.s);
    for (unsigned i = 0; i < connections; i++) {
        h->channels[i].http = h;
        h->channels[i].conn = bench_conn_new(n, &ops, &h->channels[i]);
    }
    return h;
}

struct bench_http *bench_http_free(struct bench_http *h) {
    h->token = secret_free(h->token, h->token_len);
    free(h->channels);
    free(h);
    return NULL;
}

void bench_http_ask(struct bench_http *h, const struct bench_ask *ask) {
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        fail("memory", "none left");
    *r = (struct request){.number = ask->number, .due_us = clock_mono_us(), .cb = ask->cb, .arg = ask->arg};
    buf_addf(&r->text, "%s %s HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %s\r\n", ask->method, ask->path,
             h->token);
    if (ask->body)
        buf_addf(&r->text, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(ask->body));
    buf_adds(&r->text, "\r\n");
    buf_adds(&r->text, ask->body ? ask->body : "");
    DL_APPEND(h->queue, r);
    h->waiting++;
    next_request(h);
}

unsigned bench_http_waiting(const struct bench_http *h) {
    return h->waiting;
}

void bench_reply_text(const struct bench_reply *r, const char *member, char *out, size_t cap) {
    char name[64];
    snprintf(name, sizeof name, "\"%s\":\"", member);
    const char *at = strstr(r->body, name);
    if (!at)
        fail("a reply is not as expected", r->body);
    at += strlen(name);
    snprintf(out, cap, "%.*s", (int)strcspn(at, "\""), at);
}
