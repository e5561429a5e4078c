/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_load.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RTP_HEADER_BYTES 12
#define PAYLOAD_BYTES    160
#define RTP_BYTES        (RTP_HEADER_BYTES + PAYLOAD_BYTES)
#define REMEMBERED       256 /* packets of one end whose time of sending is known */
#define WINDOW_PKTS      768 /* on their way when the relay is saturated: full batches, and no queue overflows */
#define CHECKED_EACH     61 /* one packet in so many is decrypted and compared; prime, so that none is always left out */
#define SETTLE_MS        50
#define STALL_MS         20
#define SAMPLES_MAX      (1U << 20)

/* One slice. */
struct run {
    struct bench_load *load;
    struct bench_tally *tally;
    unsigned per_s; /* 0: as many as possible */
    uint64_t sent, received;
    uint64_t last_rx_ms;
};

static uint64_t sent_ns[BENCH_LOAD_CALLS_MAX][2][REMEMBERED]; /* by call and end */

static void fail(const char *what) {
    fprintf(stderr, "bench: %s\n", what);
    _exit(1); /* other threads are at work */
}

static uint64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void packet(uint8_t *p, unsigned call, unsigned end, uint16_t seq) {
    uint32_t ssrc = call << 1 | end;
    const uint8_t header[RTP_HEADER_BYTES] = {0x80,
                                              0,
                                              (uint8_t)(seq >> 8),
                                              (uint8_t)seq,
                                              0,
                                              0,
                                              (uint8_t)(seq >> 8),
                                              (uint8_t)seq,
                                              (uint8_t)(ssrc >> 24),
                                              (uint8_t)(ssrc >> 16),
                                              (uint8_t)(ssrc >> 8),
                                              (uint8_t)ssrc};
    memcpy(p, header, sizeof header);
    memset(p + RTP_HEADER_BYTES, seq & 0xff, PAYLOAD_BYTES);
}

static void send_one(struct run *r, unsigned call, unsigned end) {
    struct bench_end *e = &r->load->ends[call][end];
    uint8_t p[RTP_BYTES + RTP_CRYPT_TRAILER_BYTES];
    size_t len = RTP_BYTES;
    packet(p, call, end, e->seq);
    if (rtp_crypt_protect(e->crypt, p, &len, false) != 0)
        fail("a packet cannot be protected");
    sent_ns[call][end][e->seq++ % REMEMBERED] = now_ns(CLOCK_REALTIME);
    bench_socket_send(r->load->sockets[end], call, &e->to, p, len);
    r->sent++;
}

static void check(struct run *r, const struct bench_dgram *dg, unsigned call, unsigned end, uint16_t seq) {
    uint8_t want[RTP_BYTES];
    size_t len = dg->len;
    if (dg->peer != call || rtp_crypt_unprotect(r->load->ends[call][!end].crypt, dg->p, &len, false) != 0)
        fail("a relayed packet went to the wrong peer or cannot be decrypted");
    packet(want, call, end, seq);
    if (len != sizeof want || memcmp(dg->p, want, sizeof want) != 0)
        fail("a relayed packet was altered");
}

static void on_dgram(const struct bench_dgram *dg, void *arg) {
    struct run *r = arg;
    if (!rtp_is_rtp_or_rtcp(dg->p, dg->len) || rtp_is_rtcp(dg->p, dg->len))
        return;
    uint32_t ssrc = rtp_ssrc(dg->p);
    uint16_t seq = rtp_seq(dg->p);
    unsigned call = ssrc >> 1, end = ssrc & 1;
    if (call >= r->load->calls)
        fail("a relayed packet was altered");
    if (r->received++ % CHECKED_EACH == 0)
        check(r, dg, call, end, seq);
    uint64_t took_ns = dg->at_ns - sent_ns[call][end][seq % REMEMBERED];
    if (dg->at_ns && r->per_s && r->tally->samples < SAMPLES_MAX)
        r->tally->samples_ns[r->tally->samples++] = took_ns < UINT32_MAX ? (uint32_t)took_ns : UINT32_MAX;
}

