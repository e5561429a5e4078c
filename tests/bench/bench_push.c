/* SPDX-License-Identifier: Apache-2.0 */
/* bench-push: how much does a push cost the client? Sends pushes to one server by one credential of apns/, at full
 * speed or at a rate, and prints one JSON object of figures. tests/bench/push.py runs it and makes the ratios. */
#include "apns/apns.h"
#include "base/clock.h"
#include "base/secret.h"

#include <getopt.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAYLOAD_CHARS    1024
#define WARM_UP_SHARE    10 /* one push in so many comes before the figures */
#define PUSH_DEADLINE_MS 60000
#define TICK_MS          1
#define CONNECT_MS       1200 /* for each connection after the first: an address gets one in a good second */

/* Every allocation of the process is counted; those of OpenSSL, which makes a few short ones for each TLS record,
 * apart. */
static uint64_t allocations, tls_allocations;
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void *realloc(void *p, size_t n);

void *malloc(size_t n) {
    __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
    __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n) {
    __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_realloc(p, n);
}

static void *tls_malloc(size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    __atomic_add_fetch(&tls_allocations, 1, __ATOMIC_RELAXED);
    return __libc_malloc(n);
}

static void *tls_realloc(void *p, size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    __atomic_add_fetch(&tls_allocations, 1, __ATOMIC_RELAXED);
    return __libc_realloc(p, n);
}

static void tls_free(void *p, const char *file, int line) {
    (void)file;
    (void)line;
    free(p);
}

struct mark {
    uint64_t wall_us, cpu_us, allocations, tls_allocations;
    long resident_kb;
};

struct bench {
    const char *host, *ca_file, *key_file;
    uint16_t port;
    unsigned count, outstanding, rate, bad_per_mille, connections;
    unsigned sent, done, accepted, refused, failed, warm_up;
    uint64_t ready_ms; /* one connection is up; 0: not yet */
    uint64_t first_us; /* of the paced pushes */
    struct mark from, to;
    uint32_t *wait_us; /* submit to HEADERS, of accepted pushes; count of them */
    unsigned waits;
    char payload[PAYLOAD_CHARS + 1];
    struct apns *client;
    struct apns_credential *credential;
    uv_timer_t timer;
    bool closing;
};

