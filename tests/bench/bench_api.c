/* SPDX-License-Identifier: Apache-2.0 */
/* bench-api: a call server and its users' phones, as a load for a gateway that runs as a process of its own. Prints one
 * JSON object of figures; tests/bench/api.py starts the gateway and makes the ratios.
 *
 * calls: new calls at a rate, whether or not the gateway keeps up; then their ends; then each call's timeline is read.
 * sustain: new calls as fast as they are answered, each ended a little later.
 * phones: phones attach, wait, are rung, and hear of the gateway's end, which this program brings about. */
#include "base/clock.h"
#include "tests/bench/bench_cpu.h"
#include "tests/bench/bench_handshake.h"
#include "tests/bench/bench_http.h"
#include "tests/bench/bench_phones.h"
#include "tests/bench/bench_samples.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define FLOOR_BURSTS    20
#define FLOOR_AT_ONCE   48 /* as in bench-dtls */
#define FLOOR_NAP_US    4000
#define WARM_UP_SHARE   10 /* before the figures, one call in so many more */
#define SETTLE_MS       300
#define WAIT_MS         30000
#define AT_ONCE         64 /* phones that attach, devices that register */
#define SUSTAIN_HELD    1000
#define ID_BYTES        40
#define PATH_BYTES      96
#define OFFER_MAX_CHARS 16384
#define BODY_BYTES      (OFFER_MAX_CHARS + 256)

struct bench {
    struct addr server;
    const char *ca_file, *token_file, *offer_file, *handoff, *sealing_key;
    pid_t gateway;
    unsigned count, rate, devices, connections, seconds, idle_ms;
    char offer[OFFER_MAX_CHARS]; /* as JSON's text */
    struct bench_net *net;
    struct bench_http *http;
    struct bench_phones phones;

    /* of the calls: */
    unsigned first; /* number of the first one that counts */
    char (*ids)[ID_BYTES];
    uint64_t *due_us;
    unsigned created, ended;
    unsigned timelines, unwritten; /* read; of those, without a push */
    struct bench_samples reply_us, written_us, delete_us, called_us;
};

static void fail(const char *what) {
    fprintf(stderr, "bench-api: %s\n", what);
    exit(1);
}

static double cpu_us(const struct bench *b) {
    return (double)bench_cpu_process_ns(b->gateway) / 1e3;
}

static void wait_ms(struct bench *b, unsigned ms) {
    for (uint64_t until = clock_mono_ms() + ms, now; (now = clock_mono_ms()) < until;)
        bench_net_turn(b->net, (int)(until - now));
}

static void wait_until(struct bench *b, const unsigned *value, unsigned wanted, const char *what) {
    for (uint64_t until = clock_mono_ms() + WAIT_MS; *value < wanted;) {
        bench_net_turn(b->net, 100);
        if (clock_mono_ms() > until)
            fail(what);
    }
}

static void wait_replies(struct bench *b) {
    for (uint64_t until = clock_mono_ms() + WAIT_MS; bench_http_waiting(b->http);) {
        bench_net_turn(b->net, 100);
        if (clock_mono_ms() > until)
            fail("a request gets no reply");
    }
}

/* Devices */

static void on_device(const struct bench_reply *r, void *arg) {
    struct bench *b = arg;
    if (r->status != 201)
        fail(r->body);
    if (b->phones.count)
        bench_reply_text(r, "device_secret", b->phones.phones[r->number].secret, BENCH_SECRET_BYTES);
}

/* One phone for each user. */
static void register_devices(struct bench *b, unsigned count) {
    char path[PATH_BYTES], body[1024], key[128] = "";
    if (b->sealing_key)
        snprintf(key, sizeof key, ",\"sealing_key\":\"%s\"", b->sealing_key);
    for (unsigned i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/v1/devices/phone-%u", i);
        snprintf(body, sizeof body,
                 "{\"user\":\"user-%u\",\"app\":\"vcs\",\"token\":\"00f%061x\",\"handoff\":[\"%s\"],"
                 "\"app_version\":\"1\",\"os_version\":\"26.4\"%s}",
                 i, i, b->handoff, key);
        bench_http_ask(b->http, &(struct bench_ask){"PUT", path, body, i, on_device, b});
        while (bench_http_waiting(b->http) > AT_ONCE)
            bench_net_turn(b->net, 100);
    }
    wait_replies(b);
}

/* Calls */

