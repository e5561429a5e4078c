/* SPDX-License-Identifier: Apache-2.0 */
/* Very many phones attached to one gateway over WebSocket (wakegate.v1), which say hello, answer pings and count what
 * they are told. Thread: one. */
#ifndef TESTS_BENCH_PHONES_H
#define TESTS_BENCH_PHONES_H

#include "tests/bench/bench_conn.h"

#include <stdint.h>

#define BENCH_SECRET_BYTES 96

struct bench_phone {
    struct bench_phones *all;
    struct bench_conn *conn;
    char device[32], secret[BENCH_SECRET_BYTES];
    bool upgraded;
    uint64_t called_us, ended_us; /* monotonic: when it was told so first; 0: not yet */
};

struct bench_phones {
    struct bench_net *net;
    struct bench_phone *phones;
    unsigned count;
    unsigned begun, welcome, called, ended, gone, pings;
};

/* phones: count of them, with device and secret. They are in the foreground: calls come over the connection. */
void bench_phones_new(struct bench_phones *p, struct bench_net *net, unsigned count);
/* Attach more, so that at most so many are on their way at once. */
void bench_phones_attach(struct bench_phones *p, unsigned at_once);
void bench_phones_free(struct bench_phones *p);

#endif
