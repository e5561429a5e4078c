/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for the state machine whatever comes in, in any order. The stories are in tests/scenario. */
#include "base/err.h"
#include "gateway/call_fsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define RUNS  3000
#define STEPS 60

struct seen {
    unsigned gates, handoffs, closes;
};

static void note(struct seen *seen, const struct call_actions *out) {
    for (size_t i = 0; i < out->count; i++) {
        seen->gates += out->a[i].kind == CALL_DO_GATE;
        seen->handoffs += out->a[i].kind == CALL_DO_HANDOFF;
        seen->closes += out->a[i].kind == CALL_DO_CLOSE;
    }
}

static struct call_fsm started(unsigned devices) {
    struct call_fsm f;
    struct call_fsm_config cfg = {
        .devices = devices, .expires_ms = 40000, .media = true, .media_to_near = true, .media_to_far = true};
    call_fsm_init(&f, &cfg);
    return f;
}

static void keys_gate_and_close_come_once_whatever_happens(void **state) {
    struct call_actions out;
    (void)state;
    srandom(7);
    for (unsigned run = 0; run < RUNS; run++) {
        unsigned devices = 1 + (unsigned)random() % 4;
        struct call_fsm f = started(devices);
        struct seen seen = {0};
        uint64_t now_ms = 0;
        for (unsigned i = 0; i < STEPS; i++) {
            struct call_input in = {(enum call_input_kind)(random() % CALL_INPUTS), (unsigned)random() % (devices + 1)};
            if (in.kind == CALL_IN_SHUTDOWN && random() % 8)
                continue;
            now_ms += (uint64_t)random() % 1500;
            enum call_state before = f.state;
            call_fsm_step(&f, in, now_ms, &out);
            assert_true(f.state >= before);
            note(&seen, &out);
        }
        assert_true(seen.handoffs <= 1 && seen.gates <= 1 && seen.closes <= 1);
        if (seen.handoffs && f.winner >= 0)
            assert_int_equal(f.handed, f.winner);
        if (f.state == CALL_ENDED) {
            assert_int_equal(seen.closes, 1);
            assert_int_not_equal(f.reason, CALL_REASON_NONE);
        }
    }
}

static void an_ended_call_takes_no_input(void **state) {
    struct call_fsm f = started(1);
    struct call_actions out;
    (void)state;
    call_fsm_step(&f, (struct call_input){CALL_IN_DELETE, 0}, 10, &out);
    for (int k = 0; k < CALL_INPUTS; k++) {
        assert_int_equal(call_fsm_step(&f, (struct call_input){(enum call_input_kind)k, 0}, 20, &out), E_STATE);
        assert_int_equal(out.count, 0);
        assert_int_equal(f.reason, CALL_CANCELLED);
    }
}

static void a_full_house_fits_the_action_list(void **state) {
    struct call_fsm f = started(CALL_LEGS_MAX);
    struct call_actions out;
    (void)state;
    assert_int_equal(call_fsm_step(&f, (struct call_input){CALL_IN_TICK, 0}, 40000, &out), 0);
    assert_int_equal(out.count, 2 * CALL_LEGS_MAX + 2);
}

static void the_deadline_follows_the_state(void **state) {
    struct call_fsm f = started(1);
    struct call_actions out;
    (void)state;
    assert_int_equal(f.deadline_ms, 40000);
    call_fsm_step(&f, (struct call_input){CALL_IN_ANSWER, 0}, 500, &out);
    assert_int_equal(f.deadline_ms, 500 + CALL_MEDIA_UP_MS);
    call_fsm_step(&f, (struct call_input){CALL_IN_FAR_UP, 0}, 600, &out);
    call_fsm_step(&f, (struct call_input){CALL_IN_NEAR_UP, 0}, 700, &out);
    assert_int_equal(f.deadline_ms, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_gate_and_close_come_once_whatever_happens),
        cmocka_unit_test(an_ended_call_takes_no_input),
        cmocka_unit_test(a_full_house_fits_the_action_list),
        cmocka_unit_test(the_deadline_follows_the_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
