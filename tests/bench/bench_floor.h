/* SPDX-License-Identifier: Apache-2.0 */
/* The floor of a relay: a thread that receives a batch with recvmmsg and sends it on with sendmmsg, from a caller to
 * the phone of the same number and back. It waits in recvmmsg itself, knows nobody and looks nothing up. */
#ifndef TESTS_BENCH_FLOOR_H
#define TESTS_BENCH_FLOOR_H

#include "base/addr.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct bench_floor {
    int fd;
    struct addr at;
    uint16_t caller_port, phone_port;
    pthread_t thread;
    atomic_bool stopping;
};

void bench_floor_start(struct bench_floor *f, uint16_t caller_port, uint16_t phone_port);
void bench_floor_stop(struct bench_floor *f);

#endif
