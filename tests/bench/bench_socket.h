/* SPDX-License-Identifier: Apache-2.0 */
/* One UDP socket that stands for many peers, each with a loopback address of its own, so that a load of many peers
 * costs its generator little. Thread: one. */
#ifndef TESTS_BENCH_SOCKET_H
#define TESTS_BENCH_SOCKET_H

#include "base/addr.h"

#include <stddef.h>
#include <stdint.h>

#define BENCH_BATCH       32
#define BENCH_DGRAM_BYTES 1600
#define BENCH_PEERS_MAX   (1U << 22) /* 127.1.0.0 and upwards */

struct bench_socket;

struct bench_dgram {
    uint32_t peer; /* to whom it came */
    uint8_t *p;
    size_t len;
    uint64_t at_ns; /* CLOCK_REALTIME, by the kernel when it came to the socket; 0 without timestamps */
};

typedef void (*bench_receive_cb)(const struct bench_dgram *dg, void *arg);

/* Ends the program with a sentence when there is no socket. */
struct bench_socket *bench_socket_new(bool timestamps);
struct bench_socket *bench_socket_free(struct bench_socket *s);
int bench_socket_fd(const struct bench_socket *s);
/* A peer's address. */
struct addr bench_socket_addr(const struct bench_socket *s, uint32_t peer);
/* Send with the next flush, or at once when the batch is full; p is copied. */
void bench_socket_send(struct bench_socket *s, uint32_t peer, const struct addr *to, const uint8_t *p, size_t len);
void bench_socket_flush(struct bench_socket *s);
/* Take what is there, one batch at most; dg is valid until cb returns. Returns how many came. */
int bench_socket_receive(struct bench_socket *s, bench_receive_cb cb, void *arg);

#endif
