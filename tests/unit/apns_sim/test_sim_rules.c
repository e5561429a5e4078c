/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_jwt.h"
#include "apns/sim/sim_rules.h"
#include "base/bytes.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEAM   "TEAM123456"
#define KEY    "KEY1234567"
#define BUNDLE "com.example.app"
#define NOW_S  1790000000ULL
#define MINUTE 60ULL

struct world {
    struct sim s;
    struct sim_provider provider;
    struct sim_request r;
    struct sim_verdict v;
    EVP_PKEY *stranger;
};

static char body[6000];

static void set(struct world *w, enum sim_header h, const char *value) {
    w->r.seen[h] = value != NULL;
    snprintf(w->r.value[h], sizeof w->r.value[h], "%s", value ? value : "");
}

static void sign(struct world *w, EVP_PKEY *key, const char *team, const char *key_id, uint64_t iat_s) {
    char token[APNS_JWT_BYTES], value[APNS_JWT_BYTES + 8];
    assert_int_equal(apns_jwt_make(token, key, team, key_id, iat_s), 0);
    snprintf(value, sizeof value, "bearer %s", token);
    set(w, SIM_AUTHORIZATION, value);
}

/* A voip push that is accepted, on a new connection. */
static void good(struct world *w) {
    memset(&w->r, 0, sizeof w->r);
    memset(&w->provider, 0, sizeof w->provider);
    set(w, SIM_METHOD, "POST");
    set(w, SIM_PATH, "/3/device/00ff");
    set(w, SIM_TOPIC, BUNDLE ".voip");
    set(w, SIM_PUSH_TYPE, "voip");
    set(w, SIM_PRIORITY, "10");
    set(w, SIM_EXPIRATION, "0");
    set(w, SIM_ID, "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11");
    sign(w, w->s.keys[0], TEAM, KEY, NOW_S);
    w->r.body = body;
    w->r.body_len = 2;
}

static void gives_at(struct world *w, uint64_t now_s, int status, const char *reason) {
    sim_rules_judge(&w->s, &w->provider, &w->r, now_s * 1000, &w->v);
    if (w->v.status != status || strcmp(w->v.reason, reason) != 0)
        fail_msg("%d %s, not %d %s", w->v.status, w->v.reason, status, reason);
}

static void gives(struct world *w, int status, const char *reason) {
    gives_at(w, NOW_S, status, reason);
}

static int setup(void **state) {
    struct world *w = *state = calloc(1, sizeof *w);
    sim_behaviour_defaults(&w->s.b);
    w->s.cfg.keys[0] = (struct sim_key){TEAM, KEY, ""};
    w->s.cfg.key_count = 1;
    w->s.cfg.bundles[0] = BUNDLE;
    w->s.cfg.bundles[1] = "com.example.other";
    w->s.cfg.bundle_count = 2;
    w->s.keys[0] = EVP_EC_gen("P-256");
    w->stranger = EVP_EC_gen("P-256");
    sim_device_put(&w->s, "00FF", BUNDLE, false);
    good(w);
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    struct sim_device *d, *next;
    HASH_ITER(hh, w->s.devices, d, next) {
        sim_device_delete(&w->s, d);
    }
    EVP_PKEY_free(w->s.keys[0]);
    EVP_PKEY_free(w->stranger);
    free(w);
    return 0;
}

static void a_good_push_is_accepted(void **state) {
    struct world *w = *state;
    gives(w, 200, "");
    set(w, SIM_PATH, "/3/device/00Ff");
    gives(w, 200, "");
}

static void only_what_must_be_there_must_be_there(void **state) {
    struct world *w = *state;
    set(w, SIM_ID, NULL);
    set(w, SIM_EXPIRATION, NULL);
    set(w, SIM_PRIORITY, NULL);
    gives(w, 200, "");
}

