/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/media_worker.h"

#include "base/clock.h"
#include "base/secret.h"
#include "dtls/media_call_priv.h"
#include "dtls/media_plain.h"
#include "dtls/media_ringback.h"
#include "dtls/rtp.h"
#include "dtls/rtp_crypt.h"
#include "dtls/stun_budget.h"
#include "dtls/stun_msg.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_BUSY_MS 20  /* while handshakes run: DTLS retransmissions */
#define TICK_IDLE_MS 200 /* consent, closed peers */
#define RING_SLOTS   1024
#define SOCKET_BYTES (4 << 20)

struct worker_event {
    struct worker_event *next;
    struct media_event ev;
};

/* Datagrams that leave together, and a place for those that must be copied. */
struct worker_out {
    unsigned count;
    struct mmsghdr msgs[WORKER_BATCH];
    struct iovec iov[WORKER_BATCH];
    struct addr to[WORKER_BATCH];
    uint8_t copies[WORKER_BATCH][WORKER_DGRAM_BYTES];
};

struct worker_in {
    struct mmsghdr msgs[WORKER_BATCH];
    struct iovec iov[WORKER_BATCH];
    struct sockaddr_storage from[WORKER_BATCH];
    uint8_t dg[WORKER_BATCH][WORKER_DGRAM_BYTES];
};

