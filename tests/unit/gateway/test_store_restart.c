/* SPDX-License-Identifier: Apache-2.0 */
/* What a restart finds: devices, calls, pushes, idempotency keys, sealed values. */
#include "tests/unit/gateway/store_rows_fixture.h"

static void a_device_comes_back_after_a_restart(void **state) {
    struct world *w = *state;
    struct device d = phone();
    store_device_put(w->fix.store, &d, on_done, w);
    reopen(w);
    assert_int_equal(w->devices, 1);
    const struct device *got = &w->device;
    assert_string_equal(got->id, "d1");
    assert_string_equal(got->tenant, "t1");
    assert_string_equal(got->user, "nurse-1");
    assert_string_equal(got->app, "vcs");
    assert_string_equal(got->token, "00ff");
    assert_true(got->sandbox);
    assert_int_equal(got->ui, DEVICE_UI_ALERT);
    assert_int_equal(got->handoff_count, 4);
    assert_memory_equal(got->handoff, d.handoff, sizeof d.handoff);
    assert_true(got->has_sealing_key);
    assert_memory_equal(got->sealing_key, d.sealing_key, sizeof d.sealing_key);
    assert_string_equal(got->app_version, "1.2");
    assert_string_equal(got->os_version, "26.4");
    assert_string_equal(got->secret_hash, "abc");
    assert_int_equal(got->health_cause, HEALTH_SILENT);
    assert_string_equal(got->health_reason, "it's late");
    assert_string_equal(got->alert_token, "11ee");
    assert_int_equal(got->token_since_ms, 4);
    assert_true(got->created_ms == 1 && got->updated_ms == 2 && got->token_updated_ms == 3);
}

static void a_device_without_a_sealing_key_comes_back_without_one(void **state) {
    struct world *w = *state;
    struct device d = phone();
    d.has_sealing_key = false;
    d.handoff_count = 0;
    store_device_put(w->fix.store, &d, NULL, NULL);
    reopen(w);
    assert_false(w->device.has_sealing_key);
    assert_int_equal(w->device.handoff_count, 0);
}

static void a_deleted_device_stays_away_and_the_other_tenants_stays(void **state) {
    struct world *w = *state;
    struct device d = phone();
    store_device_put(w->fix.store, &d, NULL, NULL);
    snprintf(d.tenant, sizeof d.tenant, "t2");
    store_device_put(w->fix.store, &d, NULL, NULL);
    store_device_delete(w->fix.store, "t1", "d1", on_done, w);
    wait_done(w, 1);
    reopen(w);
    assert_int_equal(w->devices, 1);
    assert_string_equal(w->device.tenant, "t2");
}

static void only_calls_that_did_not_end_are_loaded(void **state) {
    struct world *w = *state;
    four_calls(w);
    reopen(w);
    assert_int_equal(w->calls, 3);
    for (unsigned i = 0; i < w->calls; i++)
        assert_true(strcmp(w->ids[i], "c") != 0 && strcmp(w->ids[i], "d") != 0);
}

static void only_accepted_pushes_without_an_outcome_are_loaded(void **state) {
    struct world *w = *state;
    struct push_row open = push_of("open", "c1", "d1"), decided = push_of("decided", "c1", "d2"),
                    refused = push_of("refused", "c1", "d3"), unanswered = push_of("unanswered", "c1", "d4");
    open.status = decided.status = 200;
    decided.outcome = "reported";
    refused.status = 400;
    put_push(w, &open);
    put_push(w, &decided);
    put_push(w, &refused);
    put_push(w, &unanswered);
    reopen(w);
    assert_int_equal(w->pushes, 1);
    assert_string_equal(w->push_texts, "open|c1|d1|t1|vcs|1.2|26.4|asleep||||||");
}

static void an_idempotency_key_is_stored_with_its_call(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("c1");
    store_call_put(w->fix.store, &row, &key_row, on_done, w);
    wait_done(w, 1);
    assert_int_equal(w->err, 0);
    reopen(w);
    assert_int_equal(w->keys, 1);
    assert_string_equal(w->key_texts, "t1|k1|hash|c1|{\"id\":\"c1\"}|1790000000000");
    assert_int_equal(w->calls, 1);
}