static long resident_kb(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    if (fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static struct mark mark_now(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (struct mark){clock_mono_us(),
                         (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
                             (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec),
                         __atomic_load_n(&allocations, __ATOMIC_RELAXED),
                         __atomic_load_n(&tls_allocations, __ATOMIC_RELAXED), resident_kb()};
}

static void push_next(struct bench *b);

static void on_result(const struct apns_result *r, void *arg) {
    struct bench *b = arg;
    b->done++;
    if (r->verdict == APNS_ACCEPTED)
        b->accepted++;
    else if (r->status != 0)
        b->refused++;
    else
        b->failed++;
    if (r->verdict == APNS_ACCEPTED && b->done > b->warm_up && r->written_us >= r->queued_us)
        b->wait_us[b->waits++] = (uint32_t)(r->written_us - r->queued_us);
    if (b->done == b->warm_up)
        b->from = mark_now();
    if (b->done == b->count)
        b->to = mark_now();
    if (b->rate == 0 && b->sent < b->count)
        push_next(b);
}

/* The simulator refuses tokens that begin with "bad". */
static void push_next(struct bench *b) {
    char token[65], id[64];
    struct err_text et;
    apns_push_id push_id;
    bool bad = b->bad_per_mille && b->sent % 1000 < b->bad_per_mille;
    snprintf(token, sizeof token, "%s%061x", bad ? "bad" : "00f", b->sent % 1000);
    snprintf(id, sizeof id, "8b1a9953-c461-4296-a827-%012x", b->sent);
    const struct apns_push push = {.token = token,
                                   .apns_id = id,
                                   .topic = "com.example.vcs.voip",
                                   .type = APNS_TYPE_VOIP,
                                   .priority = 10,
                                   .payload = b->payload,
                                   .payload_len = PAYLOAD_CHARS,
                                   .deadline_ms = clock_mono_ms() + PUSH_DEADLINE_MS};
    b->sent++;
    if (apns_push(b->credential, &push, on_result, b, &push_id, &et) != 0) {
        fprintf(stderr, "bench-push: %s\n", et.s);
        exit(1);
    }
}

static void on_closed(void *arg) {
    (void)arg;
}

static void on_timer_closed(uv_handle_t *h) {
    struct bench *b = h->data;
    apns_close(b->client, on_closed, NULL);
}

/* All connections are up. */
static bool ready(struct bench *b) {
    if (b->ready_ms == 0 && apns_credential_ready(b->credential))
        b->ready_ms = clock_mono_ms();
    return b->ready_ms && clock_mono_ms() - b->ready_ms >= (uint64_t)(b->connections - 1) * CONNECT_MS;
}

static void on_tick(uv_timer_t *t) {
    struct bench *b = t->data;
    if (b->sent == 0 && !ready(b))
        return;
    if (b->sent == 0)
        b->first_us = clock_mono_us();
    if (b->rate == 0) {
        while (b->sent < b->count && b->sent - b->done < b->outstanding)
            push_next(b);
    } else {
        uint64_t due = (clock_mono_us() - b->first_us) * b->rate / 1000000 + 1;
        while (b->sent < b->count && b->sent < due)
            push_next(b);
    }
    if (b->done == b->count)
        uv_close((uv_handle_t *)t, on_timer_closed);
}

static int compare(const void *x, const void *y) {
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

static uint32_t percentile(const struct bench *b, double p) {
    return b->waits ? b->wait_us[(unsigned)(p * (b->waits - 1))] : 0;
}

static void print(struct bench *b) {
    double pushes = b->count - b->warm_up;
    double wall_s = (double)(b->to.wall_us - b->from.wall_us) / 1e6;
    if (b->waits)
        qsort(b->wait_us, b->waits, sizeof *b->wait_us, compare);
    printf("{\"pushes\":%u,\"accepted\":%u,\"refused\":%u,\"failed\":%u,\"per_s\":%.0f,\"cpu_us\":%.3f,"
           "\"allocations\":%.4f,\"tls_allocations\":%.4f,\"resident_kb\":%ld,\"grown_kb\":%ld,\"wait_p50_us\":%u,"
           "\"wait_p99_us\":%u,"
           "\"wait_p999_us\":%u}\n",
           b->count, b->accepted, b->refused, b->failed, pushes / wall_s,
           (double)(b->to.cpu_us - b->from.cpu_us) / pushes, (double)(b->to.allocations - b->from.allocations) / pushes,
           (double)(b->to.tls_allocations - b->from.tls_allocations) / pushes, b->to.resident_kb,
           b->to.resident_kb - b->from.resident_kb, percentile(b, 0.5), percentile(b, 0.99), percentile(b, 0.999));
}

static bool options(struct bench *b, int argc, char **argv) {
    static const struct option known[] = {
        {"host", 1, NULL, 'h'},        {"port", 1, NULL, 'p'}, {"ca", 1, NULL, 'a'},          {"key", 1, NULL, 'k'},
        {"count", 1, NULL, 'n'},       {"rate", 1, NULL, 'r'}, {"outstanding", 1, NULL, 'o'}, {"bad", 1, NULL, 'b'},
        {"connections", 1, NULL, 'c'}, {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        switch (c) {
        case 'h':
            b->host = optarg;
            break;
        case 'p':
            b->port = (uint16_t)n;
            break;
        case 'a':
            b->ca_file = optarg;
            break;
        case 'k':
            b->key_file = optarg;
            break;
        case 'n':
            b->count = n;
            break;
        case 'r':
            b->rate = n;
            break;
        case 'o':
            b->outstanding = n;
            break;
        case 'b':
            b->bad_per_mille = n;
            break;
        case 'c':
            b->connections = n;
            break;
        default:
            return false;
        }
    }
    return b->ca_file && b->key_file && b->port && b->count >= WARM_UP_SHARE && b->connections >= 1 && optind == argc;
}

int main(int argc, char **argv) {
    static struct bench b = {.host = "localhost", .count = 100000, .outstanding = 500, .connections = 1};
    struct err_text et = {""};
    char *pem;
    size_t pem_len;
    uv_loop_t *loop = uv_default_loop();
    CRYPTO_set_mem_functions(tls_malloc, tls_realloc, tls_free);
    if (!options(&b, argc, argv)) {
        fprintf(stderr, "usage: bench-push --port N --ca FILE --key FILE [--host NAME] [--count N] [--outstanding N] "
                        "[--rate N_PER_S] [--bad PER_MILLE] [--connections N]\n");
        return 1;
    }
    b.warm_up = b.count / WARM_UP_SHARE;
    b.wait_us = malloc(b.count * sizeof *b.wait_us);
    if (b.wait_us)
        memset(b.wait_us, 1, b.count * sizeof *b.wait_us); /* its pages are not what grows */
    memset(b.payload, 'x', PAYLOAD_CHARS);
    memcpy(b.payload, "{\"aps\":{},\"x\":\"", 15);
    memcpy(b.payload + PAYLOAD_CHARS - 2, "\"}", 2);
    if (!b.wait_us || secret_file_read(&pem, &pem_len, b.key_file, &et) != 0 || apns_new(&b.client, loop, NULL) != 0) {
        fprintf(stderr, "bench-push: %s\n", et.s);
        return 1;
    }
    const struct apns_credential_config cfg = {.name = "bench",
                                               .host = b.host,
                                               .port = b.port,
                                               .ca_file = b.ca_file,
                                               .team_id = "ABCDE12345",
                                               .key_id = "FGHIJ67890",
                                               .key_pem = pem,
                                               .key_pem_len = pem_len,
                                               .ring_connections = b.connections};
    int err = apns_credential_add(b.client, &b.credential, &cfg, &et);
    pem = secret_free(pem, pem_len);
    if (err != 0) {
        fprintf(stderr, "bench-push: %s\n", et.s);
        return 1;
    }
    b.timer.data = &b;
    uv_timer_init(loop, &b.timer);
    uv_timer_start(&b.timer, on_tick, 0, TICK_MS);
    uv_run(loop, UV_RUN_DEFAULT);
    print(&b);
    free(b.wait_us);
    return b.failed ? 1 : 0;
}
