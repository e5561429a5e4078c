/* SPDX-License-Identifier: Apache-2.0 */
/* CPU time of threads and processes, where they run, and memory. Thread: any. */
#ifndef TESTS_BENCH_CPU_H
#define TESTS_BENCH_CPU_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_THREADS_MAX 256

/* The threads of a process. */
struct bench_threads {
    pid_t tid[BENCH_THREADS_MAX];
    unsigned count;
};

struct bench_threads bench_threads_of(pid_t pid);
/* The one thread of this process that is there now and was not in `before`. Ends the program when it is not one. */
pid_t bench_thread_new(const struct bench_threads *before);

/* CPU time in nanoseconds of a thread of this process, or of a whole process. */
uint64_t bench_cpu_thread_ns(pid_t tid);
uint64_t bench_cpu_process_ns(pid_t pid);

/* The processor for what is measured, and the one for what loads it; -1 each when there is only one. */
int bench_cpu_measured(void);
int bench_cpu_load(void);
/* Keep a thread (0: the calling one) on a processor; -1 leaves it. */
void bench_cpu_pin(pid_t tid, int cpu);
/* Let a thread run before all others of its processor, or no more: what other programs do on the machine is not to be
 * measured. Works for root; others measure with more noise. */
void bench_cpu_first(pid_t tid, bool on);

/* Resident memory in bytes, of this process or another one. */
uint64_t bench_resident_bytes(void);
uint64_t bench_resident_bytes_of(pid_t pid);

#endif
