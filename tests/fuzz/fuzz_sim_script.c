/* SPDX-License-Identifier: Apache-2.0 */
/* A script of the simulator's: rules are read, or refused with a sentence. What was read can be matched, and what it
 * shows of itself can be read again. */
#include "apns/sim/sim_priv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok)
        abort();
}

static void check_action(const struct sim_action *a) {
    check((int)a->type >= SIM_ACT_PASS && a->type <= SIM_ACT_SET);
    check(a->status >= 0 && a->status <= 599 && (a->type != SIM_ACT_ANSWER || a->status >= 200));
    check(a->times >= 0 && a->times <= 10 && a->offset >= 0 && a->offset <= INT32_MAX);
    check(a->code >= 0 && a->code <= UINT32_MAX && a->n >= 0 && a->n <= INT32_MAX);
    check(a->mode >= SIM_HOLE_OFF && a->mode <= SIM_HOLE_DROP_PING);
    check(a->last >= SIM_LAST_AT && a->last <= SIM_LAST_ZERO && a->then >= SIM_THEN_CLOSE &&
          a->then <= SIM_THEN_SILENT);
    check(memchr(a->reason, 0, sizeof a->reason) && memchr(a->text, 0, sizeof a->text));
}

static void check_actions(const struct sim *s, const json_t *rules) {
    const json_t *rule;
    size_t i;
    json_array_foreach(rules, i, rule) {
        struct sim_action a;
        if (sim_action_parse(s, &a, json_object_get(rule, "action"), NULL) == 0)
            check_action(&a);
    }
}

static void match_some(struct sim *s) {
    static const enum sim_event events[] = {SIM_ON_REQUEST, SIM_ON_CONNECT, SIM_ON_TIME};
    for (unsigned i = 0; i < 12; i++) {
        const struct sim_occasion o = {events[i % 3],         1 + i / 6, 1 + i, "127.0.0.1:2197", "127.0.0.1", "00ff",
                                       "com.example.app.voip"};
        const struct sim_action *a = sim_script_match(s, &o);
        if (a)
            check_action(a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err_text et = {""};
    json_t *rules = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);
    struct sim *s = calloc(1, sizeof *s);
    if (!s)
        return 0;
    sim_behaviour_defaults(&s->b);
    sim_clock_init(&s->clock, 1790000000000000, 0);
    s->started_ms = sim_now_ms(s);
    check_actions(s, rules);
    if (sim_script_set(s, rules, false, &et) != 0) {
        check(et.s[0] && !s->script);
    } else {
        match_some(s);
        json_t *shown = sim_script_json(s);
        check(json_array_size(shown) == json_array_size(rules));
        check(sim_script_set(s, shown, false, &et) == 0);
        json_decref(shown);
    }
    sim_script_free(s);
    free(s);
    json_decref(rules);
    return 0;
}