static void a_key_belongs_to_its_tenant(void **state) {
    struct world *w = *state;
    struct idempotency_row other = key_row;
    struct call_row row = call_of("c1");
    other.tenant = "t2";
    store_call_put(w->fix.store, &row, &key_row, NULL, NULL);
    store_call_put(w->fix.store, &row, &other, NULL, NULL);
    store_call_put(w->fix.store, &row, &other, NULL, NULL);
    reopen(w);
    assert_int_equal(w->keys, 2);
}

static void nothing_is_loaded_from_a_new_database(void **state) {
    struct world *w = *state;
    reopen(w);
    assert_int_equal(w->devices + w->calls + w->pushes + w->keys, 0);
}

static void submit_while_loading(const struct device *dev, void *arg) {
    struct world *w = arg;
    struct call_row row = call_of("from-load");
    (void)dev;
    store_call_put(w->fix.store, &row, NULL, on_done, w);
}

static void a_loading_callback_may_write(void **state) {
    static const struct store_load_ops ops = {submit_while_loading, load_call, load_push, load_key,
                                              load_sealed,          load_kept};
    struct world *w = *state;
    struct device d = phone();
    struct err_text et = {""};
    store_device_put(w->fix.store, &d, NULL, NULL);
    fixture_close(&w->fix);
    fixture_open(&w->fix);
    assert_int_equal(store_load(w->fix.store, &ops, w, &et), 0);
    wait_done(w, 1);
    assert_int_equal(get(w, "t1", "from-load"), 1);
}

static void a_sealed_value_comes_back_as_it_was_put(void **state) {
    struct world *w = *state;
    struct sealed_row row = {"provider-token/T/K", "old", 1};
    unsigned before = w->done;
    assert_int_equal(store_sealed_put(w->fix.store, &row, on_done, w), 0);
    row = (struct sealed_row){"provider-token/T/K", "new", NOW_MS};
    assert_int_equal(store_sealed_put(w->fix.store, &row, on_done, w), 0);
    wait_done(w, before + 2);
    reopen(w);
    assert_string_equal(w->key_texts, "provider-token/T/K|new|1790000000000");
}

static void what_is_kept_for_a_crash_goes_with_its_call(void **state) {
    struct world *w = *state;
    struct call_row call = call_of("c1");
    const struct kept_row first = {"c1", "far", "old"}, again = {"c1", "far", "new"},
                          other = {"c2", "far", "of nobody"};
    put(w, &call);
    assert_int_equal(store_kept_put(w->fix.store, &first, on_done, w), 0);
    assert_int_equal(store_kept_put(w->fix.store, &other, on_done, w), 0);
    assert_int_equal(store_kept_put_along(w->fix.store, &again), 0);
    reopen(w);
    assert_int_equal(w->kept, 2);
    assert_int_equal(store_kept_prune(w->fix.store), 0);
    reopen(w);
    assert_int_equal(w->kept, 1);
    assert_string_equal(w->key_texts, "c1|far|new");
    assert_int_equal(store_kept_delete_along(w->fix.store, "c1", "near"), 0);
    reopen(w);
    assert_int_equal(w->kept, 1);
    assert_int_equal(store_kept_delete_along(w->fix.store, "c1", ""), 0);
    reopen(w);
    assert_int_equal(w->kept, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        case_of(a_device_comes_back_after_a_restart),
        case_of(a_device_without_a_sealing_key_comes_back_without_one),
        case_of(a_deleted_device_stays_away_and_the_other_tenants_stays),
        case_of(only_calls_that_did_not_end_are_loaded),
        case_of(only_accepted_pushes_without_an_outcome_are_loaded),
        case_of(an_idempotency_key_is_stored_with_its_call),
        case_of(a_key_belongs_to_its_tenant),
        case_of(nothing_is_loaded_from_a_new_database),
        case_of(a_loading_callback_may_write),
        case_of(a_sealed_value_comes_back_as_it_was_put),
        case_of(what_is_kept_for_a_crash_goes_with_its_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
