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
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_BUSY_MS      20 /* with calls: DTLS retransmissions, consent, closed peers */
#define TICK_IDLE_MS      200
#define DTLS_HEADER_BYTES 13 /* of a record; its last two are the length of what follows */
#define RECORDS_MAX       15 /* of a datagram are taken apart, twice what a flight has; the rest stays together */
#define RING_SLOTS        1024
#define SOCKET_BYTES      (4 << 20)
#define ROUNDS_MAX        4 /* batches in a turn of the loop, so that handshakes, commands and timers have their turns */
#define FLOW_GAP_MS       1    /* media that comes at such distances flows densely */
#define FLOW_MS           4    /* a command waits so long at most when dense media has just stopped */
#define LATER_MAX         256  /* one flight each of some fifty handshakes */
#define LATER_US          50   /* of handshakes in a turn while media flows; the last record may take twice as long */
#define LATER_ALONE_US    1000 /* of handshakes in a turn when there is no media that could wait */
#define LATER_BATCH       16   /* datagrams of handshakes that wait for each other */
#define TRIM_CALLS        64   /* a worker that had so many and has none gives memory back */
#define MEDIA_FLOWS_MS    100  /* since the last packet of media */

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

/* DTLS records that wait. One takes as long as a hundred packets of media, which go first; a flight of five in one
 * datagram would make media wait for five times as long. */
struct worker_later {
    unsigned first, count;
    struct {
        struct addr src;
        size_t len;
        uint8_t p[WORKER_DGRAM_MAX];
    } record[LATER_MAX];
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
    bool any = false;
    for (; ring_pop(w->commands, &cmd) == 0; any = true) {
        if (cmd.kind == MEDIA_CMD_STOP)
            w->stopping = true;
        else
            media_call_command(w, &cmd);
    }
    if (any) {
        secret_wipe(&cmd, sizeof cmd);
        flush(w);
    }
}

static void serve_one_later(struct media_worker *w) {
    struct worker_later *l = w->later;
    struct media_source *source;
    unsigned i = l->first;
    l->first = (l->first + 1) % LATER_MAX;
    l->count--;
    HASH_FIND(hh, w->by_addr, &l->record[i].src, sizeof l->record[i].src, source);
    if (source)
        media_call_dtls(source->leg, l->record[i].p, l->record[i].len);
}

/* As many as the time allows, one at least. What they send leaves together. */
static void serve_later(struct media_worker *w) {
    bool media = w->now_ms - w->media_ms < MEDIA_FLOWS_MS;
    uint64_t until_us = clock_mono_us() + (media ? LATER_US : LATER_ALONE_US);
    do
        serve_one_later(w);
    while (w->later->count && clock_mono_us() < until_us);
    if (w->later->count == 0 || w->out->count >= LATER_BATCH)
        flush(w);
}

static void put_later(struct media_worker *w, const uint8_t *p, size_t len, const struct addr *src) {
    struct worker_later *l = w->later;
    if (l->count == LATER_MAX)
        serve_one_later(w);
    unsigned i = (l->first + l->count++) % LATER_MAX;
    l->record[i].src = *src;
    l->record[i].len = len;
    memcpy(l->record[i].p, p, len);
}

/* RFC 6347 4.1.1: a datagram holds whole records, and they need not stay together. */
static void take_dtls(struct media_worker *w, const uint8_t *p, size_t len, const struct addr *src) {
    for (unsigned n = 0; len > 0; n++) {
        size_t record = len < DTLS_HEADER_BYTES ? len : DTLS_HEADER_BYTES + (size_t)(p[11] << 8 | p[12]);
        if (record > len || n == RECORDS_MAX)
            record = len;
        put_later(w, p, record, src);
        p += record;
        len -= record;
    }
}

static void take_rtp(struct media_worker *w, struct media_source *source, uint8_t *p, size_t len) {
    /* What completes this leg's handshake may be among those that wait. */
    while (media_call_handshaking(source->leg) && w->later->count)
        serve_one_later(w);
    w->media_ms = w->now_ms;
    media_call_rtp(source->leg, p, len);
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
        take_dtls(w, p, len, src);
    else if (rtp_is_rtp_or_rtcp(p, len))
        take_rtp(w, source, p, len);
    else
        worker_count(&w->n.malformed_pkts, 1);
}

static struct worker_in *in_new(void) {
    struct worker_in *in = calloc(1, sizeof *in);
    for (unsigned i = 0; in && i < WORKER_BATCH; i++) {
        in->iov[i] = (struct iovec){.iov_base = in->dg[i], .iov_len = WORKER_DGRAM_MAX + 1};
        in->msgs[i].msg_hdr = (struct msghdr){.msg_name = &in->from[i], .msg_iov = &in->iov[i], .msg_iovlen = 1};
    }
    return in;
}

