/* SPDX-License-Identifier: Apache-2.0 */
/* bench-relay: what does a relayed packet cost, and how long does it take? A relay, which is the media plane in a mode
 * or a running rtpengine, and the bare relay take turns, a slice of time each, so that what else the machine does meets
 * both. Prints one JSON object of figures. tests/bench/relay.py makes the ratios. */
#include "base/clock.h"
#include "tests/bench/bench_callers.h"
#include "tests/bench/bench_cpu.h"
#include "tests/bench/bench_floor.h"
#include "tests/bench/bench_media.h"
#include "tests/bench/bench_rtpengine.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define CALLS            100
#define FIRST_HANDSHAKE  1000 /* numbers of callers that are not relayed */
#define HANDSHAKE_MAX_MS 2000
#define PACED_MS         100
#define FULL_MS          50
#define RISING_MAX       4096

enum subject { SUBJECT_MEDIA, SUBJECT_RTPENGINE };
enum turn { TURN_FLOOR, TURN_SUBJECT, TURNS };

struct bench {
    enum subject subject;
    enum media_mode mode;
    const char *profile;
    unsigned rate, slices, handshakes_per_s;
    uint16_t ng_port;
    pid_t rtpengine_pid;

    struct dtls_identity *identity;
    struct bench_socket *sockets[2];
    struct bench_load loads[TURNS];
    struct bench_tally paced[TURNS], full[TURNS];
    struct bench_floor floor;
    struct bench_media media;
    struct bench_rtpengine rtpengine;
    pid_t floor_tid;

    struct bench_callers *callers;
    double owed; /* handshakes to be started */
    uint32_t started, done, failed;
};

static void fail(const char *what) {
    fprintf(stderr, "bench-relay: %s\n", what);
    _exit(1); /* other threads are at work */
}

static uint64_t floor_cpu_ns(void *arg) {
    return bench_cpu_thread_ns(((struct bench *)arg)->floor_tid);
}

static uint64_t subject_cpu_ns(void *arg) {
    const struct bench *b = arg;
    return b->subject == SUBJECT_MEDIA ? bench_cpu_thread_ns(b->media.worker) : bench_cpu_process_ns(b->rtpengine_pid);
}

static void take_events(struct bench *b) {
    struct media_event ev;
    while (bench_media_event(&b->media, &ev, 0)) {
        if (ev.kind != MEDIA_EV_FAR_DTLS && ev.kind != MEDIA_EV_FAILED)
            continue;
        b->done += ev.kind == MEDIA_EV_FAR_DTLS;
        b->failed += ev.kind == MEDIA_EV_FAILED;
        media_close(b->media.media, ev.id);
    }
}

/* Calls that come up beside the traffic, and end as soon as they are up. */
static void also(void *arg) {
    struct bench *b = arg;
    for (b->owed += b->handshakes_per_s / 1000.0; b->owed >= 1; b->owed--) {
        struct bench_target target;
        media_id id;
        if (bench_media_open(&b->media, FIRST_HANDSHAKE + b->started, &id, &target) != 0)
            fail("the media plane takes no more calls");
        bench_callers_start(b->callers, FIRST_HANDSHAKE + b->started++, &target);
    }
    take_events(b);
}

static void finish_handshakes(struct bench *b) {
    uint64_t until_ms = clock_mono_ms() + HANDSHAKE_MAX_MS;
    while (b->done + b->failed < b->started && clock_mono_ms() < until_ms) {
        take_events(b);
        usleep(1000);
    }
}

static void start_floor(struct bench *b) {
    struct addr caller = bench_socket_addr(b->sockets[0], 0), phone = bench_socket_addr(b->sockets[1], 0);
    struct bench_threads before = bench_threads_of(getpid());
    struct bench_load *l = &b->loads[TURN_FLOOR];
    bench_floor_start(&b->floor, addr_port(&caller), addr_port(&phone));
    b->floor_tid = bench_thread_new(&before);
    bench_cpu_pin(b->floor_tid, bench_cpu_measured());
    for (unsigned i = 0; i < CALLS; i++) {
        struct media_keys keys, other;
        media_keys_random(&keys, MEDIA_PROFILE_AES128_CM_SHA1_80);
        other = keys;
        memcpy(other.rx, keys.tx, sizeof other.rx);
        memcpy(other.tx, keys.rx, sizeof other.tx);
        l->ends[i][0].to = l->ends[i][1].to = b->floor.at;
        if (rtp_crypt_new(&l->ends[i][0].crypt, &keys) != 0 || rtp_crypt_new(&l->ends[i][1].crypt, &other) != 0)
            fail("no SRTP");
    }
    l->calls = CALLS;
}

