/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/sim/sim_clock.h"

#include "apns/sim/sim_priv.h"
#include "base/clock.h"

#include <stdlib.h>
#include <utlist.h>

#define TICK_MS 5 /* while something waits: the clock's speed may change at any time */

struct sim_task {
    struct sim_task *prev, *next;
    uint64_t due_ms;
    sim_task_fn *run;
    void *arg;
};

void sim_clock_init(struct sim_clock *c, uint64_t wall_us, uint64_t mono_us) {
    *c = (struct sim_clock){.from_us = mono_us, .virtual_us = wall_us, .speed = 1};
}

static uint64_t at_us(const struct sim_clock *c, uint64_t mono_us) {
    return c->virtual_us + (mono_us - c->from_us) * (uint64_t)c->speed;
}

uint64_t sim_clock_at(const struct sim_clock *c, uint64_t mono_us) {
    return at_us(c, mono_us) / 1000;
}

void sim_clock_set(struct sim_clock *c, uint64_t now_ms, uint64_t mono_us) {
    c->virtual_us = now_ms * 1000;
    c->from_us = mono_us;
}

void sim_clock_speed(struct sim_clock *c, int64_t speed, uint64_t mono_us) {
    c->virtual_us = at_us(c, mono_us);
    c->from_us = mono_us;
    c->speed = speed;
}

uint64_t sim_now_ms(const struct sim *s) {
    return sim_clock_at(&s->clock, clock_mono_us());
}

static void on_tick(uv_timer_t *t) {
    struct sim *s = t->data;
    uint64_t now_ms = sim_now_ms(s);
    struct sim_task *task, *next, *due = NULL;
    DL_FOREACH_SAFE(s->tasks, task, next) {
        if (task->due_ms > now_ms)
            continue;
        DL_DELETE(s->tasks, task);
        DL_APPEND(due, task);
    }
    DL_FOREACH_SAFE(due, task, next) {
        DL_DELETE(due, task);
        task->run(s, task->arg, s->closed);
        free(task);
    }
    if (s->tasks && !s->closed && !uv_is_active((uv_handle_t *)t))
        uv_timer_start(t, on_tick, TICK_MS, 0);
}

int sim_later(struct sim *s, uint64_t delay_ms, sim_task_fn *run, void *task_arg) {
    struct sim_task *task = calloc(1, sizeof *task);
    if (!task)
        return E_NOMEM;
    task->due_ms = sim_now_ms(s) + delay_ms;
    task->run = run;
    task->arg = task_arg;
    DL_APPEND(s->tasks, task);
    if (delay_ms == 0)
        uv_timer_start(&s->tick, on_tick, 0, 0);
    else if (!uv_is_active((uv_handle_t *)&s->tick))
        uv_timer_start(&s->tick, on_tick, TICK_MS, 0);
    return 0;
}

void sim_tasks_wake(struct sim *s) {
    if (s->tasks)
        uv_timer_start(&s->tick, on_tick, 0, 0);
}

void sim_tasks_cancel(struct sim *s) {
    while (s->tasks) {
        struct sim_task *task = s->tasks;
        DL_DELETE(s->tasks, task);
        task->run(s, task->arg, true);
        free(task);
    }
}

uint64_t sim_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

bool sim_chance(struct sim *s, int64_t percent) {
    return percent > 0 && (int64_t)(sim_random(&s->random) % 100) < percent;
}