/* One batch. wait: for the first datagram, FLOW_MS at most. */
static int receive(struct media_worker *w, struct worker_in *in, bool wait) {
    for (unsigned i = 0; i < WORKER_BATCH; i++)
        in->msgs[i].msg_hdr.msg_namelen = sizeof in->from[i];
    int n = recvmmsg(w->fd, in->msgs, WORKER_BATCH, wait ? MSG_WAITFORONE : MSG_DONTWAIT, NULL);
    w->now_ms = clock_mono_ms();
    /* Who was told of a call, by its answer, finds it here: the command was there before his first datagram. */
    run_commands(w);
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

/* The batches of one turn. While media flows densely, the worker waits in recvmmsg and finds commands when that
 * returns, which saves it a system call and a timer for each packet; else it waits for both. Returns whether media
 * flows densely. */
static bool receive_some(struct media_worker *w, struct worker_in *in, bool flowing) {
    uint64_t before_ms = w->media_ms;
    int n = receive(w, in, flowing && w->later->count == 0);
    for (int rounds = 1; rounds < ROUNDS_MAX && n == WORKER_BATCH; rounds++)
        n = receive(w, in, false);
    return w->media_ms == w->now_ms && w->now_ms - before_ms <= FLOW_GAP_MS;
}

/* glibc gives back what is free at the end of an arena only. This looks at every page, so it waits until there is no
 * call that it could delay. */
static void give_back_memory(struct media_worker *w) {
    if (w->calls_open > w->calls_most)
        w->calls_most = w->calls_open;
    if (w->calls_open > 0 || w->calls_most < TRIM_CALLS)
        return;
    w->calls_most = 0;
    malloc_trim(0);
}

static void *worker_main(void *arg) {
    struct media_worker *w = arg;
    struct worker_in *in = in_new();
    struct pollfd fds[2] = {{.fd = w->fd, .events = POLLIN}, {.fd = ring_fd(w->commands), .events = POLLIN}};
    uint64_t swept_ms = clock_mono_ms();
    bool flowing = false;
    while (in && !w->stopping) {
        int tick_ms = w->calls_open || w->backlog ? TICK_BUSY_MS : TICK_IDLE_MS;
        if (!flowing && w->later->count == 0) {
            poll(fds, 2, media_ringback_wait_ms(w, tick_ms));
            if (fds[1].revents)
                ring_clear(w->commands);
        }
        flowing = receive_some(w, in, flowing);
        if (w->later->count)
            serve_later(w);
        if (w->now_ms - swept_ms >= (uint64_t)tick_ms) {
            media_call_sweep(w, w->now_ms - swept_ms);
            swept_ms = w->now_ms;
            media_plain_sweep(w);
            flush(w);
            give_back_memory(w);
        }
        unsigned queued = w->out->count;
        media_ringback_tick(w);
        if (w->out->count != queued)
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
    struct timeval flow = {.tv_usec = FLOW_MS * 1000L};
    if (addr_parse(&a, address, port) != 0)
        return err_say(et, E_INVAL, "media.address: \"%s\" is not an IP address", address);
    w->fd = socket(a.u.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (w->fd < 0)
        return err_say(et, E_IO, "media: no UDP socket: %s", strerror(errno));
    w->maps_v4 = a.u.sa.sa_family == AF_INET6;
    setsockopt(w->fd, SOL_SOCKET, SO_RCVTIMEO, &flow, sizeof flow);
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
    w->keep = cfg->keep;
    w->ringback = cfg->ringback;
    int err = open_socket(w, cfg->address, port, et);
    if (err == 0)
        err = media_plain_new(&w->plain) == 0 ? 0 : err_say(et, E_NOMEM, "media: out of memory");
    w->calls = calloc(cfg->calls_max, sizeof *w->calls);
    w->out = calloc(1, sizeof *w->out);
    w->later = calloc(1, sizeof *w->later);
    if (err == 0 && budgets_new(&w->stun_sources, STUN_SOURCES) != 0)
        err = err_say(et, E_NOMEM, "media: out of memory");
    if (err == 0 &&
        (!w->calls || !w->out || !w->later || ring_new(&w->commands, RING_SLOTS, sizeof(struct media_command)) != 0 ||
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
    budgets_free(w->stun_sources);
    free(w->later);
    if (w->fd >= 0)
        close(w->fd);
}
