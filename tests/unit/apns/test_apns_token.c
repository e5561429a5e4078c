/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_token.h"

#include <openssl/ec.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MINUTE_MS 60000

struct world {
    EVP_PKEY *key;
    struct apns_token *token;
    struct apns_time now;
};

static void pass(struct world *w, int64_t minutes) {
    w->now.mono_us += (uint64_t)minutes * MINUTE_MS * 1000;
    w->now.wall_ms += (uint64_t)minutes * MINUTE_MS;
}

static int setup(void **state) {
    struct world *w = *state = calloc(1, sizeof *w);
    w->key = EVP_EC_gen("P-256");
    w->now = (struct apns_time){5000000, 1780000000000};
    return apns_token_new(&w->token, w->key, "ABCDE12345", "FGHIJ67890");
}

static int teardown(void **state) {
    struct world *w = *state;
    apns_token_free(w->token);
    EVP_PKEY_free(w->key);
    free(w);
    return 0;
}

static void bearer(struct world *w, struct apns_token_use *use, char out[static 300]) {
    const char *text = apns_token_bearer(w->token, use, &w->now);
    assert_non_null(text);
    assert_int_equal(strncmp(text, "bearer ", 7), 0);
    snprintf(out, 300, "%s", text);
}

static void a_connection_starts_on_a_token_of_up_to_30_minutes(void **state) {
    struct world *w = *state;
    struct apns_token_use a = {0}, b = {0}, c = {0};
    char first[300], text[300];
    bearer(w, &a, first);
    pass(w, 30);
    bearer(w, &b, text);
    assert_string_equal(text, first);
    pass(w, 1);
    bearer(w, &c, text);
    assert_string_not_equal(text, first);
    assert_int_equal(apns_token_mints(w->token), 2);
}

static void a_connection_keeps_its_token_until_55_minutes(void **state) {
    struct world *w = *state;
    struct apns_token_use a = {0}, b = {0};
    char first[300], text[300];
    bearer(w, &a, first);
    pass(w, 40);
    bearer(w, &b, text); /* a newer one exists now */
    assert_string_not_equal(text, first);
    pass(w, 14);
    bearer(w, &a, text);
    assert_string_equal(text, first);
    pass(w, 1);
    bearer(w, &a, text);
    assert_string_not_equal(text, first);
    assert_int_equal(apns_token_mints(w->token), 2);
    assert_int_equal(apns_token_age_ms(w->token, &a, &w->now), 15 * MINUTE_MS);
}

static void a_token_refused_as_expired_is_not_replaced_before_25_minutes(void **state) {
    struct world *w = *state;
    struct apns_token_use a = {0}, b = {0};
    char first[300], text[300];
    bearer(w, &a, first);
    pass(w, 24);
    assert_true(apns_token_expired(w->token, &a, &w->now));
    bearer(w, &b, text);
    assert_string_equal(text, first);
    pass(w, 1);
    b = (struct apns_token_use){0};
    bearer(w, &b, text);
    assert_string_not_equal(text, first);
}

static void a_clock_that_was_set_lifts_that_rule(void **state) {
    struct world *w = *state;
    struct apns_token_use a = {0}, b = {0};
    char first[300], text[300];
    bearer(w, &a, first);
    pass(w, 6);
    w->now.wall_ms += 7200000;
    assert_true(apns_token_expired(w->token, &a, &w->now));
    bearer(w, &b, text);
    assert_string_not_equal(text, first);
}

static void an_exported_token_goes_on_after_a_restart(void **state) {
    struct world *w = *state;
    struct apns_token_use a = {0}, b = {0};
    struct apns_token *next;
    char first[300], text[APNS_TOKEN_EXPORT_BYTES];
    assert_int_equal(apns_token_export(w->token, text), 0);
    bearer(w, &a, first);
    size_t len = apns_token_export(w->token, text);
    assert_true(len > 200);
    pass(w, 20);
    w->now.mono_us = 1000000; /* another boot */
    assert_int_equal(apns_token_new(&next, w->key, "ABCDE12345", "FGHIJ67890"), 0);
    assert_int_equal(apns_token_import(next, text, len, &w->now), 0);
    assert_string_equal(apns_token_bearer(next, &b, &w->now), first);
    assert_int_equal(apns_token_age_ms(next, &b, &w->now), 20 * MINUTE_MS);
    assert_int_equal(apns_token_import(next, text, len, &w->now), E_STATE);
    apns_token_free(next);
}

static void what_is_not_ours_is_not_imported(void **state) {
    struct world *w = *state;
    struct apns_token_use a = {0};
    struct apns_token *next;
    char first[300], text[APNS_TOKEN_EXPORT_BYTES];
    bearer(w, &a, first);
    size_t len = apns_token_export(w->token, text);
    EVP_PKEY *other = EVP_EC_gen("P-256");
    assert_int_equal(apns_token_new(&next, other, "ABCDE12345", "FGHIJ67890"), 0);
    assert_int_equal(apns_token_import(next, text, len, &w->now), E_AUTH);
    apns_token_free(next);
    EVP_PKEY_free(other);
    assert_int_equal(apns_token_new(&next, w->key, "ABCDE12345", "OTHER67890"), 0);
    assert_int_equal(apns_token_import(next, text, len, &w->now), E_AUTH);
    apns_token_free(next);
    assert_int_equal(apns_token_new(&next, w->key, "ABCDE12345", "FGHIJ67890"), 0);
    for (size_t n = 0; n < len; n += 7)
        assert_true(apns_token_import(next, text, n, &w->now) < 0);
    pass(w, 60);
    assert_int_equal(apns_token_import(next, text, len, &w->now), E_EXPIRED);
    apns_token_free(next);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_connection_starts_on_a_token_of_up_to_30_minutes),
        TEST(a_connection_keeps_its_token_until_55_minutes),
        TEST(a_token_refused_as_expired_is_not_replaced_before_25_minutes),
        TEST(a_clock_that_was_set_lifts_that_rule),
        TEST(an_exported_token_goes_on_after_a_restart),
        TEST(what_is_not_ours_is_not_imported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
