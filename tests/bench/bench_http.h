/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the gateway's API on a few connections that are kept open; each has one request at a time. Thread: one.
 */
#ifndef TESTS_BENCH_HTTP_H
#define TESTS_BENCH_HTTP_H

#include "tests/bench/bench_conn.h"

#include <stdint.h>

struct bench_http;

struct bench_reply {
    unsigned number; /* as it was asked with */
    unsigned status;
    const char *body;         /* NUL behind it */
    uint64_t due_us, done_us; /* monotonic: when it should have left, and when the reply was there */
};

typedef void (*bench_reply_cb)(const struct bench_reply *r, void *arg);

/* Connects; token_file: of an API token. */
struct bench_http *bench_http_new(struct bench_net *n, unsigned connections, const char *token_file);
struct bench_http *bench_http_free(struct bench_http *h);

struct bench_ask {
    const char *method, *path, *body; /* NULL: no body */
    unsigned number;
    bench_reply_cb cb;
    void *arg;
};
/* Send, or wait for a connection that is free; the time of waiting counts. Texts are copied. cb may ask again. */
void bench_http_ask(struct bench_http *h, const struct bench_ask *ask);
/* Requests without a reply yet. */
unsigned bench_http_waiting(const struct bench_http *h);
/* A text member of a reply's JSON into out; ends the program when there is none. */
void bench_reply_text(const struct bench_reply *r, const char *member, char *out, size_t cap);

#endif