static int drain(struct run *r) {
    int n = 0;
    for (int i = 0; i < 2; i++)
        n += bench_socket_receive(r->load->sockets[i], on_dgram, r);
    if (n > 0)
        r->last_rx_ms = clock_mono_ms();
    return n;
}

static void settle(struct run *r) {
    uint64_t until_ms = clock_mono_ms() + SETTLE_MS;
    while (r->received < r->sent && clock_mono_ms() < until_ms)
        drain(r);
}

static void run_slice(struct bench_load *l, struct bench_tally *t, unsigned per_s, unsigned ms,
                      void (*send)(struct run *r, unsigned ms)) {
    struct run r = {.load = l, .tally = t, .per_s = per_s};
    if (per_s && !t->samples_ns && !(t->samples_ns = calloc(SAMPLES_MAX, sizeof *t->samples_ns)))
        fail("out of memory");
    uint64_t cpu_ns = l->cpu_ns(l->arg), wall_ns = now_ns(CLOCK_MONOTONIC);
    send(&r, ms);
    settle(&r);
    t->wall_ns += now_ns(CLOCK_MONOTONIC) - wall_ns;
    t->cpu_ns += l->cpu_ns(l->arg) - cpu_ns;
    t->sent_pkts += r.sent;
    t->relayed_pkts += r.received;
    if (r.received == 0)
        fail("nothing was relayed");
}

static void sleep_until(uint64_t mono_ns) {
    struct timespec t = {.tv_sec = (time_t)(mono_ns / 1000000000), .tv_nsec = (long)(mono_ns % 1000000000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void pace(struct run *r, unsigned ms) {
    struct bench_load *l = r->load;
    uint64_t gap_ns = 1000000000 / (r->per_s ? r->per_s : 1), next_ns = now_ns(CLOCK_MONOTONIC), also_ns = next_ns;
    for (uint64_t left = (uint64_t)r->per_s * ms / 1000; left > 0; left--, l->turn++) {
        sleep_until(next_ns);
        send_one(r, l->turn / 2 % l->calls, l->turn & 1);
        bench_socket_flush(l->sockets[l->turn & 1]);
        drain(r);
        next_ns += gap_ns;
        if (l->also && next_ns > also_ns) {
            l->also(l->arg);
            also_ns += 1000000;
        }
    }
}

void bench_load_paced(struct bench_load *l, unsigned per_s, unsigned ms, struct bench_tally *t) {
    run_slice(l, t, per_s, ms, pace);
}

static void saturate(struct run *r, unsigned ms) {
    struct bench_load *l = r->load;
    uint64_t until_ms = clock_mono_ms() + ms, lost = 0;
    r->last_rx_ms = clock_mono_ms();
    while (clock_mono_ms() < until_ms) {
        /* A batch of callers' packets, then a batch of phones'. */
        if (r->sent - r->received - lost <= WINDOW_PKTS - BENCH_BATCH) {
            for (unsigned i = 0; i < BENCH_BATCH; i++)
                send_one(r, (l->turn / 2 * BENCH_BATCH + i) % l->calls, l->turn & 1);
            l->turn++;
        }
        if (drain(r) == 0 && clock_mono_ms() - r->last_rx_ms > STALL_MS)
            lost = r->sent - r->received; /* a queue overflowed: go on without these */
    }
    bench_socket_flush(l->sockets[0]);
    bench_socket_flush(l->sockets[1]);
}

void bench_load_full(struct bench_load *l, unsigned ms, struct bench_tally *t) {
    run_slice(l, t, 0, ms, saturate);
}

static int compare(const void *x, const void *y) {
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

double bench_tally_percentile_us(struct bench_tally *t, double p) {
    if (t->samples == 0)
        return 0;
    qsort(t->samples_ns, t->samples, sizeof *t->samples_ns, compare);
    return t->samples_ns[(unsigned)(p * (t->samples - 1))] / 1e3;
}

void bench_tally_free(struct bench_tally *t) {
    free(t->samples_ns);
    memset(t, 0, sizeof *t);
}