static void on_created(const struct bench_reply *r, void *arg) {
    struct bench *b = arg;
    if (r->status != 201)
        fail(r->body);
    bench_reply_text(r, "id", b->ids[r->number], ID_BYTES);
    b->created++;
    if (r->number >= b->first)
        bench_samples_add(&b->reply_us, r->done_us - r->due_us);
}

static void post_call(struct bench *b, unsigned number) {
    static char body[BODY_BYTES];
    snprintf(body, sizeof body,
             "{\"callee\":\"user-%u\",\"caller\":{\"handle\":\"+15550100\",\"name\":\"Ward 3\"},\"ring_timeout_s\":55,"
             "\"offer\":\"%s\"}",
             number % b->devices, b->offer);
    b->due_us[number] = clock_mono_us();
    bench_http_ask(b->http, &(struct bench_ask){"POST", "/v1/calls", body, number, on_created, b});
}

static void on_ended(const struct bench_reply *r, void *arg) {
    struct bench *b = arg;
    if (r->status != 204)
        fail(r->body);
    b->ended++;
    if (r->number >= b->first)
        bench_samples_add(&b->delete_us, r->done_us - r->due_us);
}

static void delete_call(struct bench *b, unsigned number) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/calls/%s", b->ids[number]);
    bench_http_ask(b->http, &(struct bench_ask){"DELETE", path, NULL, number, on_ended, b});
}

/* How long it took from the request to the push on the wire, as the gateway noted it. */
static void on_timeline(const struct bench_reply *r, void *arg) {
    struct bench *b = arg;
    const char *at = strstr(r->body, "\"event\":\"push_written\""), *offset = NULL;
    if (r->status != 200)
        fail(r->body);
    b->timelines++;
    for (const char *p = r->body; at && (p = strstr(p, "\"offset_us\":")) && p < at; p++)
        offset = p + strlen("\"offset_us\":");
    if (offset)
        bench_samples_add(&b->written_us, strtoull(offset, NULL, 10));
    else
        b->unwritten++;
}

static void get_timeline(struct bench *b, unsigned number) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/v1/calls/%s/timeline", b->ids[number]);
    bench_http_ask(b->http, &(struct bench_ask){"GET", path, NULL, number, on_timeline, b});
}

/* Something for each of these calls, at the rate, whether or not the gateway keeps up. */
static void paced(struct bench *b, unsigned from, unsigned to, void (*fn)(struct bench *b, unsigned number)) {
    uint64_t first_us = clock_mono_us();
    for (unsigned i = from; i < to;) {
        uint64_t due = from + (clock_mono_us() - first_us) * b->rate / 1000000;
        for (; i < to && i <= due; i++)
            fn(b, i);
        bench_net_turn(b->net, 1);
    }
    wait_replies(b);
    wait_ms(b, SETTLE_MS);
}

static double floor_us(void) {
    uint64_t ns = 0;
    bench_handshakes_floor_ns(FLOOR_AT_ONCE, FLOOR_NAP_US); /* its first run is not like the others */
    for (unsigned i = 0; i < FLOOR_BURSTS; i++)
        ns += bench_handshakes_floor_ns(FLOOR_AT_ONCE, FLOOR_NAP_US);
    return (double)ns / 1e3 / (FLOOR_BURSTS * FLOOR_AT_ONCE);
}

static void calls(struct bench *b) {
    unsigned all = b->first + b->count;
    double floor_before = floor_us();
    register_devices(b, b->devices);
    paced(b, 0, b->first, post_call);
    paced(b, 0, b->first, delete_call);
    double from = cpu_us(b);
    paced(b, b->first, all, post_call);
    double posted = cpu_us(b);
    paced(b, b->first, all, delete_call);
    double deleted = cpu_us(b);
    paced(b, b->first, all, get_timeline);
    double floor = (floor_before + floor_us()) / 2;
    printf("{\"calls\":%u,\"floor_us\":%.2f,\"cpu_us\":%.2f,\"delete_cpu_us\":%.2f,\"reply_p50_us\":%u,"
           "\"reply_p99_us\":%u,\"written\":%u,\"written_p50_us\":%u,\"written_p99_us\":%u,\"delete_p50_us\":%u}\n",
           b->count, floor, (posted - from) / b->count, (deleted - posted) / b->count,
           bench_samples_percentile(&b->reply_us, 0.5), bench_samples_percentile(&b->reply_us, 0.99),
           b->timelines - b->unwritten, bench_samples_percentile(&b->written_us, 0.5),
           bench_samples_percentile(&b->written_us, 0.99), bench_samples_percentile(&b->delete_us, 0.5));
}

