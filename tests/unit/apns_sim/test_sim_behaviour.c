/* SPDX-License-Identifier: Apache-2.0 */
/* The behaviour's table, the virtual clock, scripts, key scopes, assertions. */
#include "apns/sim/sim_binding.h"
#include "apns/sim/sim_priv.h"
#include "apns/sim/sim_tls.h"
#include "apns/sim/sim_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sim *sim_for_script(void) {
    struct sim *s = calloc(1, sizeof *s);
    sim_behaviour_defaults(&s->b);
    s->random = 1;
    sim_clock_init(&s->clock, 1790000000000000, 0);
    s->started_ms = sim_now_ms(s);
    return s;
}

static void every_row_takes_its_own_json(void **state) {
    struct sim_behaviour b, again;
    (void)state;
    sim_behaviour_defaults(&b);
    memset(&again, 0, sizeof again);
    json_t *o = sim_behaviour_json(&b);
    size_t count;
    sim_behaviour_table(&count);
    assert_int_equal(json_object_size(o), count);
    assert_int_equal(sim_behaviour_set_json(&again, o, NULL), 0);
    json_t *shown = sim_behaviour_json(&again);
    assert_true(json_equal(o, shown));
    json_decref(o);
    json_decref(shown);
}

static void every_row_has_a_name_of_its_own_and_words(void **state) {
    size_t count;
    const struct sim_field *table = sim_behaviour_table(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(strspn(table[i].name, "abcdefghijklmnopqrstuvwxyz_"), strlen(table[i].name));
        assert_true(table[i].help[0] && table[i].section <= 19);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(table[i].name, table[k].name);
    }
}

static void text_sets_a_row_or_says_why_not(void **state) {
    struct sim_behaviour b;
    struct err_text et = {""};
    (void)state;
    sim_behaviour_defaults(&b);
    assert_int_equal(sim_behaviour_set_text(&b, "goaway-every", "500", &et), 0);
    assert_int_equal(b.goaway_every, 500);
    assert_int_equal(sim_behaviour_set_text(&b, "after_rejection", "gentle", &et), 0);
    assert_int_equal(b.after_rejection, SIM_REJECTION_GENTLE);
    assert_int_equal(sim_behaviour_set_text(&b, "bench", NULL, &et), 0);
    assert_int_equal(b.bench, 1);
    assert_int_equal(sim_behaviour_set_text(&b, "delivery-store", "false", &et), 0);
    assert_int_equal(b.delivery_store, 0);
    assert_int_equal(sim_behaviour_set_text(&b, "goaway-every", "5x", &et), E_INVAL);
    assert_int_equal(sim_behaviour_set_text(&b, "goaway-every", "-1", &et), E_INVAL);
    assert_int_equal(sim_behaviour_set_text(&b, "delivery-drop-percent", "101", &et), E_INVAL);
    assert_int_equal(sim_behaviour_set_text(&b, "after-rejection", "gent", &et), E_INVAL);
    assert_int_equal(sim_behaviour_set_text(&b, "nothing", "1", &et), E_NOTFOUND);
    assert_int_equal(b.goaway_every, 500);
}

static void json_sets_all_or_nothing(void **state) {
    struct sim_behaviour b;
    struct err_text et = {""};
    (void)state;
    sim_behaviour_defaults(&b);
    json_t *o = json_pack("{s:i,s:s}", "wedge_s", 5, "tls", "1.1");
    assert_int_equal(sim_behaviour_set_json(&b, o, &et), E_INVAL);
    assert_non_null(strstr(et.s, "tls"));
    assert_int_equal(b.wedge_s, 0);
    json_decref(o);
}

static void the_clock_runs_at_its_speed(void **state) {
    struct sim_clock c;
    (void)state;
    sim_clock_init(&c, 1000000000, 500);
    assert_int_equal(sim_clock_at(&c, 2000500), 1002000);
    sim_clock_speed(&c, 3600, 2000500);
    assert_int_equal(sim_clock_at(&c, 3000500), 1002000 + 3600000);
    sim_clock_speed(&c, 0, 3000500);
    assert_int_equal(sim_clock_at(&c, 9000500), 1002000 + 3600000);
    sim_clock_set(&c, 7, 9000500);
    assert_int_equal(sim_clock_at(&c, 9900500), 7);
}