static void start_subject(struct bench *b) {
    if (b->subject == SUBJECT_MEDIA) {
        bench_media_start(&b->media, RISING_MAX, dtls_identity_fingerprint(b->identity));
        bench_media_calls(&b->media, &b->loads[TURN_SUBJECT], CALLS, b->mode, b->identity);
        return;
    }
    struct bench_threads all = bench_threads_of(b->rtpengine_pid);
    for (unsigned i = 0; i < all.count; i++)
        bench_cpu_pin(all.tid[i], bench_cpu_measured());
    b->rtpengine = (struct bench_rtpengine){.sockets = {b->sockets[0], b->sockets[1]},
                                            .callers = dtls_identity_fingerprint(b->identity)};
    bench_rtpengine_open(&b->rtpengine, b->ng_port);
    bench_rtpengine_calls(&b->rtpengine, &b->loads[TURN_SUBJECT], CALLS, b->identity);
}

static void stop(struct bench *b) {
    bench_floor_stop(&b->floor);
    if (b->subject == SUBJECT_MEDIA)
        bench_media_stop(&b->media);
    for (unsigned i = 0; i < CALLS; i++) {
        for (int turn = 0; turn < TURNS; turn++) {
            rtp_crypt_free(b->loads[turn].ends[i][0].crypt);
            rtp_crypt_free(b->loads[turn].ends[i][1].crypt);
        }
        if (b->subject == SUBJECT_RTPENGINE)
            bench_rtpengine_delete(&b->rtpengine, i);
    }
}

static void first(struct bench *b, bool on) {
    struct bench_threads all = {.tid = {b->media.worker}, .count = 1};
    if (b->subject == SUBJECT_RTPENGINE)
        all = bench_threads_of(b->rtpengine_pid);
    for (unsigned i = 0; i < all.count; i++)
        bench_cpu_first(all.tid[i], on);
    bench_cpu_first(b->floor_tid, on);
    bench_cpu_first(0, on);
}

static void measure(struct bench *b) {
    first(b, true);

    for (unsigned i = 0; i < b->slices; i++) {
        for (int turn = 0; turn < TURNS; turn++) {
            bench_load_paced(&b->loads[turn], b->rate, PACED_MS, &b->paced[turn]);
            finish_handshakes(b);
        }
        for (int turn = 0; turn < TURNS && !b->handshakes_per_s; turn++)
            bench_load_full(&b->loads[turn], FULL_MS, &b->full[turn]);
    }

    first(b, false);
}

static double per_packet(const struct bench_tally *t) {
    return t->relayed_pkts ? (double)t->cpu_ns / (double)t->relayed_pkts : 0;
}

static void print(struct bench *b, const char *name, enum turn turn) {
    struct bench_tally *paced = &b->paced[turn], *full = &b->full[turn];
    printf("\"%s\":{\"sent\":%lu,\"relayed\":%lu,\"cpu_ns\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"full_cpu_ns\":%.0f,"
           "\"full_per_s\":%.0f,\"full_sent\":%lu,\"full_relayed\":%lu},",
           name, paced->sent_pkts, paced->relayed_pkts, per_packet(paced), bench_tally_percentile_us(paced, 0.5),
           bench_tally_percentile_us(paced, 0.99), per_packet(full),
           full->wall_ns ? (double)full->relayed_pkts * 1e9 / (double)full->wall_ns : 0, full->sent_pkts,
           full->relayed_pkts);
    bench_tally_free(paced);
    bench_tally_free(full);
}

