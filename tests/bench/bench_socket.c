/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIRST_IP      0x7f010000U
#define SOCKET_BYTES  (8 << 20)
#define CONTROL_BYTES 128 /* IP_PKTINFO and SCM_TIMESTAMPNS */

struct control {
    _Alignas(struct cmsghdr) uint8_t bytes[CONTROL_BYTES];
};

struct batch {
    struct mmsghdr msgs[BENCH_BATCH];
    struct iovec iov[BENCH_BATCH];
    struct addr addr[BENCH_BATCH];
    struct control control[BENCH_BATCH];
    uint8_t dg[BENCH_BATCH][BENCH_DGRAM_BYTES];
};

struct bench_socket {
    int fd;
    uint16_t port;
    unsigned queued;
    struct batch in, out;
};

static void die(const char *what) {
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void set(int fd, int level, int name, int value) {
    if (setsockopt(fd, level, name, &value, sizeof value) != 0)
        die("a socket option");
}

struct bench_socket *bench_socket_new(bool timestamps) {
    struct bench_socket *s = calloc(1, sizeof *s);
    struct sockaddr_in any = {.sin_family = AF_INET};
    socklen_t len = sizeof any;
    if (!s)
        die("memory");
    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&any, len) != 0 ||
        getsockname(s->fd, (struct sockaddr *)&any, &len) != 0)
        die("a UDP socket");
    s->port = ntohs(any.sin_port);
    set(s->fd, IPPROTO_IP, IP_PKTINFO, 1);
    if (timestamps)
        set(s->fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    /* As root the limit of the system does not count. */
    int bytes = SOCKET_BYTES;
    if (setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
        set(s->fd, SOL_SOCKET, SO_RCVBUF, bytes);
    if (setsockopt(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
        set(s->fd, SOL_SOCKET, SO_SNDBUF, bytes);
    return s;
}

struct bench_socket *bench_socket_free(struct bench_socket *s) {
    if (s)
        close(s->fd);
    free(s);
    return NULL;
}

int bench_socket_fd(const struct bench_socket *s) {
    return s->fd;
}

struct addr bench_socket_addr(const struct bench_socket *s, uint32_t peer) {
    struct addr a;
    memset(&a, 0, sizeof a);
    a.u.v4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(s->port), .sin_addr.s_addr = htonl(FIRST_IP + peer)};
    return a;
}

void bench_socket_flush(struct bench_socket *s) {
    unsigned at = 0;
    while (at < s->queued) {
        int n = sendmmsg(s->fd, s->out.msgs + at, s->queued - at, 0);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            die("sending");
        at += n > 0 ? (unsigned)n : 0;
    }
    s->queued = 0;
}

void bench_socket_send(struct bench_socket *s, uint32_t peer, const struct addr *to, const uint8_t *p, size_t len) {
    struct batch *b = &s->out;
    unsigned i = s->queued++;
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(FIRST_IP + peer)};
    memcpy(b->dg[i], p, len);
    b->addr[i] = *to;
    b->iov[i] = (struct iovec){.iov_base = b->dg[i], .iov_len = len};
    b->msgs[i].msg_hdr = (struct msghdr){.msg_name = &b->addr[i].u,
                                         .msg_namelen = addr_len(to),
                                         .msg_iov = &b->iov[i],
                                         .msg_iovlen = 1,
                                         .msg_control = b->control[i].bytes,
                                         .msg_controllen = CMSG_SPACE(sizeof info)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&b->msgs[i].msg_hdr);
    c->cmsg_len = CMSG_LEN(sizeof info);
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_PKTINFO;
    memcpy(CMSG_DATA(c), &info, sizeof info);
    if (s->queued == BENCH_BATCH)
        bench_socket_flush(s);
}

static void read_control(struct bench_dgram *dg, struct msghdr *m) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        struct in_pktinfo info;
        struct timespec at;
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            memcpy(&info, CMSG_DATA(c), sizeof info);
            dg->peer = ntohl(info.ipi_addr.s_addr) - FIRST_IP;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            memcpy(&at, CMSG_DATA(c), sizeof at);
            dg->at_ns = (uint64_t)at.tv_sec * 1000000000 + (uint64_t)at.tv_nsec;
        }
    }
}

int bench_socket_receive(struct bench_socket *s, bench_receive_cb cb, void *arg) {
    struct batch *b = &s->in;
    for (unsigned i = 0; i < BENCH_BATCH; i++) {
        b->iov[i] = (struct iovec){.iov_base = b->dg[i], .iov_len = BENCH_DGRAM_BYTES};
        b->msgs[i].msg_hdr = (struct msghdr){.msg_iov = &b->iov[i],
                                             .msg_iovlen = 1,
                                             .msg_control = b->control[i].bytes,
                                             .msg_controllen = CONTROL_BYTES};
    }
    int n = recvmmsg(s->fd, b->msgs, BENCH_BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        struct bench_dgram dg = {.p = b->dg[i], .len = b->msgs[i].msg_len};
        read_control(&dg, &b->msgs[i].msg_hdr);
        cb(&dg, arg);
    }
    return n > 0 ? n : 0;
}