static void the_same_seed_gives_the_same_chances(void **state) {
    struct sim *a = sim_for_script(), *b = sim_for_script();
    int hits = 0;
    (void)state;
    for (int i = 0; i < 1000; i++) {
        bool hit = sim_chance(a, 30);
        assert_int_equal(hit, sim_chance(b, 30));
        hits += hit;
    }
    assert_in_range(hits, 230, 370);
    assert_false(sim_chance(a, 0));
    assert_true(sim_chance(a, 100));
    free(a);
    free(b);
}

static void rules(struct sim *s, const char *text) {
    struct err_text et = {""};
    json_t *list = json_loads(text, 0, NULL);
    if (sim_script_set(s, list, false, &et) != 0)
        fail_msg("%s", et.s);
    json_decref(list);
}

static int status_of(struct sim *s, uint64_t connection, uint64_t request, const char *token) {
    const struct sim_occasion o = {SIM_ON_REQUEST, connection, request, "127.0.0.1:2197", "127.0.0.1", token, "t"};
    const struct sim_action *a = sim_script_match(s, &o);
    return a ? (int)a->status : 0;
}

static void rules_match_in_order_and_by_what_they_name(void **state) {
    struct sim *s = sim_for_script();
    (void)state;
    rules(
        s,
        "[{\"match\":{\"connection\":2,\"request\":3},\"action\":{\"type\":\"answer\",\"status\":500}},"
        "{\"match\":{\"token\":\"00FF\"},\"count\":2,\"action\":{\"type\":\"answer\",\"status\":410}},"
        "{\"match\":{\"address\":\"127.0.0.1:2197\",\"topic\":\"t\"},\"action\":{\"type\":\"answer\",\"status\":503}},"
        "{\"match\":{\"address\":\"127.0.0.2\"},\"action\":{\"type\":\"answer\",\"status\":400}}]");
    assert_int_equal(status_of(s, 2, 3, "00ff"), 500);
    assert_int_equal(status_of(s, 2, 4, "00ff"), 410);
    assert_int_equal(status_of(s, 1, 3, "00ff"), 410);
    assert_int_equal(status_of(s, 1, 3, "00ff"), 503);
    sim_script_free(s);
    free(s);
}

static void every_nth_after_some(void **state) {
    struct sim *s = sim_for_script();
    (void)state;
    rules(s, "[{\"match\":{\"after\":2,\"every\":3},\"action\":{\"type\":\"answer\",\"status\":500}}]");
    for (int i = 1; i <= 11; i++)
        assert_int_equal(status_of(s, 1, 1, ""), i > 2 && (i - 2) % 3 == 0 ? 500 : 0);
    sim_script_free(s);
    free(s);
}

static void a_script_with_a_mistake_changes_nothing(void **state) {
    struct sim *s = sim_for_script();
    struct err_text et = {""};
    (void)state;
    rules(s, "[{\"action\":{\"type\":\"answer\",\"status\":500}}]");
    json_t *bad = json_loads(
        "[{\"action\":{\"type\":\"ignore\"}},{\"action\":{\"type\":\"goaway\",\"last\":\"left\"}}]", 0, NULL);
    assert_int_equal(sim_script_set(s, bad, false, &et), E_INVAL);
    assert_non_null(strstr(et.s, "last"));
    assert_int_equal(status_of(s, 1, 1, ""), 500);
    json_decref(bad);
    sim_script_free(s);
    free(s);
}