/* As fast as they are answered: each connection has a request at all times. */
static void sustain(struct bench *b) {
    unsigned posts = 0, deletes = 0, all = b->count;
    register_devices(b, b->devices);
    uint64_t from_us = clock_mono_us(), until_us = from_us + b->seconds * 1000000ULL;
    double cpu = cpu_us(b);
    while (clock_mono_us() < until_us && posts < all) {
        while (bench_http_waiting(b->http) < b->connections && posts < all) {
            post_call(b, posts++);
            if (b->created > deletes + SUSTAIN_HELD && b->ids[deletes][0])
                delete_call(b, deletes++);
        }
        bench_net_turn(b->net, 10);
    }
    double seconds = (double)(clock_mono_us() - from_us) / 1e6;
    unsigned created = b->created, ended = b->ended;
    cpu = (cpu_us(b) - cpu) / created;
    wait_replies(b);
    printf("{\"calls\":%u,\"ended\":%u,\"per_s\":%.1f,\"cpu_us\":%.2f,\"reply_p50_us\":%u,\"reply_p99_us\":%u}\n",
           created, ended, created / seconds, cpu, bench_samples_percentile(&b->reply_us, 0.5),
           bench_samples_percentile(&b->reply_us, 0.99));
}

/* Phones */

static double resident_kib(const struct bench *b) {
    return (double)bench_resident_bytes_of(b->gateway) / 1024;
}

static void attach_all(struct bench *b) {
    uint64_t until = clock_mono_ms() + WAIT_MS;
    while (b->phones.welcome < b->count) {
        bench_phones_attach(&b->phones, AT_ONCE);
        bench_net_turn(b->net, 100);
        if (clock_mono_ms() > until)
            fail("phones do not get attached");
    }
}

static void ring_all(struct bench *b) {
    paced(b, 0, b->count, post_call);
    wait_until(b, &b->phones.called, b->count, "phones are not told of their calls");
    for (unsigned i = 0; i < b->count; i++)
        bench_samples_add(&b->called_us, b->phones.phones[i].called_us - b->due_us[i]);
}

/* The second signal ends all calls at once, and every phone is told. Returns the microseconds to the last of them. */
static uint64_t stop_gateway(struct bench *b, uint64_t *spread_us) {
    uint64_t first = UINT64_MAX, last = 0;
    kill(b->gateway, SIGTERM);
    wait_ms(b, SETTLE_MS);
    uint64_t from_us = clock_mono_us();
    kill(b->gateway, SIGTERM);
    wait_until(b, &b->phones.ended, b->count, "phones are not told of the gateway's end");
    for (unsigned i = 0; i < b->count; i++) {
        first = b->phones.phones[i].ended_us < first ? b->phones.phones[i].ended_us : first;
        last = b->phones.phones[i].ended_us > last ? b->phones.phones[i].ended_us : last;
    }
    *spread_us = last - first;
    return last - from_us;
}

static void phones(struct bench *b) {
    uint64_t spread_us;
    bench_phones_new(&b->phones, b->net, b->count);
    register_devices(b, b->count);
    wait_ms(b, SETTLE_MS);
    double before = resident_kib(b);
    uint64_t from_us = clock_mono_us();
    attach_all(b);
    double attach_s = (double)(clock_mono_us() - from_us) / 1e6, attached = resident_kib(b);
    wait_ms(b, SETTLE_MS);
    unsigned pings = b->phones.pings;
    double cpu = cpu_us(b);
    from_us = clock_mono_us();
    wait_ms(b, b->idle_ms);
    double idle = (cpu_us(b) - cpu) / (double)(clock_mono_us() - from_us) * 100, waited = resident_kib(b);
    pings = b->phones.pings - pings;
    ring_all(b);
    uint64_t ended_us = stop_gateway(b, &spread_us);
    printf("{\"phones\":%u,\"attached_per_s\":%.0f,\"before_kib\":%.0f,\"phone_kib\":%.2f,\"idle_percent\":%.3f,"
           "\"pings\":%u,\"called_p50_us\":%u,\"called_p99_us\":%u,\"told_us\":%" PRIu64 ",\"spread_us\":%" PRIu64
           "}\n",
           b->count, b->count / attach_s, before, ((waited > attached ? waited : attached) - before) / b->count, idle,
           pings, bench_samples_percentile(&b->called_us, 0.5), bench_samples_percentile(&b->called_us, 0.99), ended_us,
           spread_us);
}

/* Start */

