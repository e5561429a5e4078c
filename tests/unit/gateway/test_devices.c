/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/devices_priv.h"
#include "tests/unit/gateway/store_fixture.h"

#define LARGE_BYTES 300000 /* a row that leaves no room on the disk of fixture_disk_full for another */
#define DISK_BYTES  131072
#define LIST_MAX    32

struct world {
    struct store_fixture fix;
    struct devices *devices;
    unsigned done; /* callbacks that came */
    int err;       /* of the last one */
};

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    if (!w || fixture_init(&w->fix) != 0)
        return -1;
    fixture_open(&w->fix);
    if (devices_new(&w->devices, w->fix.store) != 0)
        return -1;
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    if (w->fix.store)
        fixture_close(&w->fix); /* writes in the background are told to the registry before it goes */
    w->devices = devices_free(w->devices);
    int err = fixture_free(&w->fix);
    free(w);
    return err;
}

static void on_done(int err, void *arg) {
    struct world *w = arg;
    w->done++;
    w->err = err;
}

static struct device phone(const char *tenant, const char *id, const char *user) {
    struct device d = {.token = "00ff", .handoff = {MEDIA_MODE_DTLS}, .handoff_count = 1};
    snprintf(d.id, sizeof d.id, "%s", id);
    snprintf(d.tenant, sizeof d.tenant, "%s", tenant);
    snprintf(d.user, sizeof d.user, "%s", user);
    snprintf(d.app, sizeof d.app, "vcs");
    secret_hash(d.secret_hash, "wd_secret");
    return d;
}

static void put_device(struct world *w, const struct device *d) {
    unsigned before = w->done;
    assert_int_equal(devices_put(w->devices, d, on_done, w), 0);
    fixture_wait(&w->fix, &w->done, before + 1);
    assert_int_equal(w->err, 0);
}

static void put(struct world *w, const char *tenant, const char *id, const char *user) {
    struct device d = phone(tenant, id, user);
    put_device(w, &d);
}

static void delete_it(struct world *w, const char *tenant, const char *id) {
    unsigned before = w->done;
    assert_int_equal(devices_delete(w->devices, tenant, id, on_done, w), 0);
    fixture_wait(&w->fix, &w->done, before + 1);
    assert_int_equal(w->err, 0);
}

