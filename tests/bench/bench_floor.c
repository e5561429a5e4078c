/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_floor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH        32
#define DGRAM_BYTES  1600
#define SOCKET_BYTES (4 << 20)

static void *relay(void *arg) {
    static struct mmsghdr msgs[BATCH];
    static struct iovec iov[BATCH];
    static struct sockaddr_in peer[BATCH];
    static uint8_t dg[BATCH][DGRAM_BYTES];
    struct bench_floor *f = arg;
    uint16_t caller = htons(f->caller_port), phone = htons(f->phone_port);
    while (!atomic_load(&f->stopping)) {
        for (unsigned i = 0; i < BATCH; i++) {
            iov[i] = (struct iovec){.iov_base = dg[i], .iov_len = DGRAM_BYTES};
            msgs[i].msg_hdr = (struct msghdr){
                .msg_name = &peer[i], .msg_namelen = sizeof peer[i], .msg_iov = &iov[i], .msg_iovlen = 1};
        }
        int n = recvmmsg(f->fd, msgs, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < n; i++) {
            peer[i].sin_port = peer[i].sin_port == caller ? phone : caller;
            iov[i].iov_len = msgs[i].msg_len;
        }
        for (int at = 0; at < n;) {
            int sent = sendmmsg(f->fd, msgs + at, (unsigned)(n - at), 0);
            at += sent > 0 ? sent : 1;
        }
    }
    return NULL;
}

void bench_floor_start(struct bench_floor *f, uint16_t caller_port, uint16_t phone_port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int bytes = SOCKET_BYTES;
    memset(f, 0, sizeof *f);
    f->caller_port = caller_port;
    f->phone_port = phone_port;
    f->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    setsockopt(f->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    if (f->fd < 0 || bind(f->fd, (struct sockaddr *)&at, len) != 0 ||
        getsockname(f->fd, (struct sockaddr *)&at, &len) != 0 || pthread_create(&f->thread, NULL, relay, f) != 0) {
        perror("bench: the bare relay does not start");
        exit(1);
    }
    addr_from_sockaddr(&f->at, (struct sockaddr *)&at);
}

void bench_floor_stop(struct bench_floor *f) {
    atomic_store(&f->stopping, true);
    /* It waits for a datagram. */
    sendto(f->fd, "", 1, 0, &f->at.u.sa, addr_len(&f->at));
    pthread_join(f->thread, NULL);
    close(f->fd);
}
