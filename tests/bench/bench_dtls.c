/* SPDX-License-Identifier: Apache-2.0 */
/* bench-dtls: what does it cost to bring up a caller's leg, and to hold it? Prints one JSON object of figures.
 * tests/bench/dtls.py and tests/bench/hold.py make the ratios.
 *
 * legs: callers come up and end, in turns with handshakes of OpenSSL alone. rtpengine: the same on a running rtpengine.
 * hold: so many calls are brought up, held, and ended. */
#include "base/clock.h"
#include "tests/bench/bench_callers.h"
#include "tests/bench/bench_cpu.h"
#include "tests/bench/bench_handshake.h"
#include "tests/bench/bench_media.h"
#include "tests/bench/bench_rtpengine.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AT_ONCE        48
#define NAP_US         4000
#define WARM_UP_BURSTS 4
#define WAIT_MS        5000
#define WARM_UP        1200 /* calls before the figures: every slot of the rings has been used then */
#define CHECKPOINTS    10
#define TRIM_MS        1000 /* for the worker to give memory back */

struct bench {
    unsigned count, hold_ms;
    uint16_t ng_port;
    pid_t rtpengine_pid;
    struct dtls_identity *identity;
    struct bench_callers *callers;
    struct bench_media media;
    uint32_t number; /* of the next caller */
    unsigned failed;
    media_id *held;
};

static void fail(const char *what) {
    fprintf(stderr, "bench-dtls: %s\n", what);
    _exit(1); /* other threads are at work */
}

static void open_one(struct bench *b, media_id *id, struct bench_target *target) {
    if (bench_media_open(&b->media, b->number++, id, target) != 0)
        fail("the media plane takes no more calls");
}

/* The next event of this kind; a failed call counts as one. */
static media_id wait_for(struct bench *b, enum media_event_kind kind) {
    struct media_event ev;
    do {
        if (!bench_media_event(&b->media, &ev, WAIT_MS))
            fail("a call does not come up or does not end");
        b->failed += ev.kind == MEDIA_EV_FAILED;
    } while (ev.kind != kind && ev.kind != MEDIA_EV_FAILED);
    return ev.id;
}

/* Bring up n calls, AT_ONCE at a time. */
static void bring_up(struct bench *b, unsigned n, media_id *ids) {
    unsigned opened = 0, up = 0;
    while (up < n) {
        for (; opened < n && opened - up < AT_ONCE; opened++) {
            struct bench_target target;
            open_one(b, &ids[opened], &target);
            bench_callers_start(b->callers, b->number - 1, &target);
        }
        wait_for(b, MEDIA_EV_FAR_DTLS);
        up++;
    }
}

static void end(struct bench *b, unsigned n, const media_id *ids) {
    unsigned closing = 0, closed = 0;
    while (closed < n) {
        for (; closing < n && closing - closed < AT_ONCE; closing++)
            if (media_close(b->media.media, ids[closing]) != 0)
                fail("a call cannot be ended");
        wait_for(b, MEDIA_EV_CLOSED);
        closed++;
    }
}

/* One burst of callers. Returns the worker's CPU time from the first check to the last key: not for opening and ending.
 */
static uint64_t burst_ns(struct bench *b) {
    struct bench_target targets[AT_ONCE];
    media_id ids[AT_ONCE];
    uint32_t first = b->number;
    for (unsigned i = 0; i < AT_ONCE; i++)
        open_one(b, &ids[i], &targets[i]);
    usleep(NAP_US);
    uint64_t from_ns = bench_cpu_thread_ns(b->media.worker);
    for (unsigned i = 0; i < AT_ONCE; i++)
        bench_callers_start(b->callers, first + i, &targets[i]);
    for (unsigned i = 0; i < AT_ONCE; i++)
        wait_for(b, MEDIA_EV_FAR_DTLS);
    uint64_t spent_ns = bench_cpu_thread_ns(b->media.worker) - from_ns;
    end(b, AT_ONCE, ids);
    return spent_ns;
}