/* One fault at a time. */
static const struct {
    enum sim_header header;
    int status;
    const char *value; /* NULL: the header is not there */
    const char *reason;
} faults[] = {
    {SIM_METHOD, 405, "GET", "MethodNotAllowed"},
    {SIM_METHOD, 405, "post", "MethodNotAllowed"},
    {SIM_PATH, 404, "/3/devices/00ff", "BadPath"},
    {SIM_PATH, 404, "/", "BadPath"},
    {SIM_AUTHORIZATION, 403, NULL, "MissingProviderToken"},
    {SIM_AUTHORIZATION, 403, "bearer ", "InvalidProviderToken"},
    {SIM_AUTHORIZATION, 403, "bearer a.b.c", "InvalidProviderToken"},
    {SIM_AUTHORIZATION, 403, "basic a.b.c", "InvalidProviderToken"},
    {SIM_PATH, 400, "/3/device/", "MissingDeviceToken"},
    {SIM_ID, 400, "7D1B8A1E-31A5-4F7C-8B0D-2F6F6D0F3C11", "BadMessageId"},
    {SIM_ID, 400, "1", "BadMessageId"},
    {SIM_EXPIRATION, 400, "soon", "BadExpirationDate"},
    {SIM_EXPIRATION, 400, "-1", "BadExpirationDate"},
    {SIM_EXPIRATION, 400, "", "BadExpirationDate"},
    {SIM_PUSH_TYPE, 400, NULL, "InvalidPushType"},
    {SIM_PUSH_TYPE, 400, "VOIP", "InvalidPushType"},
    {SIM_PRIORITY, 400, "7", "BadPriority"},
    {SIM_PRIORITY, 400, "", "BadPriority"},
    {SIM_TOPIC, 400, NULL, "MissingTopic"},
    {SIM_TOPIC, 400, BUNDLE, "BadTopic"},
    {SIM_TOPIC, 400, BUNDLE ".voip-ptt", "BadTopic"},
    {SIM_TOPIC, 400, "com.example.stranger.voip", "TopicDisallowed"},
    {SIM_TOPIC, 400, "com.example.other.voip", "DeviceTokenNotForTopic"},
    {SIM_COLLAPSE_ID, 400, "12345678901234567890123456789012345678901234567890123456789012345", "BadCollapseId"},
    {SIM_PATH, 400, "/3/device/00fe", "BadDeviceToken"},
};

static void each_fault_has_its_answer(void **state) {
    struct world *w = *state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        good(w);
        set(w, faults[i].header, faults[i].value);
        gives(w, faults[i].status, faults[i].reason);
    }
}

static void a_header_that_comes_twice_is_refused(void **state) {
    struct world *w = *state;
    w->r.duplicate = true;
    gives(w, 400, "DuplicateHeaders");
}

static void a_background_push_has_priority_5(void **state) {
    struct world *w = *state;
    set(w, SIM_PUSH_TYPE, "background");
    set(w, SIM_TOPIC, BUNDLE);
    gives(w, 400, "BadPriority");
    set(w, SIM_PRIORITY, NULL);
    gives(w, 400, "BadPriority");
    set(w, SIM_PRIORITY, "5");
    gives(w, 200, "");
}

static void each_push_type_has_its_topic(void **state) {
    static const char *const pairs[][2] = {{"alert", ""},
                                           {"mdm", ""},
                                           {"pushtotalk", ".voip-ptt"},
                                           {"location", ".location-query"},
                                           {"complication", ".complication"},
                                           {"fileprovider", ".pushkit.fileprovider"},
                                           {"liveactivity", ".push-type.liveactivity"},
                                           {"controls", ".push-type.controls"},
                                           {"widgets", ".push-type.widgets"}};
    struct world *w = *state;
    char topic[128];
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        set(w, SIM_PUSH_TYPE, pairs[i][0]);
        snprintf(topic, sizeof topic, BUNDLE "%s", pairs[i][1]);
        set(w, SIM_TOPIC, topic);
        gives(w, 200, "");
        set(w, SIM_TOPIC, BUNDLE ".voip");
        gives(w, 400, "BadTopic");
    }
}

static void the_size_depends_on_the_type(void **state) {
    struct world *w = *state;
    w->r.body_len = 5120;
    gives(w, 200, "");
    w->r.body_len = 5121;
    gives(w, 413, "PayloadTooLarge");
    w->r.body_len = 0;
    gives(w, 400, "PayloadEmpty");
    set(w, SIM_PUSH_TYPE, "alert");
    set(w, SIM_TOPIC, BUNDLE);
    w->r.body_len = 4096;
    gives(w, 200, "");
    w->r.body_len = 4097;
    gives(w, 413, "PayloadTooLarge");
}

static void a_device_is_known_in_its_environment_only(void **state) {
    struct world *w = *state;
    w->s.cfg.sandbox = true;
    gives(w, 400, "BadDeviceToken");
    sim_device_put(&w->s, "00ff", BUNDLE, true);
    gives(w, 200, "");
}

static void a_device_that_left_is_gone_since_then(void **state) {
    struct world *w = *state;
    struct sim_device *d = sim_device_find(&w->s, "00ff");
    d->registered = false;
    d->unregistered_ms = 1780000000123;
    gives(w, 410, "Unregistered");
    assert_int_equal(w->v.timestamp_ms, 1780000000123);
}

static void a_provider_token_lasts_an_hour(void **state) {
    struct world *w = *state;
    gives_at(w, NOW_S + 60 * MINUTE, 200, "");
    gives_at(w, NOW_S + 60 * MINUTE + 1, 403, "ExpiredProviderToken");
}

static void a_provider_token_from_the_future_is_invalid(void **state) {
    struct world *w = *state;
    gives_at(w, NOW_S - 5 * MINUTE, 200, "");
    gives_at(w, NOW_S - 5 * MINUTE - 1, 403, "InvalidProviderToken");
}