/* Ids with a space behind each. */
static const char *joined(const struct device *const *list, size_t count) {
    static char out[2048];
    out[0] = 0;
    for (size_t i = 0; i < count; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s ", list[i]->id);
    return out;
}

static const char *of_user(const struct world *w, const char *tenant, const char *user, const char *app) {
    const struct device *list[DEVICES_PER_USER_MAX];
    return joined(list, devices_of_user(w->devices, tenant, user, app, list));
}

static const char *listed(const struct world *w, const char *tenant, const char *after, size_t max) {
    const struct device *list[LIST_MAX];
    return joined(list, devices_list(w->devices, &(struct device_query){.tenant = tenant, .health = -1, .after = after},
                                     list, max));
}

static const char *asked(const struct world *w, const char *user, const char *app, int health) {
    const struct device *list[LIST_MAX];
    const struct device_query q = {.tenant = "t1", .user = user, .app = app, .health = health, .after = ""};
    return joined(list, devices_list(w->devices, &q, list, LIST_MAX));
}

static void load_device(const struct device *dev, void *arg) {
    devices_load(((struct world *)arg)->devices, dev);
}

static void load_no_call(const struct call_row *row, void *arg) {
    (void)row;
    (void)arg;
}

static void load_no_push(const struct push_row *row, void *arg) {
    (void)row;
    (void)arg;
}

static void load_no_key(const struct idempotency_row *row, void *arg) {
    (void)row;
    (void)arg;
}

static void load_nothing_sealed(const struct sealed_row *row, void *arg) {
    (void)row;
    (void)arg;
}

static void load_nothing_kept(const struct kept_row *row, void *arg) {
    (void)row;
    (void)arg;
}

static void restart(struct world *w) {
    static const struct store_load_ops ops = {load_device, load_no_call,        load_no_push,
                                              load_no_key, load_nothing_sealed, load_nothing_kept};
    struct err_text et = {""};
    fixture_close(&w->fix);
    w->devices = devices_free(w->devices);
    fixture_open(&w->fix);
    assert_int_equal(devices_new(&w->devices, w->fix.store), 0);
    if (store_load(w->fix.store, &ops, w, &et) != 0)
        fail_msg("%s", et.s);
}

static void a_device_is_known_at_once_and_durable_when_told(void **state) {
    struct world *w = *state;
    struct device d = phone("t1", "d1", "nurse");
    assert_int_equal(devices_put(w->devices, &d, on_done, w), 0);
    const struct device *got = devices_get(w->devices, "t1", "d1");
    assert_non_null(got);
    assert_string_equal(got->user, "nurse");
    assert_int_equal(w->done, 0);
    fixture_wait(&w->fix, &w->done, 1);
    restart(w);
    got = devices_get(w->devices, "t1", "d1");
    assert_non_null(got);
    assert_string_equal(got->user, "nurse");
    assert_int_equal(got->handoff[0], MEDIA_MODE_DTLS);
}

static void an_unknown_device_is_null(void **state) {
    struct world *w = *state;
    put(w, "t1", "d1", "nurse");
    assert_null(devices_get(w->devices, "t1", "d2"));
    assert_null(devices_by_secret(w->devices, "d2", "wd_secret"));
    assert_string_equal(of_user(w, "t1", "nobody", "vcs"), "");
}

static void a_second_put_replaces(void **state) {
    struct world *w = *state;
    struct device d = phone("t1", "d1", "nurse");
    put_device(w, &d);
    snprintf(d.token, sizeof d.token, "abcd");
    put_device(w, &d);
    assert_string_equal(devices_get(w->devices, "t1", "d1")->token, "abcd");
    assert_string_equal(listed(w, "t1", "", LIST_MAX), "d1 ");
    assert_string_equal(of_user(w, "t1", "nurse", "vcs"), "d1 ");
}

static void set_health(struct world *w, const char *tenant, enum health_cause cause, const char *reason) {
    struct health h = {.cause = cause};
    snprintf(h.reason, sizeof h.reason, "%s", reason);
    devices_set_health(w->devices, tenant, "d1", &h);
}

static void tenants_do_not_see_each_other(void **state) {
    struct world *w = *state;
    put(w, "t1", "d1", "nurse");
    put(w, "t2", "d2", "nurse");
    assert_null(devices_get(w->devices, "t1", "d2"));
    assert_null(devices_get(w->devices, "t2", "d1"));
    assert_string_equal(of_user(w, "t1", "nurse", "vcs"), "d1 ");
    assert_string_equal(listed(w, "t2", "", LIST_MAX), "d2 ");
    assert_int_equal(devices_delete(w->devices, "t2", "d1", on_done, w), E_NOTFOUND);
    set_health(w, "t2", HEALTH_BLOCKED, "not yours");
    assert_int_equal(device_health(devices_get(w->devices, "t1", "d1")), DEVICE_OK);
}

static void one_id_in_two_tenants_is_two_devices(void **state) {
    struct world *w = *state;
    put(w, "t1", "d1", "ann");
    put(w, "t2", "d1", "bob");
    assert_string_equal(devices_get(w->devices, "t1", "d1")->user, "ann");
    assert_string_equal(devices_get(w->devices, "t2", "d1")->user, "bob");
}

struct revocations {
    char text[256]; /* "tenant/id" and "+" when it was deleted, with a space behind each */
    struct world *w;
};

static void on_revoked(const char *tenant, const char *id, bool deleted, void *arg) {
    struct revocations *r = arg;
    size_t len = strlen(r->text);
    snprintf(r->text + len, sizeof r->text - len, "%s/%s%s ", tenant, id, deleted ? "+" : "");
    /* Memory says so already. */
    assert_null(devices_by_secret(r->w->devices, id, "wd_secret"));
    assert_int_equal(devices_get(r->w->devices, tenant, id) == NULL, deleted);
}

static void a_new_secret_and_a_deletion_are_told_and_nothing_else(void **state) {
    struct world *w = *state;
    struct revocations r = {.w = w};
    struct device d = phone("t1", "d1", "nurse");
    devices_attach_revoked(w->devices, on_revoked, &r);
    put_device(w, &d);
    snprintf(d.token, sizeof d.token, "abcd");
    put_device(w, &d);
    set_health(w, "t1", HEALTH_BLOCKED, "why");
    assert_string_equal(r.text, "");
    secret_hash(d.secret_hash, "wd_another");
    put_device(w, &d);
    assert_string_equal(r.text, "t1/d1 ");
    assert_int_equal(devices_delete(w->devices, "t1", "unknown", on_done, w), E_NOTFOUND);
    delete_it(w, "t1", "d1");
    assert_string_equal(r.text, "t1/d1 t1/d1+ ");
    secret_hash(d.secret_hash, "wd_third"); /* registered again: whatever was good before is told already */
    put_device(w, &d);
    assert_string_equal(r.text, "t1/d1 t1/d1+ ");
}

static void an_id_and_its_secret_find_the_device_among_tenants(void **state) {
    struct world *w = *state;
    struct device other = phone("t2", "d1", "bob");
    secret_hash(other.secret_hash, "wd_other");
    put(w, "t1", "d1", "ann");
    put_device(w, &other);
    assert_ptr_equal(devices_by_secret(w->devices, "d1", "wd_secret"), devices_get(w->devices, "t1", "d1"));
    assert_ptr_equal(devices_by_secret(w->devices, "d1", "wd_other"), devices_get(w->devices, "t2", "d1"));
    assert_null(devices_by_secret(w->devices, "d1", "wd_wrong"));
    assert_null(devices_by_secret(w->devices, "d2", "wd_secret"));
    delete_it(w, "t1", "d1");
    assert_null(devices_by_secret(w->devices, "d1", "wd_secret"));
}

static void the_phones_of_a_user_come_oldest_first(void **state) {
    struct world *w = *state;
    put(w, "t1", "d9", "nurse");
    put(w, "t1", "d1", "nurse");
    put(w, "t1", "x", "doctor");
    put(w, "t1", "d5", "nurse");
    put(w, "t1", "d9", "nurse"); /* registered again: still the oldest */
    assert_string_equal(of_user(w, "t1", "nurse", "vcs"), "d9 d1 d5 ");
}

static void the_order_of_age_survives_a_restart(void **state) {
    static const char *const ids[] = {"d9", "d1", "d5"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct device d = phone("t1", ids[i], "nurse");
        d.created_ms = 1000 + i;
        put_device(w, &d);
    }
    restart(w);
    assert_string_equal(of_user(w, "t1", "nurse", "vcs"), "d9 d1 d5 ");
}

static void only_phones_with_the_app_ring(void **state) {
    struct world *w = *state;
    struct device d = phone("t1", "d2", "nurse");
    put(w, "t1", "d1", "nurse");
    snprintf(d.app, sizeof d.app, "beta");
    put_device(w, &d);
    assert_string_equal(of_user(w, "t1", "nurse", "vcs"), "d1 ");
    assert_string_equal(of_user(w, "t1", "nurse", "beta"), "d2 ");
}

static void of_more_than_sixteen_phones_the_latest_ring(void **state) {
    struct world *w = *state;
    char id[8];
    for (unsigned i = 0; i < DEVICES_PER_USER_MAX + 3; i++) {
        snprintf(id, sizeof id, "d%02u", i);
        put(w, "t1", id, "nurse");
    }
    assert_string_equal(of_user(w, "t1", "nurse", "vcs"),
                        "d03 d04 d05 d06 d07 d08 d09 d10 d11 d12 d13 d14 d15 d16 d17 d18 ");
}

static void a_phone_that_changes_hands_rings_for_its_new_user(void **state) {
    struct world *w = *state;
    put(w, "t1", "d1", "ann");
    put(w, "t1", "d2", "bob");
    put(w, "t1", "d1", "bob");
    assert_string_equal(of_user(w, "t1", "ann", "vcs"), "");
    assert_string_equal(of_user(w, "t1", "bob", "vcs"), "d2 d1 ");
}

static void a_list_is_sorted_and_comes_in_pages(void **state) {
    static const char *const ids[] = {"e", "b", "d", "a", "c"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        put(w, "t1", ids[i], "nurse");
    put(w, "t2", "bb", "nurse");
    assert_string_equal(listed(w, "t1", "", 2), "a b ");
    assert_string_equal(listed(w, "t1", "b", 2), "c d ");
    assert_string_equal(listed(w, "t1", "d", 2), "e ");
    assert_string_equal(listed(w, "t1", "e", 2), "");
    assert_string_equal(listed(w, "t1", "bx", 1), "c "); /* the one before it has gone meanwhile */
    assert_string_equal(listed(w, "t1", "", 0), "");
}

static void a_list_may_be_of_a_user_an_app_and_a_health(void **state) {
    struct world *w = *state;
    struct device blocked = phone("t1", "c", "nurse"), other = phone("t1", "d", "nurse");
    put(w, "t1", "a", "nurse");
    put(w, "t1", "b", "doctor");
    put(w, "t2", "z", "nurse");
    blocked.health_cause = HEALTH_BLOCKED;
    put_device(w, &blocked);
    snprintf(other.app, sizeof other.app, "other");
    put_device(w, &other);
    assert_string_equal(asked(w, NULL, NULL, -1), "a b c d ");
    assert_string_equal(asked(w, "nurse", "", -1), "a c d ");
    assert_string_equal(asked(w, "nurs", "", -1), "");
    assert_string_equal(asked(w, "", "other", -1), "d ");
    assert_string_equal(asked(w, NULL, NULL, DEVICE_BLOCKED), "c ");
    assert_string_equal(asked(w, "nurse", "vcs", DEVICE_OK), "a ");
}

static void a_deleted_device_is_gone_at_once_and_for_good(void **state) {
    struct world *w = *state;
    put(w, "t1", "d1", "nurse");
    assert_int_equal(devices_delete(w->devices, "t1", "d1", on_done, w), 0);
    assert_null(devices_get(w->devices, "t1", "d1"));
    assert_null(devices_by_secret(w->devices, "d1", "wd_secret"));
    assert_string_equal(of_user(w, "t1", "nurse", "vcs"), "");
    assert_string_equal(listed(w, "t1", "", LIST_MAX), "");
    assert_int_equal(devices_delete(w->devices, "t1", "d1", on_done, w), E_NOTFOUND);
    fixture_wait(&w->fix, &w->done, 2);
    restart(w);
    assert_null(devices_get(w->devices, "t1", "d1"));
}

static void a_device_may_be_put_again_while_its_deletion_is_on_its_way(void **state) {
    struct world *w = *state;
    struct device d = phone("t1", "d1", "bob");
    put(w, "t1", "d1", "ann");
    assert_int_equal(devices_delete(w->devices, "t1", "d1", on_done, w), 0);
    assert_int_equal(devices_put(w->devices, &d, on_done, w), 0);
    assert_string_equal(devices_get(w->devices, "t1", "d1")->user, "bob");
    fixture_wait(&w->fix, &w->done, 3);
    restart(w);
    assert_string_equal(devices_get(w->devices, "t1", "d1")->user, "bob");
    assert_string_equal(of_user(w, "t1", "ann", "vcs"), "");
}

static void a_secret_is_checked_against_its_hash(void **state) {
    struct device d = phone("t1", "d1", "nurse");
    (void)state;
    assert_true(device_secret_ok(&d, "wd_secret"));
    assert_false(device_secret_ok(&d, "wd_secreT"));
    assert_false(device_secret_ok(&d, "wd_secret "));
    assert_false(device_secret_ok(&d, d.secret_hash));
}

static void an_empty_secret_is_never_right(void **state) {
    struct device d = phone("t1", "d1", "nurse");
    (void)state;
    secret_hash(d.secret_hash, "");
    assert_false(device_secret_ok(&d, ""));
    d.secret_hash[0] = 0;
    assert_false(device_secret_ok(&d, ""));
    assert_false(device_secret_ok(&d, "x"));
}

static void health_is_kept_with_its_reason_and_stored(void **state) {
    struct world *w = *state;
    put(w, "t1", "d1", "nurse");
    set_health(w, "t1", HEALTH_SILENT, "three pushes without a receipt");
    assert_int_equal(device_health(devices_get(w->devices, "t1", "d1")), DEVICE_SUSPECT);
    restart(w);
    assert_int_equal(device_health(devices_get(w->devices, "t1", "d1")), DEVICE_SUSPECT);
    assert_string_equal(devices_get(w->devices, "t1", "d1")->health_reason, "three pushes without a receipt");
    set_health(w, "t1", HEALTH_FINE, "");
    assert_string_equal(devices_get(w->devices, "t1", "d1")->health_reason, "");
}

static void what_apns_says_of_the_token_comes_before_the_ledger(void **state) {
    struct world *w = *state;
    struct device d = phone("t1", "d1", "nurse");
    const enum health_cause of_token[] = {HEALTH_TOKEN_MISFILED, HEALTH_TOKEN_INVALID};
    for (size_t i = 0; i < 2; i++) {
        d.health_cause = of_token[i];
        put_device(w, &d);
        set_health(w, "t1", HEALTH_FINE, "");
        assert_int_equal(devices_get(w->devices, "t1", "d1")->health_cause, of_token[i]);
    }
}

static void health_of_a_stranger_is_nobodys(void **state) {
    struct world *w = *state;
    set_health(w, "t1", HEALTH_BLOCKED, "x");
    devices_set_os_version(w->devices, "t1", "d1", "26.4");
    assert_string_equal(listed(w, "t1", "", LIST_MAX), "");
}

static void the_systems_version_follows_what_the_phone_says(void **state) {
    struct world *w = *state;
    put(w, "t1", "d1", "nurse");
    devices_set_os_version(w->devices, "t1", "d1", "26.4");
    restart(w);
    assert_string_equal(devices_get(w->devices, "t1", "d1")->os_version, "26.4");
    devices_set_os_version(w->devices, "t1", "d1", "a version that is longer than any that there is");
    assert_string_equal(devices_get(w->devices, "t1", "d1")->os_version, "26.4");
}

static void names_and_values_go_both_ways(void **state) {
    static const char *const modes[] = {"transfer", "sealed", "sdes", "dtls"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(media_mode_by_name(modes[i]), MEDIA_MODE_TRANSFER + i);
        assert_string_equal(media_mode_name((enum media_mode)(MEDIA_MODE_TRANSFER + i)), modes[i]);
    }
    assert_int_equal(media_mode_by_name("none"), MEDIA_MODE_NONE);
    assert_int_equal(media_mode_by_name(""), MEDIA_MODE_NONE);
    assert_string_equal(device_ui_name(DEVICE_UI_LCK), "lck");
    assert_string_equal(device_health_name(DEVICE_OK), "ok");
    assert_string_equal(device_health_name(DEVICE_INVALID), "invalid");
}

/* What the store refuses */

/* The disk is full to the last byte afterwards. */
static void fill_the_disk(struct world *w) {
    static char doc[LARGE_BYTES];
    struct call_row row = {.id = "c", .tenant = "t", .callee = "c", .state = "ended", .doc = doc, .timeline = "[]"};
    unsigned before = w->done;
    memset(doc, 'x', sizeof doc - 1);
    store_call_put(w->fix.store, &row, NULL, on_done, w);
    fixture_wait(&w->fix, &w->done, before + 1);
    fixture_disk_full(&w->fix, DISK_BYTES); /* the log that writes are appended to is larger already */
}

static void wait_refused(struct world *w, unsigned before) {
    fixture_wait(&w->fix, &w->done, before + 1);
    fixture_disk_has_room(&w->fix);
    assert_int_not_equal(w->err, 0);
}

static void a_new_device_that_the_store_refuses_is_not_there(void **state) {
    struct world *w = *state;
    struct device d = phone("t1", "d1", "nurse");
    fill_the_disk(w);
    unsigned before = w->done;
    assert_int_equal(devices_put(w->devices, &d, on_done, w), 0);
    wait_refused(w, before);
    assert_null(devices_get(w->devices, "t1", "d1"));
    assert_string_equal(of_user(w, "t1", "nurse", "vcs"), "");
}

static void a_change_that_the_store_refuses_is_undone(void **state) {
    struct world *w = *state;
    struct device d = phone("t1", "d1", "bob");
    put(w, "t1", "d1", "ann");
    fill_the_disk(w);
    unsigned before = w->done;
    assert_int_equal(devices_put(w->devices, &d, on_done, w), 0);
    assert_string_equal(devices_get(w->devices, "t1", "d1")->user, "bob");
    wait_refused(w, before);
    assert_string_equal(devices_get(w->devices, "t1", "d1")->user, "ann");
    assert_string_equal(of_user(w, "t1", "ann", "vcs"), "d1 ");
    assert_string_equal(of_user(w, "t1", "bob", "vcs"), "");
}

static void a_deletion_that_the_store_refuses_is_undone(void **state) {
    struct world *w = *state;
    put(w, "t1", "d1", "ann");
    fill_the_disk(w);
    unsigned before = w->done;
    assert_int_equal(devices_delete(w->devices, "t1", "d1", on_done, w), 0);
    wait_refused(w, before);
    assert_non_null(devices_get(w->devices, "t1", "d1"));
    assert_string_equal(of_user(w, "t1", "ann", "vcs"), "d1 ");
}

/* What APNs says of the token */

static const struct device *after_verdict(struct world *w, struct device_verdict v) {
    const struct device *known = devices_get(w->devices, "t1", "d1");
    v.tenant = "t1";
    v.id = "d1";
    v.reason = v.reason ? v.reason : "";
    v.token_updated_ms = v.token_updated_ms ? v.token_updated_ms : known->token_updated_ms;
    devices_token_verdict(w->devices, &v);
    return devices_get(w->devices, "t1", "d1");
}

static void registered(struct world *w) {
    struct device d = phone("t1", "d1", "nurse");
    d.token_updated_ms = 1000;
    put_device(w, &d);
}

static const struct device_verdict accepted = {.verdict = APNS_ACCEPTED, .status = 200};
static const struct device_verdict bad_token = {
    .verdict = APNS_TOKEN_INVALID, .status = 400, .reason = "BadDeviceToken"};

static void a_new_token_is_a_probe_until_it_was_accepted(void **state) {
    struct world *w = *state;
    registered(w);
    assert_int_equal(device_lane(devices_get(w->devices, "t1", "d1")), APNS_LANE_PROBE);
    assert_int_equal(device_lane(after_verdict(w, accepted)), APNS_LANE_RING);
    restart(w);
    assert_int_equal(device_lane(devices_get(w->devices, "t1", "d1")), APNS_LANE_RING);
}

static void a_token_that_was_never_accepted_is_given_up_at_once(void **state) {
    struct world *w = *state;
    registered(w);
    const struct device *d = after_verdict(w, bad_token);
    assert_int_equal(device_health(d), DEVICE_INVALID);
    assert_string_equal(d->health_reason,
                        "APNs refused the push token (400 BadDeviceToken); the app must register a new one");
}

static void a_token_that_was_accepted_gets_a_second_chance_apart(void **state) {
    struct world *w = *state;
    registered(w);
    after_verdict(w, accepted);
    const struct device *d = after_verdict(w, bad_token);
    assert_int_equal(device_health(d), DEVICE_OK);
    assert_int_equal(device_lane(d), APNS_LANE_PROBE);
    restart(w);
    assert_int_equal(device_lane(after_verdict(w, accepted)), APNS_LANE_RING);
    after_verdict(w, bad_token);
    assert_int_equal(device_health(after_verdict(w, bad_token)), DEVICE_INVALID);
}

static void a_token_that_ended_is_given_up_unless_it_was_registered_since(void **state) {
    struct world *w = *state;
    struct device_verdict gone = {
        .verdict = APNS_TOKEN_INVALID, .status = 410, .reason = "Unregistered", .invalid_since_ms = 999};
    registered(w);
    after_verdict(w, accepted);
    assert_int_equal(device_health(after_verdict(w, gone)), DEVICE_OK);
    gone.invalid_since_ms = 1000;
    assert_int_equal(device_health(after_verdict(w, gone)), DEVICE_INVALID);
}

static void nothing_is_given_up_while_many_tokens_are_refused(void **state) {
    struct world *w = *state;
    struct device_verdict doubtful = {.verdict = APNS_TOKEN_DOUBTFUL, .status = 400, .reason = "BadDeviceToken"};
    registered(w);
    after_verdict(w, accepted);
    assert_int_equal(device_health(after_verdict(w, doubtful)), DEVICE_OK);
    assert_int_equal(device_lane(devices_get(w->devices, "t1", "d1")), APNS_LANE_RING);
}

static void a_misfiled_token_is_kept_and_said(void **state) {
    struct world *w = *state;
    struct device_verdict misfiled = {
        .verdict = APNS_TOKEN_MISFILED, .status = 400, .reason = "DeviceTokenNotForTopic"};
    registered(w);
    const struct device *d = after_verdict(w, misfiled);
    assert_int_equal(device_health(d), DEVICE_SUSPECT);
    assert_int_equal(device_lane(d), APNS_LANE_PROBE);
    assert_non_null(strstr(d->health_reason, "must register PushKit's VoIP token"));
    assert_int_equal(device_health(after_verdict(w, accepted)), DEVICE_OK);
}

static void an_accepted_push_does_not_mend_silence(void **state) {
    struct world *w = *state;
    registered(w);
    set_health(w, "t1", HEALTH_SILENT, "x");
    assert_int_equal(device_health(after_verdict(w, accepted)), DEVICE_SUSPECT);
}

static void the_environment_that_took_the_token_is_remembered(void **state) {
    struct world *w = *state;
    struct device_verdict elsewhere = {.verdict = APNS_ACCEPTED, .status = 200, .sandbox = true};
    registered(w);
    assert_true(after_verdict(w, elsewhere)->sandbox);
    restart(w);
    assert_true(devices_get(w->devices, "t1", "d1")->sandbox);
}

static void a_throttled_device_rests(void **state) {
    struct world *w = *state;
    struct device_verdict throttled = {.verdict = APNS_THROTTLED, .status = 429, .retry_after_s = 100};
    registered(w);
    const struct device *d = after_verdict(w, throttled);
    assert_true(d->throttled_until_ms > clock_wall_ms() + 90000 && d->throttled_until_ms <= clock_wall_ms() + 100000);
    assert_int_equal(device_health(d), DEVICE_OK);
}

static void an_answer_about_an_older_token_says_nothing(void **state) {
    struct world *w = *state;
    struct device_verdict old = bad_token;
    registered(w);
    old.token_updated_ms = 900;
    assert_int_equal(device_health(after_verdict(w, old)), DEVICE_OK);
    old.id = "d2";
    old.tenant = "t1";
    devices_token_verdict(w->devices, &old);
}

#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        case_of(a_device_is_known_at_once_and_durable_when_told),
        case_of(an_unknown_device_is_null),
        case_of(a_second_put_replaces),
        case_of(tenants_do_not_see_each_other),
        case_of(one_id_in_two_tenants_is_two_devices),
        case_of(a_new_secret_and_a_deletion_are_told_and_nothing_else),
        case_of(an_id_and_its_secret_find_the_device_among_tenants),
        case_of(the_phones_of_a_user_come_oldest_first),
        case_of(the_order_of_age_survives_a_restart),
        case_of(only_phones_with_the_app_ring),
        case_of(of_more_than_sixteen_phones_the_latest_ring),
        case_of(a_phone_that_changes_hands_rings_for_its_new_user),
        case_of(a_list_is_sorted_and_comes_in_pages),
        case_of(a_list_may_be_of_a_user_an_app_and_a_health),
        case_of(a_deleted_device_is_gone_at_once_and_for_good),
        case_of(a_device_may_be_put_again_while_its_deletion_is_on_its_way),
        cmocka_unit_test(a_secret_is_checked_against_its_hash),
        cmocka_unit_test(an_empty_secret_is_never_right),
        case_of(health_is_kept_with_its_reason_and_stored),
        case_of(what_apns_says_of_the_token_comes_before_the_ledger),
        case_of(an_accepted_push_does_not_mend_silence),
        case_of(health_of_a_stranger_is_nobodys),
        case_of(the_systems_version_follows_what_the_phone_says),
        case_of(a_new_token_is_a_probe_until_it_was_accepted),
        case_of(a_token_that_was_never_accepted_is_given_up_at_once),
        case_of(a_token_that_was_accepted_gets_a_second_chance_apart),
        case_of(a_token_that_ended_is_given_up_unless_it_was_registered_since),
        case_of(nothing_is_given_up_while_many_tokens_are_refused),
        case_of(a_misfiled_token_is_kept_and_said),
        case_of(the_environment_that_took_the_token_is_remembered),
        case_of(a_throttled_device_rests),
        case_of(an_answer_about_an_older_token_says_nothing),
        cmocka_unit_test(names_and_values_go_both_ways),
        case_of(a_new_device_that_the_store_refuses_is_not_there),
        case_of(a_change_that_the_store_refuses_is_undone),
        case_of(a_deletion_that_the_store_refuses_is_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