static void start_media(struct bench *b, bool keep, unsigned calls_max) {
    b->callers = bench_callers_new(&(struct bench_callers_config){
        .identity = b->identity, .keep = keep, .nap_us = keep ? 0 : NAP_US, .cpu = bench_cpu_load()});
    bench_media_start(&b->media, calls_max, dtls_identity_fingerprint(b->identity));
}

static void legs(struct bench *b) {
    unsigned bursts = b->count / AT_ONCE;
    uint64_t floor = 0, ours = 0;
    start_media(b, false, 4 * AT_ONCE);
    bench_cpu_first(b->media.worker, true);
    for (unsigned i = 0; i < bursts + WARM_UP_BURSTS; i++) {
        /* The floor is on the worker's processor, which sleeps meanwhile, and in the same rhythm: so many at once, and
         * a pause before each flight. */
        uint64_t floor_now = bench_handshakes_floor_ns(AT_ONCE, NAP_US), ours_now = burst_ns(b);
        floor += i < WARM_UP_BURSTS ? 0 : floor_now;
        ours += i < WARM_UP_BURSTS ? 0 : ours_now;
    }
    double n = (double)bursts * AT_ONCE;
    printf("{\"legs\":%.0f,\"failed\":%u,\"floor_us\":%.2f,\"leg_us\":%.2f}\n", n, b->failed, (double)floor / n / 1e3,
           (double)ours / n / 1e3);
    bench_media_stop(&b->media);
}

static void rtpengine(struct bench *b) {
    struct bench_rtpengine r = {.sockets = {bench_socket_new(false), bench_socket_new(false)},
                                .callers = dtls_identity_fingerprint(b->identity)};
    struct bench_threads all = bench_threads_of(b->rtpengine_pid);
    b->callers = bench_callers_new(&(struct bench_callers_config){.identity = b->identity, .cpu = bench_cpu_load()});
    for (unsigned i = 0; i < all.count; i++) {
        bench_cpu_pin(all.tid[i], bench_cpu_measured());
        bench_cpu_first(all.tid[i], true);
    }
    bench_rtpengine_open(&r, b->ng_port);
    uint64_t from = bench_cpu_process_ns(b->rtpengine_pid), until_ms;
    for (unsigned i = 0; i < b->count; i++) {
        struct bench_target caller, phone;
        struct media_keys keys;
        bench_rtpengine_call(&r, i, &caller, &phone, &keys);
        bench_callers_start(b->callers, i, &caller);
        for (until_ms = clock_mono_ms() + WAIT_MS; bench_callers_report(b->callers).connected <= i;) {
            if (clock_mono_ms() > until_ms)
                fail("rtpengine: a call did not come up");
            usleep(500);
        }
        bench_rtpengine_delete(&r, i);
    }
    double ns = (double)(bench_cpu_process_ns(b->rtpengine_pid) - from);
    for (unsigned i = 0; i < all.count; i++)
        bench_cpu_first(all.tid[i], false);
    printf("{\"legs\":%u,\"leg_us\":%.2f}\n", b->count, ns / b->count / 1e3);
    bench_socket_free(r.sockets[0]);
    bench_socket_free(r.sockets[1]);
}

/* Least squares: bytes for each call. */
static double slope(const double *calls, const double *bytes, unsigned n) {
    double x = 0, y = 0, xx = 0, xy = 0;
    for (unsigned i = 0; i < n; i++) {
        x += calls[i];
        y += bytes[i];
        xx += calls[i] * calls[i];
        xy += calls[i] * bytes[i];
    }
    return (n * xy - x * y) / (n * xx - x * x);
}

/* Nothing may happen but that time passes. */
static void wait_quietly(struct bench *b, unsigned ms) {
    struct media_event ev;
    for (uint64_t until_ms = clock_mono_ms() + ms; clock_mono_ms() < until_ms;)
        if (bench_media_event(&b->media, &ev, 100))
            b->failed += ev.kind == MEDIA_EV_FAILED || ev.kind == MEDIA_EV_PEER_CLOSED;
}