static void a_provider_token_of_somebody_else_is_invalid(void **state) {
    struct world *w = *state;
    sign(w, w->stranger, TEAM, KEY, NOW_S);
    gives(w, 403, "InvalidProviderToken");
    sign(w, w->s.keys[0], "TEAM999999", KEY, NOW_S);
    gives(w, 403, "InvalidProviderToken");
    sign(w, w->s.keys[0], TEAM, "KEY9999999", NOW_S);
    gives(w, 403, "InvalidProviderToken");
}

static void a_second_token_within_20_minutes_is_one_too_many(void **state) {
    struct world *w = *state;
    gives(w, 200, "");
    sign(w, w->s.keys[0], TEAM, KEY, NOW_S + 1);
    gives_at(w, NOW_S + 20 * MINUTE - 1, 429, "TooManyProviderTokenUpdates");
    gives_at(w, NOW_S + 20 * MINUTE, 200, "");
    /* The time runs from the first use of the token before. */
    sign(w, w->s.keys[0], TEAM, KEY, NOW_S + 2);
    gives_at(w, NOW_S + 40 * MINUTE - 1, 429, "TooManyProviderTokenUpdates");
    gives_at(w, NOW_S + 40 * MINUTE, 200, "");
}

static void another_connection_counts_its_own_tokens(void **state) {
    struct world *w = *state;
    struct sim_provider other = {.token = ""};
    gives(w, 200, "");
    sign(w, w->s.keys[0], TEAM, KEY, NOW_S + 1);
    gives(w, 429, "TooManyProviderTokenUpdates");
    w->provider = other;
    gives(w, 200, "");
}

static void a_bad_token_leaves_the_good_one_in_its_place(void **state) {
    struct world *w = *state;
    char first[SIM_HEADER_BYTES];
    memcpy(first, w->r.value[SIM_AUTHORIZATION], sizeof first);
    gives(w, 200, "");
    sign(w, w->stranger, TEAM, KEY, NOW_S);
    gives(w, 403, "InvalidProviderToken");
    set(w, SIM_AUTHORIZATION, first);
    gives(w, 200, "");
}

/* With all faults at once the answers come in this order, as each is mended. */
static void the_rules_have_an_order(void **state) {
    struct world *w = *state;
    char authorization[SIM_HEADER_BYTES];
    memcpy(authorization, w->r.value[SIM_AUTHORIZATION], sizeof authorization);
    memset(&w->r, 0, sizeof w->r);
    w->r.body = body;
    w->r.duplicate = true;
    set(w, SIM_ID, "1");
    set(w, SIM_EXPIRATION, "x");
    set(w, SIM_PRIORITY, "7");
    set(w, SIM_COLLAPSE_ID, "12345678901234567890123456789012345678901234567890123456789012345");
    gives(w, 405, "MethodNotAllowed");
    set(w, SIM_METHOD, "POST");
    gives(w, 404, "BadPath");
    set(w, SIM_PATH, "/3/device/");
    gives(w, 400, "DuplicateHeaders");
    w->r.duplicate = false;
    gives(w, 403, "MissingProviderToken");
    set(w, SIM_AUTHORIZATION, authorization);
    gives(w, 400, "MissingDeviceToken");
    set(w, SIM_PATH, "/3/device/00fe");
    gives(w, 400, "BadMessageId");
    set(w, SIM_ID, NULL);
    gives(w, 400, "BadExpirationDate");
    set(w, SIM_EXPIRATION, NULL);
    gives(w, 400, "InvalidPushType");
    set(w, SIM_PUSH_TYPE, "voip");
    gives(w, 400, "BadPriority");
    set(w, SIM_PRIORITY, NULL);
    gives(w, 400, "MissingTopic");
    set(w, SIM_TOPIC, BUNDLE ".voip");
    gives(w, 400, "BadCollapseId");
    set(w, SIM_COLLAPSE_ID, NULL);
    gives(w, 400, "PayloadEmpty");
    w->r.body_len = 2;
    gives(w, 400, "BadDeviceToken");
    set(w, SIM_PATH, "/3/device/00ff");
    gives(w, 200, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_good_push_is_accepted),
        TEST(only_what_must_be_there_must_be_there),
        TEST(each_fault_has_its_answer),
        TEST(a_header_that_comes_twice_is_refused),
        TEST(a_background_push_has_priority_5),
        TEST(each_push_type_has_its_topic),
        TEST(the_size_depends_on_the_type),
        TEST(a_device_is_known_in_its_environment_only),
        TEST(a_device_that_left_is_gone_since_then),
        TEST(a_provider_token_lasts_an_hour),
        TEST(a_provider_token_from_the_future_is_invalid),
        TEST(a_provider_token_of_somebody_else_is_invalid),
        TEST(a_second_token_within_20_minutes_is_one_too_many),
        TEST(another_connection_counts_its_own_tokens),
        TEST(a_bad_token_leaves_the_good_one_in_its_place),
        TEST(the_rules_have_an_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