static void each_mistake_in_a_rule_is_named(void **state) {
    static const char *const mistakes[][2] = {
        {"{}", "rules: an array"},
        {"[1]", "each is an object"},
        {"[{}]", "action: type"},
        {"[{\"mach\":{},\"action\":{\"type\":\"pass\"}}]", "mach: no such key"},
        {"[{\"match\":[],\"action\":{\"type\":\"pass\"}}]", "match: an object"},
        {"[{\"count\":\"2\",\"action\":{\"type\":\"pass\"}}]", "count: a number"},
        {"[{\"count\":-1,\"action\":{\"type\":\"pass\"}}]", "count: a number"},
        {"[{\"match\":{\"percent\":101},\"action\":{\"type\":\"pass\"}}]", "match: percent"},
        {"[{\"match\":{\"percent\":-1},\"action\":{\"type\":\"pass\"}}]", "match: percent"},
        {"[{\"match\":{\"every\":\"x\"},\"action\":{\"type\":\"pass\"}}]", "match: every"},
        {"[{\"match\":{\"on\":\"moon\"},\"action\":{\"type\":\"pass\"}}]", "match: on"},
        {"[{\"action\":{\"type\":\"pass\",\"moon\":1}}]", "action: moon: no such key"},
        {"[{\"action\":{\"type\":\"goaway\",\"times\":11}}]", "times: a number from 0 to 10"},
        {"[{\"action\":{\"type\":\"goaway\",\"offset\":4611686018427387904}}]", "offset: a number from 0"},
        {"[{\"action\":{\"type\":\"goaway\",\"code\":-1}}]", "code: a number from 0"},
        {"[{\"action\":{\"type\":\"goaway\",\"then\":\"sing\"}}]", "then: close|later|stay|silent"},
        {"[{\"action\":{\"type\":\"answer\",\"status\":600}}]", "status: a number from 0 to 599"},
        {"[{\"action\":{\"type\":\"answer\",\"status\":100}}]", "status: 200 to 599"},
        {"[{\"action\":{\"type\":\"answer\",\"reason\":7}}]", "reason: a text of at most 63"},
        {"[{\"action\":{\"type\":\"answer\",\"reason\":"
         "\"0123456789012345678901234567890123456789012345678901234567890123\"}}]",
         "reason: a text of at most 63"},
        {"[{\"action\":{\"type\":\"set\",\"behaviour\":{\"tls\":\"9\"}}}]", "tls"},
        {"[{\"action\":{\"type\":\"set\"}}]", "behaviour"},
    };
    struct sim *s = sim_for_script();
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct err_text et = {""};
        json_t *o = json_loads(mistakes[i][0], 0, NULL);
        assert_non_null(o);
        if (sim_script_set(s, o, false, &et) != E_INVAL || !strstr(et.s, mistakes[i][1]))
            fail_msg("%s: \"%s\", not \"%s\"", mistakes[i][0], et.s, mistakes[i][1]);
        json_decref(o);
    }
    free(s);
}

static void what_a_script_shows_can_be_set_again(void **state) {
    struct sim *s = sim_for_script();
    (void)state;
    rules(s, "[{\"name\":\"one\",\"match\":{\"percent\":100},\"count\":2,"
             "\"action\":{\"type\":\"answer\",\"status\":500}}]");
    assert_int_equal(status_of(s, 1, 1, ""), 500);
    json_t *shown = sim_script_json(s);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(shown, 0), "acted")), 1);
    assert_int_equal(sim_script_set(s, shown, false, NULL), 0);
    json_decref(shown);
    assert_int_equal(status_of(s, 1, 1, ""), 500);
    assert_int_equal(status_of(s, 1, 1, ""), 500);
    assert_int_equal(status_of(s, 1, 1, ""), 0);
    sim_script_free(s);
    free(s);
}

static void an_action_takes_what_it_does_not_name_from_the_behaviour(void **state) {
    struct sim *s = sim_for_script();
    struct sim_action a;
    (void)state;
    s->b.goaway_last = SIM_LAST_BELOW;
    s->b.goaway_times = 2;
    json_t *o = json_pack("{s:s,s:i}", "type", "goaway", "times", 3);
    assert_int_equal(sim_action_parse(s, &a, o, NULL), 0);
    assert_int_equal(a.last, SIM_LAST_BELOW);
    assert_int_equal(a.times, 3);
    assert_string_equal(a.text, "Shutdown");
    json_decref(o);
    free(s);
}

static void scopes_of_keys(void **state) {
    struct sim *s = sim_for_script();
    struct sim_provider p = {.token = ""};
    (void)state;
    s->cfg.keys[0] = (struct sim_key){"TEAM", "OLD", ""};
    s->cfg.keys[1] = (struct sim_key){"TEAM", "TOPICS", ""};
    s->cfg.keys[2] = (struct sim_key){"TEAM", "RELATED", ""};
    s->cfg.keys[3] = (struct sim_key){"TEAM", "SANDBOX", ""};
    s->cfg.bundles[0] = "a";
    s->cfg.bundles[1] = "b";
    s->cfg.bundle_count = 2;
    s->b.binding = 1;
    snprintf(s->b.key_scopes, sizeof s->b.key_scopes, "%s", "TOPICS:any:a+c:RELATED,RELATED:any:a,SANDBOX:sandbox");
    assert_string_equal(sim_binding_key(s, &p, 3), "BadEnvironmentKeyIdInToken");
    assert_null(sim_binding_key(s, &p, 1));
    assert_true(sim_binding_bundle(s, &p, 0));
    assert_false(sim_binding_bundle(s, &p, 1));
    assert_null(sim_binding_key(s, &p, 2));
    assert_string_equal(sim_binding_key(s, &p, 0), "UnrelatedKeyIdInToken");
    free(s);
}