static void hold(struct bench *b) {
    double calls[CHECKPOINTS + 1], bytes[CHECKPOINTS + 1];
    unsigned step = b->count / CHECKPOINTS;
    b->count = step * CHECKPOINTS;
    b->held = calloc(b->count, sizeof *b->held);
    if (!b->held)
        fail("out of memory");
    memset(b->held, 1, b->count * sizeof *b->held); /* its pages are not what grows */
    start_media(b, true, b->count + AT_ONCE);
    bring_up(b, b->count < WARM_UP ? b->count : WARM_UP, b->held);
    end(b, b->count < WARM_UP ? b->count : WARM_UP, b->held);
    wait_quietly(b, TRIM_MS);
    calls[0] = 0;
    bytes[0] = (double)bench_resident_bytes();
    uint64_t from_ms = clock_mono_ms();
    for (unsigned i = 0; i < CHECKPOINTS; i++) {
        bring_up(b, step, b->held + (size_t)i * step);
        calls[i + 1] = (i + 1) * (double)step;
        bytes[i + 1] = (double)bench_resident_bytes();
    }
    uint64_t up_ms = clock_mono_ms() - from_ms;
    wait_quietly(b, b->hold_ms);
    end(b, b->count, b->held);
    wait_quietly(b, TRIM_MS);
    double left = (double)bench_resident_bytes() - bytes[0];
    struct bench_callers_report r = bench_callers_report(b->callers);
    printf("{\"calls\":%u,\"failed\":%u,\"told\":%u,\"lost\":%u,\"up_ms\":%lu,\"start_kib\":%.0f,\"full_kib\":%.0f,"
           "\"call_bytes\":%.0f,\"left_kib\":%.0f}\n",
           b->count, b->failed, r.closed - (b->count < WARM_UP ? b->count : WARM_UP), r.failed, up_ms, bytes[0] / 1024,
           bytes[CHECKPOINTS] / 1024, slope(calls, bytes, CHECKPOINTS + 1), left / 1024);
    bench_media_stop(&b->media);
    free(b->held);
}

static bool options(struct bench *b, int argc, char **argv) {
    static const struct option known[] = {{"count", 1, NULL, 'c'},
                                          {"hold-ms", 1, NULL, 'h'},
                                          {"ng-port", 1, NULL, 'n'},
                                          {"rtpengine", 1, NULL, 'e'},
                                          {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        switch (c) {
        case 'c':
            b->count = n;
            break;
        case 'h':
            b->hold_ms = n;
            break;
        case 'n':
            b->ng_port = (uint16_t)n;
            break;
        case 'e':
            b->rtpengine_pid = (pid_t)n;
            break;
        default:
            return false;
        }
    }
    return optind + 1 == argc && b->count >= AT_ONCE;
}

int main(int argc, char **argv) {
    static struct bench b = {.count = 2000, .hold_ms = 1000};
    static const struct {
        const char *name;
        void (*run)(struct bench *b);
    } runs[] = {{"legs", legs}, {"rtpengine", rtpengine}, {"hold", hold}};
    struct err_text et = {""};
    void (*run)(struct bench *) = NULL;
    bool ok = options(&b, argc, argv);
    for (size_t i = 0; ok && i < sizeof runs / sizeof *runs; i++)
        if (strcmp(runs[i].name, argv[optind]) == 0)
            run = runs[i].run;
    if (!run) {
        fprintf(stderr,
                "usage: bench-dtls legs|hold|rtpengine [--count N] [--hold-ms MS] [--rtpengine PID --ng-port N]\n");
        return 1;
    }
    if (dtls_identity_new_profiles(&b.identity, "SRTP_AES128_CM_SHA1_80", &et) != 0)
        fail(et.s);
    bench_cpu_load();
    run(&b);
    bench_callers_free(b.callers);
    dtls_identity_free(b.identity);
    return 0;
}
