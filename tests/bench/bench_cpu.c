/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_cpu.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct bench_threads bench_threads_of(pid_t pid) {
    struct bench_threads t = {.count = 0};
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir)) && t.count < BENCH_THREADS_MAX;)
        if (e->d_name[0] != '.')
            t.tid[t.count++] = (pid_t)strtol(e->d_name, NULL, 10);
    if (dir)
        closedir(dir);
    return t;
}

static bool has(const struct bench_threads *t, pid_t tid) {
    for (unsigned i = 0; i < t->count; i++)
        if (t->tid[i] == tid)
            return true;
    return false;
}

pid_t bench_thread_new(const struct bench_threads *before) {
    struct bench_threads now = bench_threads_of(getpid());
    pid_t found = 0;
    unsigned count = 0;
    for (unsigned i = 0; i < now.count; i++) {
        if (!has(before, now.tid[i])) {
            found = now.tid[i];
            count++;
        }
    }
    if (count != 1) {
        fprintf(stderr, "bench: %u new threads where one was expected\n", count);
        exit(1);
    }
    return found;
}

static uint64_t read_ns(clockid_t clock) {
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t bench_cpu_thread_ns(pid_t tid) {
    /* As pthread_getcpuclockid makes it, which wants a pthread_t (linux/posix-timers.h: a thread's, by the scheduler).
     */
    return read_ns((clockid_t)(~(unsigned)tid << 3 | 4 | 2));
}

uint64_t bench_cpu_process_ns(pid_t pid) {
    clockid_t clock;
    return clock_getcpuclockid(pid, &clock) == 0 ? read_ns(clock) : 0;
}

/* The first two processors that we may use, taken before anything is pinned. */
static int allowed(int which) {
    static cpu_set_t set;
    static bool known;
    if (!known)
        sched_getaffinity(0, sizeof set, &set);
    known = true;
    if (CPU_COUNT(&set) < 2)
        return -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set) && which-- == 0)
            return cpu;
    return -1;
}

int bench_cpu_load(void) {
    return allowed(0);
}

int bench_cpu_measured(void) {
    return allowed(1);
}

void bench_cpu_pin(pid_t tid, int cpu) {
    cpu_set_t set;
    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(tid, sizeof set, &set);
}

void bench_cpu_first(pid_t tid, bool on) {
    struct sched_param p = {.sched_priority = on};
    sched_setscheduler(tid, on ? SCHED_FIFO : SCHED_OTHER, &p);
}

uint64_t bench_resident_bytes_of(pid_t pid) {
    unsigned long pages = 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t bench_resident_bytes(void) {
    return bench_resident_bytes_of(getpid());
}