static void topics_of_a_certificate(void **state) {
    static const unsigned char der[] = {0x30, 0x0e, 0x0c, 3, 'a', '.', 'b', 0x30, 2, 0x0c, 0, 0x0c, 3, 'c', '.', 'd'};
    struct sim_certificate c;
    (void)state;
    for (size_t len = 0; len <= sizeof der; len++) { /* cut anywhere: no more than what is there */
        memset(&c, 0, sizeof c);
        sim_tls_topics(&c, der, len);
        assert_int_equal(c.topic_count, len == sizeof der ? 2 : 0);
    }
    assert_string_equal(c.topics[1], "c.d");
}

static uint64_t broken(const struct sim_watch *w, size_t i) {
    json_t *o = sim_watch_assertions_json(w);
    json_int_t n = json_integer_value(json_object_get(json_array_get(json_object_get(o, "assertions"), i), "broken"));
    json_decref(o);
    return (uint64_t)n;
}

static void assertions_remember_what_broke_them(void **state) {
    struct sim_watch *w = sim_watch_new();
    (void)state;
    sim_watch_accepted(w, "one", 1, 0);
    sim_watch_accepted(w, "two", 1, 0);
    assert_int_equal(broken(w, SIM_ASSERT_ONCE), 0);
    sim_watch_accepted(w, "one", 2, 0);
    assert_int_equal(broken(w, SIM_ASSERT_ONCE), 1);
    sim_watch_connect(w, "peer", "a", 1, 1000);
    sim_watch_connect(w, "peer", "b", 2, 1000);
    sim_watch_connect(w, "peer", "a", 3, 2000);
    assert_int_equal(broken(w, SIM_ASSERT_CONNECTS), 0);
    sim_watch_connect(w, "peer", "a", 4, 2999);
    assert_int_equal(broken(w, SIM_ASSERT_CONNECTS), 1);
    sim_watch_reset(w);
    assert_int_equal(broken(w, SIM_ASSERT_CONNECTS), 0);
    sim_watch_free(w);
}

static void the_journal_keeps_the_latest_frames(void **state) {
    struct sim_watch *w = sim_watch_new();
    struct sim_frame f = {.connection = 1};
    (void)state;
    sim_watch_frame(w, &f);
    sim_watch_keep(w, 3);
    for (f.stream = 1; f.stream <= 5; f.stream++)
        sim_watch_frame(w, &f);
    json_t *o = sim_watch_frames_json(w, 0, 10), *list = json_object_get(o, "frames");
    assert_int_equal(json_array_size(list), 3);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "stream")), 3);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 2), "stream")), 5);
    json_decref(o);
    sim_watch_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_takes_its_own_json),
        cmocka_unit_test(every_row_has_a_name_of_its_own_and_words),
        cmocka_unit_test(text_sets_a_row_or_says_why_not),
        cmocka_unit_test(json_sets_all_or_nothing),
        cmocka_unit_test(the_clock_runs_at_its_speed),
        cmocka_unit_test(the_same_seed_gives_the_same_chances),
        cmocka_unit_test(rules_match_in_order_and_by_what_they_name),
        cmocka_unit_test(every_nth_after_some),
        cmocka_unit_test(a_script_with_a_mistake_changes_nothing),
        cmocka_unit_test(each_mistake_in_a_rule_is_named),
        cmocka_unit_test(what_a_script_shows_can_be_set_again),
        cmocka_unit_test(an_action_takes_what_it_does_not_name_from_the_behaviour),
        cmocka_unit_test(scopes_of_keys),
        cmocka_unit_test(topics_of_a_certificate),
        cmocka_unit_test(assertions_remember_what_broke_them),
        cmocka_unit_test(the_journal_keeps_the_latest_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
