/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual clock, what waits for it, and chance. Ages, windows, throttles and delays run by this clock, so that
 * hours pass in milliseconds. Thread: the loop's. */
#ifndef APNS_SIM_SIM_CLOCK_H
#define APNS_SIM_SIM_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct sim;

struct sim_clock {
    uint64_t from_us;    /* monotonic time of the last change */
    uint64_t virtual_us; /* Unix time that it showed then */
    int64_t speed;
};

/* Starts at the wall clock. */
void sim_clock_init(struct sim_clock *c, uint64_t wall_us, uint64_t mono_us);
uint64_t sim_clock_at(const struct sim_clock *c, uint64_t mono_us); /* Unix milliseconds */
void sim_clock_set(struct sim_clock *c, uint64_t now_ms, uint64_t mono_us);
void sim_clock_speed(struct sim_clock *c, int64_t speed, uint64_t mono_us);

/* Virtual Unix milliseconds, now. */
uint64_t sim_now_ms(const struct sim *s);

struct sim_task;
/* Called once at its time, or with cancelled when the simulator closes; task_arg is the callee's to free. */
typedef void sim_task_fn(struct sim *s, void *task_arg, bool cancelled);
/* In delay_ms of virtual time, never before the caller has returned. Returns 0 or E_NOMEM (run is then not called). */
int sim_later(struct sim *s, uint64_t delay_ms, sim_task_fn *run, void *task_arg);
/* The clock was changed: look again at once. */
void sim_tasks_wake(struct sim *s);
/* Cancel all that waits. */
void sim_tasks_cancel(struct sim *s);

/* splitmix64 (public domain, by its author's wish): small, and the same everywhere. */
uint64_t sim_random(uint64_t *state);
/* True in so many of a hundred cases. */
bool sim_chance(struct sim *s, int64_t percent);

#endif