static bool choose(struct bench *b, const char *subject, const char *profile) {
    static const struct {
        const char *name, *openssl;
    } profiles[] = {
        {"cm", "SRTP_AES128_CM_SHA1_80"}, {"gcm", "SRTP_AEAD_AES_128_GCM"}, {"gcm256", "SRTP_AEAD_AES_256_GCM"}};
    static const struct {
        const char *name;
        enum subject subject;
        enum media_mode mode;
    } subjects[] = {{"transfer", SUBJECT_MEDIA, MEDIA_MODE_TRANSFER},
                    {"sdes", SUBJECT_MEDIA, MEDIA_MODE_SDES},
                    {"rtpengine", SUBJECT_RTPENGINE, MEDIA_MODE_NONE}};
    bool found = false;
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++)
        if (strcmp(profiles[i].name, profile) == 0)
            b->profile = profiles[i].openssl;
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        if (strcmp(subjects[i].name, subject) != 0)
            continue;
        b->subject = subjects[i].subject;
        b->mode = subjects[i].mode;
        found = true;
    }
    return found && b->profile && (b->subject != SUBJECT_RTPENGINE || (b->ng_port && b->rtpengine_pid)) &&
           (b->subject == SUBJECT_MEDIA || !b->handshakes_per_s);
}

static bool options(struct bench *b, int argc, char **argv) {
    static const struct option known[] = {
        {"profile", 1, NULL, 'p'}, {"rate", 1, NULL, 'r'},      {"slices", 1, NULL, 's'}, {"handshakes", 1, NULL, 'h'},
        {"ng-port", 1, NULL, 'n'}, {"rtpengine", 1, NULL, 'e'}, {NULL, 0, NULL, 0}};
    const char *profile = "cm";
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        switch (c) {
        case 'p':
            profile = optarg ? optarg : "";
            break;
        case 'r':
            b->rate = n;
            break;
        case 's':
            b->slices = n;
            break;
        case 'h':
            b->handshakes_per_s = n;
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
    return optind + 1 == argc && b->rate && b->slices && choose(b, argv[optind], profile);
}

int main(int argc, char **argv) {
    static struct bench b = {.rate = 10000, .slices = 10};
    struct err_text et = {""};
    if (!options(&b, argc, argv)) {
        fprintf(stderr,
                "usage: bench-relay transfer|sdes|rtpengine [--profile cm|gcm|gcm256] [--rate PER_S] [--slices N]\n"
                "                   [--handshakes PER_S] [--rtpengine PID --ng-port N]\n");
        return 1;
    }
    if (dtls_identity_new_profiles(&b.identity, b.profile, &et) != 0 || rtp_crypt_init(&et) != 0)
        fail(et.s);
    if (b.handshakes_per_s)
        b.callers = bench_callers_new(&(struct bench_callers_config){.identity = b.identity, .cpu = bench_cpu_load()});
    bench_cpu_measured();
    b.sockets[0] = bench_socket_new(true);
    b.sockets[1] = bench_socket_new(true);
    for (int turn = 0; turn < TURNS; turn++) {
        b.loads[turn] = (struct bench_load){.sockets = {b.sockets[0], b.sockets[1]},
                                            .ends = calloc(CALLS, sizeof *b.loads[turn].ends),
                                            .cpu_ns = turn == TURN_FLOOR ? floor_cpu_ns : subject_cpu_ns,
                                            .arg = &b};
        if (!b.loads[turn].ends)
            fail("out of memory");
    }
    if (b.handshakes_per_s)
        b.loads[TURN_SUBJECT].also = also;
    bench_cpu_pin(0, bench_cpu_load());
    prctl(PR_SET_TIMERSLACK, 1UL);
    start_floor(&b);
    start_subject(&b);
    measure(&b);
    stop(&b);
    printf("{");
    print(&b, "floor", TURN_FLOOR);
    print(&b, "subject", TURN_SUBJECT);
    printf("\"handshakes\":%u,\"handshakes_done\":%u}\n", b.started, b.done);
    bench_callers_free(b.callers);
    bench_socket_free(b.sockets[0]);
    bench_socket_free(b.sockets[1]);
    for (int turn = 0; turn < TURNS; turn++)
        free(b.loads[turn].ends);
    dtls_identity_free(b.identity);
    rtp_crypt_shutdown();
    return 0;
}
