/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_callers.h"

#include "base/clock.h"
#include "tests/bench/bench_cpu.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS         20
#define LOWEST_PRIORITY 19

enum request_kind { REQUEST_START, REQUEST_REPORT };

struct request {
    enum request_kind kind;
    uint32_t number;
    struct bench_target target;
};

struct bench_callers { /* the parent's side */
    pid_t pid;
    int fd;
};

/* The child's side. */
struct callers {
    int fd;
    struct bench_callers_config cfg;
    struct bench_socket *socket;
    struct bench_peer **peers; /* by number */
    uint32_t cap;
    struct bench_callers_report report;
};

static void *must(void *p) {
    if (!p) {
        fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    return p;
}

static void drop(struct callers *c, uint32_t number) {
    bench_peer_end(c->peers[number]);
    free(c->peers[number]);
    c->peers[number] = NULL;
}

static void settle(struct callers *c, struct bench_peer *p, bool was_up) {
    bool up = p->keys.profile != MEDIA_PROFILE_NONE;
    c->report.connected += up && !was_up;
    c->report.closed += p->closed && p->err == 0;
    c->report.failed += p->closed && p->err != 0;
    if (p->closed || (up && !c->cfg.keep))
        drop(c, p->number);
}

static void on_dgram(const struct bench_dgram *dg, void *arg) {
    struct callers *c = arg;
    struct bench_peer *p = dg->peer < c->cap ? c->peers[dg->peer] : NULL;
    if (!p)
        return;
    bool was_up = p->keys.profile != MEDIA_PROFILE_NONE;
    bench_peer_input(p, dg->p, dg->len, clock_mono_ms());
    settle(c, p, was_up);
}

static void start(struct callers *c, const struct request *r) {
    struct bench_peer *p = must(calloc(1, sizeof *p));
    if (r->number >= c->cap) {
        uint32_t cap = r->number * 2 + 1024;
        c->peers = must(realloc(c->peers, cap * sizeof *c->peers));
        memset(c->peers + c->cap, 0, (cap - c->cap) * sizeof *c->peers);
        c->cap = cap;
    }
    *p =
        (struct bench_peer){.socket = c->socket, .number = r->number, .target = r->target, .identity = c->cfg.identity};
    c->peers[r->number] = p;
    bench_peer_start(p, clock_mono_ms());
}

static void answer(struct callers *c) {
    struct bench_callers_report r = c->report;
    for (uint32_t i = 0; i < c->cap; i++)
        r.failed += c->peers[i] && c->peers[i]->keys.profile == MEDIA_PROFILE_NONE;
    if (write(c->fd, &r, sizeof r) != (ssize_t)sizeof r)
        exit(1);
}

static void tick(struct callers *c) {
    uint64_t now_ms = clock_mono_ms();
    for (uint32_t i = 0; i < c->cap; i++) {
        if (!c->peers[i])
            continue;
        bool was_up = c->peers[i]->keys.profile != MEDIA_PROFILE_NONE;
        bench_peer_tick(c->peers[i], now_ms);
        settle(c, c->peers[i], was_up);
    }
}

static void serve(struct callers *c) {
    struct pollfd fds[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = bench_socket_fd(c->socket), .events = POLLIN}};
    struct request r;
    uint64_t next_ms = 0;
    for (;;) {
        poll(fds, 2, TICK_MS);
        if (fds[0].revents) {
            if (read(c->fd, &r, sizeof r) != (ssize_t)sizeof r)
                return; /* the parent is gone */
            if (r.kind == REQUEST_START)
                start(c, &r);
            else
                answer(c);
        }
        if (fds[1].revents && c->cfg.nap_us)
            usleep(c->cfg.nap_us);
        while (bench_socket_receive(c->socket, on_dgram, c) == BENCH_BATCH)
            ;
        if (clock_mono_ms() >= next_ms) {
            tick(c);
            next_ms = clock_mono_ms() + TICK_MS;
        }
        bench_socket_flush(c->socket);
    }
}

struct bench_callers *bench_callers_new(const struct bench_callers_config *cfg) {
    struct bench_callers *c = must(calloc(1, sizeof *c));
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 || (c->pid = fork()) < 0) {
        perror("bench: no process for the callers");
        exit(1);
    }
    c->fd = pair[c->pid == 0];
    close(pair[c->pid != 0]);
    if (c->pid != 0)
        return c;
    struct callers side = {.fd = c->fd, .cfg = *cfg, .socket = bench_socket_new(false)};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_cpu_pin(0, cfg->cpu);
    setpriority(PRIO_PROCESS, 0, LOWEST_PRIORITY);
    serve(&side);
    _exit(0);
}

static void ask(struct bench_callers *c, const struct request *r) {
    if (write(c->fd, r, sizeof *r) != (ssize_t)sizeof *r) {
        perror("bench: the callers' process is gone");
        exit(1);
    }
}

void bench_callers_start(struct bench_callers *c, uint32_t number, const struct bench_target *target) {
    struct request r = {.kind = REQUEST_START, .number = number, .target = *target};
    ask(c, &r);
}

struct bench_callers_report bench_callers_report(struct bench_callers *c) {
    struct request r = {.kind = REQUEST_REPORT};
    struct bench_callers_report report = {0};
    ask(c, &r);
    if (read(c->fd, &report, sizeof report) != (ssize_t)sizeof report) {
        perror("bench: the callers' process is gone");
        exit(1);
    }
    return report;
}

struct bench_callers *bench_callers_free(struct bench_callers *c) {
    if (!c)
        return NULL;
    close(c->fd);
    waitpid(c->pid, NULL, 0);
    free(c);
    return NULL;
}