static void flush(struct media_worker *w) {
    struct worker_out *o = w->out;
    unsigned at = 0;
    while (at < o->count) {
        int n = sendmmsg(w->fd, o->msgs + at, o->count - at, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        /* A datagram that the kernel refuses (no route, buffer full) is lost as on any network; the rest goes on. */
        if (n > 0)
            worker_count(&w->n.tx_pkts, (uint64_t)n);
        at += n > 0 ? (unsigned)n : 1;
    }
    o->count = 0;
}

void media_worker_send(struct media_worker *w, const struct addr *to, const uint8_t *p, size_t len, bool copy) {
    struct worker_out *o = w->out;
    if (len > WORKER_DGRAM_BYTES || !addr_is_set(to))
        return;
    if (o->count == WORKER_BATCH)
        flush(w);
    unsigned i = o->count++;
    o->to[i] = *to;
    if (copy)
        memcpy(o->copies[i], p, len);
    o->iov[i] = (struct iovec){.iov_base = copy ? o->copies[i] : (uint8_t *)(uintptr_t)p, .iov_len = len};
    o->msgs[i].msg_hdr =
        (struct msghdr){.msg_name = &o->to[i].u, .msg_namelen = addr_len(to), .msg_iov = &o->iov[i], .msg_iovlen = 1};
}

void media_worker_emit(struct media_worker *w, const struct media_event *ev) {
    if (!w->backlog && ring_push(w->events, ev) == 0)
        return;
    struct worker_event *e = w->backlog_count < WORKER_BACKLOG_MAX ? malloc(sizeof *e) : NULL;
    if (!e) {
        worker_count(&w->n.events_lost, 1);
        return;
    }
    e->next = NULL;
    e->ev = *ev;
    if (w->backlog)
        w->backlog_tail->next = e;
    else
        w->backlog = e;
    w->backlog_tail = e;
    w->backlog_count++;
}

static void drain_backlog(struct media_worker *w) {
    while (w->backlog && ring_push(w->events, &w->backlog->ev) == 0) {
        struct worker_event *e = w->backlog;
        w->backlog = e->next;
        w->backlog_count--;
        secret_wipe(e, sizeof *e);
        free(e);
    }
}

static void run_commands(struct media_worker *w) {
    struct media_command cmd;
    ring_clear(w->commands);
    while (ring_pop(w->commands, &cmd) == 0) {
        if (cmd.kind == MEDIA_CMD_STOP)
            w->stopping = true;
        else
            media_call_command(w, &cmd);
    }
    secret_wipe(&cmd, sizeof cmd);
}

/* RFC 7983 7: the first byte says which protocol. */
static void take_datagram(struct media_worker *w, uint8_t *p, size_t len, const struct addr *src) {
    struct media_source *source;
    if (len == 0 || len > WORKER_DGRAM_MAX) {
        worker_count(&w->n.malformed_pkts, 1);
        return;
    }
    if (p[0] <= 3) {
        media_call_stun(w, p, len, src);
        return;
    }
    HASH_FIND(hh, w->by_addr, src, sizeof *src, source);
    bool dtls = p[0] >= 20 && p[0] <= 63;
    if (dtls && media_plain_input(w, source ? source->leg : NULL, p, len, src))
        return;
    if (!source)
        worker_count(&w->n.unknown_source_pkts, 1);
    else if (dtls)
        media_call_dtls(source->leg, p, len);
    else if (rtp_is_rtp_or_rtcp(p, len))
        media_call_rtp(source->leg, p, len);
    else
        worker_count(&w->n.malformed_pkts, 1);
}

static int receive(struct media_worker *w, struct worker_in *in) {
    for (unsigned i = 0; i < WORKER_BATCH; i++) {
        in->iov[i] = (struct iovec){.iov_base = in->dg[i], .iov_len = WORKER_DGRAM_MAX + 1};
        in->msgs[i].msg_hdr = (struct msghdr){
            .msg_name = &in->from[i], .msg_namelen = sizeof in->from[i], .msg_iov = &in->iov[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(w->fd, in->msgs, WORKER_BATCH, MSG_DONTWAIT, NULL);
    if (n <= 0)
        return 0;
    worker_count(&w->n.rx_pkts, (uint64_t)n);
    for (int i = 0; i < n; i++) {
        struct addr src;
        addr_from_sockaddr(&src, (struct sockaddr *)&in->from[i]);
        take_datagram(w, in->dg[i], in->msgs[i].msg_len, &src);
    }
    flush(w);
    return n;
}

static void *worker_main(void *arg) {
    struct media_worker *w = arg;
    struct worker_in *in = calloc(1, sizeof *in);
    struct pollfd fds[2] = {{.fd = w->fd, .events = POLLIN}, {.fd = ring_fd(w->commands), .events = POLLIN}};
    uint64_t swept_ms = clock_mono_ms();
    while (in && !w->stopping) {
        int tick_ms = w->handshakes || w->backlog ? TICK_BUSY_MS : TICK_IDLE_MS;
        poll(fds, 2, media_ringback_wait_ms(w, tick_ms));
        w->now_ms = clock_mono_ms();
        run_commands(w);
        flush(w);
        /* Bounded, so that commands and timers are served under any load of packets. */
        for (int rounds = 0; rounds < 16 && receive(w, in) == WORKER_BATCH; rounds++)
            ;
        if (w->now_ms - swept_ms >= (uint64_t)tick_ms) {
            swept_ms = w->now_ms;
            media_call_sweep(w);
            media_plain_sweep(w);
            flush(w);
        }
        media_ringback_tick(w);
        flush(w);
        drain_backlog(w);
    }
    media_call_close_all(w);
    media_plain_close(w->plain);
    flush(w);
    free(in);
    return NULL;
}

static int open_socket(struct media_worker *w, const char *address, uint16_t port, struct err_text *et) {
    struct addr a;
    int size = SOCKET_BYTES, off = 0;
    if (addr_parse(&a, address, port) != 0)
        return err_say(et, E_INVAL, "media.address: \"%s\" is not an IP address", address);
    w->fd = socket(a.u.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (w->fd < 0)
        return err_say(et, E_IO, "media: no UDP socket: %s", strerror(errno));
    w->maps_v4 = a.u.sa.sa_family == AF_INET6;
    setsockopt(w->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(w->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (a.u.sa.sa_family == AF_INET6)
        setsockopt(w->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(w->fd, &a.u.sa, addr_len(&a)) != 0)
        return err_say(et, E_IO, "media: UDP port %u on %s cannot be bound: %s", port, address, strerror(errno));
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    getsockname(w->fd, (struct sockaddr *)&bound, &len);
    addr_from_sockaddr(&a, (struct sockaddr *)&bound);
    w->port = addr_port(&a);
    return 0;
}

int media_worker_start(struct media_worker *w, const struct media_config *cfg, uint16_t port, struct err_text *et) {
    w->fd = -1;
    w->calls_max = cfg->calls_max;
    w->hold_ms = cfg->hold_ms;
    w->inactivity_ms = cfg->inactivity_ms;
    w->ringback = cfg->ringback;
    int err = open_socket(w, cfg->address, port, et);
    if (err == 0)
        err = media_plain_new(&w->plain) == 0 ? 0 : err_say(et, E_NOMEM, "media: out of memory");
    w->calls = calloc(cfg->calls_max, sizeof *w->calls);
    w->out = calloc(1, sizeof *w->out);
    if (err == 0 && stun_sources_new(&w->stun_sources) != 0)
        err = err_say(et, E_NOMEM, "media: out of memory");
    if (err == 0 && (!w->calls || !w->out || ring_new(&w->commands, RING_SLOTS, sizeof(struct media_command)) != 0 ||
                     ring_new(&w->events, RING_SLOTS, sizeof(struct media_event)) != 0))
        err = err_say(et, E_NOMEM, "media: out of memory");
    if (err == 0 && pthread_create(&w->thread, NULL, worker_main, w) != 0)
        err = err_say(et, E_IO, "media: no thread: %s", strerror(errno));
    w->started = err == 0;
    return err;
}

void media_worker_stop(struct media_worker *w) {
    struct media_command stop = {.kind = MEDIA_CMD_STOP};
    if (w->started) {
        while (ring_push(w->commands, &stop) != 0)
            usleep(1000);
        pthread_join(w->thread, NULL);
    }
    while (w->backlog) {
        struct worker_event *e = w->backlog;
        w->backlog = e->next;
        secret_wipe(e, sizeof *e);
        free(e);
    }
    ring_free(w->commands);
    ring_free(w->events);
    media_plain_free(w->plain);
    free(w->calls);
    free(w->out);
    stun_sources_free(w->stun_sources);
    if (w->fd >= 0)
        close(w->fd);
}