static void read_offer(struct bench *b) {
    size_t n = 0;
    FILE *f = fopen(b->offer_file, "r");
    if (!f)
        fail("the offer cannot be read");
    for (int c; (c = fgetc(f)) != EOF && n < sizeof b->offer - 4;) {
        if (c == '\n')
            memcpy(b->offer + n, "\\r\\n", 4);
        else if (c != '\r')
            b->offer[n] = (char)c;
        n += c == '\n' ? 4 : c != '\r';
    }
    fclose(f);
}

static bool options(struct bench *b, int argc, char **argv) {
    static const struct option known[] = {
        {"listen", 1, NULL, 'l'},  {"ca", 1, NULL, 'a'},      {"token-file", 1, NULL, 't'},  {"pid", 1, NULL, 'p'},
        {"offer", 1, NULL, 'o'},   {"handoff", 1, NULL, 'h'}, {"sealing-key", 1, NULL, 'k'}, {"count", 1, NULL, 'n'},
        {"rate", 1, NULL, 'r'},    {"devices", 1, NULL, 'd'}, {"connections", 1, NULL, 'c'}, {"seconds", 1, NULL, 's'},
        {"idle-ms", 1, NULL, 'i'}, {NULL, 0, NULL, 0}};
    unsigned *const numbers[128] = {['n'] = &b->count,       ['r'] = &b->rate,    ['d'] = &b->devices,
                                    ['c'] = &b->connections, ['s'] = &b->seconds, ['i'] = &b->idle_ms};
    const char **const texts[128] = {['a'] = &b->ca_file,
                                     ['t'] = &b->token_file,
                                     ['o'] = &b->offer_file,
                                     ['h'] = &b->handoff,
                                     ['k'] = &b->sealing_key};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'l' && addr_parse_hostport(&b->server, optarg) != 0)
            return false;
        if (c == 'p')
            b->gateway = (pid_t)strtol(optarg, NULL, 10);
        else if (c < 128 && numbers[c])
            *numbers[c] = (unsigned)strtoul(optarg, NULL, 10);
        else if (c < 128 && texts[c])
            *texts[c] = optarg;
        else if (c != 'l')
            return false;
    }
    return addr_is_set(&b->server) && b->token_file && b->offer_file && b->gateway > 0 && b->count >= WARM_UP_SHARE &&
           b->rate > 0 && b->devices > 0 && b->connections > 0 && optind + 1 == argc;
}

/* Every phone is an open file. */
static void allow_open_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv) {
    static struct bench b = {.count = 3000,
                             .rate = 300,
                             .devices = 1000,
                             .connections = 32,
                             .seconds = 10,
                             .idle_ms = 20000,
                             .handoff = "transfer"};
    static const struct {
        const char *name;
        void (*run)(struct bench *b);
    } runs[] = {{"calls", calls}, {"sustain", sustain}, {"phones", phones}};
    void (*run)(struct bench *) = NULL;
    bool ok = options(&b, argc, argv);
    for (size_t i = 0; ok && i < sizeof runs / sizeof *runs; i++)
        if (strcmp(runs[i].name, argv[optind]) == 0)
            run = runs[i].run;
    if (!run) {
        fprintf(stderr,
                "usage: bench-api calls|sustain|phones --listen ADDRESS:PORT --token-file FILE --offer FILE --pid "
                "PID [--ca FILE] [--count N] [--rate N_PER_S] [--devices N] [--connections N] [--seconds N] "
                "[--idle-ms MS] [--handoff MODE] [--sealing-key KEY]\n");
        return 1;
    }
    if (run == phones)
        b.devices = b.count;
    b.first = run == calls ? b.count / WARM_UP_SHARE : 0;
    if (run == calls && b.devices > b.first)
        b.devices = b.first; /* a push to each of them was accepted before the figures begin: that is stored */
    b.ids = calloc(b.first + b.count, sizeof *b.ids);
    b.due_us = calloc(b.first + b.count, sizeof *b.due_us);
    if (!b.ids || !b.due_us)
        fail("out of memory");
    signal(SIGPIPE, SIG_IGN);
    bench_cpu_load(); /* the processors that may be used, before anything is pinned */
    allow_open_files();
    read_offer(&b);
    b.net = bench_net_new(&b.server, b.ca_file);
    b.http = bench_http_new(b.net, b.connections, b.token_file);
    run(&b);
    b.http = bench_http_free(b.http);
    b.net = bench_net_free(b.net);
    bench_phones_free(&b.phones);
    free(b.ids);
    free(b.due_us);
    return 0;
}
