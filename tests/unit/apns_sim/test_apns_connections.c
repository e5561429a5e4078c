/* SPDX-License-Identifier: Apache-2.0 */
/* Whom the client believes, and connections that end. */
#include "tests/unit/apns_sim/client_fixture.h"

static void not_connected(struct world *w) {
    push(w, &w->results[0], 120);
    wait_for(w, w->results[0].calls);
    assert_true(w->relay.accepted >= 1);
    each_was(w, 0, 1, APNS_NOT_SENT);
    assert_false(apns_credential_ready(w->credential));
    assert_int_equal(requests(w), 0);
}

static void a_certificate_for_another_name_is_refused(void **state) {
    struct world *w = *state = world_new(files.wrong_name, 100);
    struct apns_credential_config cfg = config(w);
    add_credential(w);
    not_connected(w);
    memset(&w->results[0], 0, sizeof w->results[0]);
    cfg.host = "localhost";
    assert_int_equal(apns_credential_add(w->apns, &w->credential, &cfg, NULL), 0);
    not_connected(w);
}

static void a_host_name_is_looked_up(void **state) {
    struct world *w = *state = world_new(files.certificate, 100);
    struct apns_credential_config cfg = config(w);
    cfg.host = "localhost";
    assert_int_equal(apns_credential_add(w->apns, &w->credential, &cfg, NULL), 0);
    push_many(w, 0, 1);
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_ACCEPTED);
}

static void a_certificate_of_another_authority_is_refused(void **state) {
    struct world *w = *state = world_new(files.certificate, 100);
    struct apns_credential_config cfg = config(w);
    cfg.ca_file = files.other_ca;
    assert_int_equal(apns_credential_add(w->apns, &w->credential, &cfg, NULL), 0);
    not_connected(w);
}

static void a_credential_says_what_is_wrong_with_it(void **state) {
    struct world *w = *state;
    struct apns_credential *c;
    struct err_text et = {""};
    struct apns_credential_config cfg = config(w);
    cfg.key_id = "short";
    assert_int_equal(apns_credential_add(w->apns, &c, &cfg, &et), E_INVAL);
    assert_non_null(strstr(et.s, "10 characters"));
    cfg = config(w);
    cfg.key_pem = "rubbish";
    cfg.key_pem_len = 7;
    assert_int_equal(apns_credential_add(w->apns, &c, &cfg, &et), E_CRYPTO);
    assert_non_null(strstr(et.s, "private key"));
    cfg = config(w);
    cfg.ca_file = "/nowhere/ca.pem";
    assert_int_equal(apns_credential_add(w->apns, &c, &cfg, &et), E_IO);
    assert_non_null(strstr(et.s, "/nowhere/ca.pem"));
}

static void a_credential_can_be_checked_without_a_client(void **state) {
    struct world *w = *state;
    struct err_text et = {""};
    struct apns_credential_config cfg = config(w);
    unsigned accepted = w->relay.accepted;
    assert_int_equal(apns_credential_check(&cfg, &et), 0);
    cfg.ca_file = "/nowhere/ca.pem";
    assert_int_equal(apns_credential_check(&cfg, &et), E_IO);
    assert_non_null(strstr(et.s, "/nowhere/ca.pem"));
    cfg = config(w);
    cfg.key_pem = "rubbish";
    cfg.key_pem_len = 7;
    assert_int_equal(apns_credential_check(&cfg, &et), E_CRYPTO);
    assert_true(w->relay.accepted <= accepted + 1); /* the one of the fixture's own */
}

/* Connections that end */

static void what_a_lost_connection_left_unanswered_goes_out_once_more(void **state) {
    struct world *w = *state;
    prove(w);
    w->relay.mode = RELAY_HOLD;
    push_many(w, 0, 3);
    wait_for(w, requests(w) == 4);
    relay_cut(&w->relay);
    w->relay.mode = RELAY_PASS;
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_ACCEPTED);
    assert_int_equal(w->relay.accepted, 2);
    /* The other two are on the wire again, and are lost again. */
    w->relay.mode = RELAY_HOLD;
    wait_for(w, requests(w) == 7);
    w->results[1].then = &w->results[3];
    relay_cut(&w->relay);
    wait_for(w, done(w, 1, 2) == 2);
    each_was(w, 0, 1, APNS_ACCEPTED);
    each_was(w, 1, 2, APNS_SERVER_ERROR);
    assert_int_equal(w->results[1].err, E_IO);
    assert_int_equal(w->results[1].status, 0);
    close_apns(w);
    each_was(w, 3, 1, APNS_NOT_SENT);
    assert_int_equal(requests(w), 7);
}

/* A 403 asks for another connection; the pushes behind it on the same one were answered, and that must be heard. */
static void answers_under_way_are_awaited_before_a_connection_is_given_up(void **state) {
    struct world *w = *state;
    give_up_slowly(w, 4);
    wait_for(w, done(w, 1, 3) == 3);
    each_was(w, 1, 3, APNS_ACCEPTED);
    assert_int_equal(requests(w), 5);
    assert_int_equal(w->relay.accepted, 1);
}

static void a_connection_that_is_given_up_does_not_wait_for_ever(void **state) {
    struct world *w = *state;
    give_up_slowly(w, 2);
    w->relay.mode = RELAY_HOLD;
    wait_for(w, w->relay.accepted == 2);
    settle(w, 1300); /* patience with the old one ends */
    w->relay.mode = RELAY_PASS;
    wait_for(w, w->results[1].calls);
    each_was(w, 1, 1, APNS_ACCEPTED);
    assert_int_equal(requests(w), 4);
}

static void an_answer_about_the_connection_sends_its_push_over_another(void **state) {
    struct world *w = *state;
    prove(w);
    script(w, 403, "ExpiredProviderToken", 1);
    script(w, 429, "TooManyProviderTokenUpdates", 1);
    push_many(w, 0, 2);
    wait_for(w, done(w, 0, 2) == 2);
    each_was(w, 0, 2, APNS_ACCEPTED);
    assert_int_equal(requests(w), 5);
    assert_int_equal(w->relay.accepted, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(request_id(w, 1 + i), w->results[i].sent_id);
        assert_string_equal(request_id(w, 3 + i), w->results[i].sent_id);
    }
}

static void a_credential_that_is_refused_makes_no_storm_of_connections(void **state) {
    struct world *w = *state;
    prove(w);
    script(w, 403, "InvalidProviderToken", 100);
    for (size_t i = 0; i < 5; i++) {
        push_many(w, i, 1);
        settle(w, 100);
    }
    each_was(w, 0, 1, APNS_CREDENTIAL_BAD);
    assert_int_equal(w->relay.accepted, 1);
}

/* OpenSSL's error queue belongs to the thread: other users of TLS leave things in it. */
static void errors_of_others_do_not_end_a_connection(void **state) {
    struct world *w = *state;
    prove(w);
    for (size_t i = 0; i < 5; i++) {
        w->results[i].careless = true;
        push_many(w, i, 1);
        wait_for(w, w->results[i].calls);
        settle(w, 10);
    }
    ERR_clear_error();
    each_was(w, 0, 5, APNS_ACCEPTED);
    assert_int_equal(w->relay.accepted, 1);
}

static void a_reload_goes_on_with_the_provider_token_of_the_same_key(void **state) {
    struct world *w = *state;
    struct apns_credential_config cfg = config(w);
    char before[APNS_TOKEN_EXPORT_MAX_BYTES], after[APNS_TOKEN_EXPORT_MAX_BYTES];
    prove(w);
    assert_true(apns_credential_token_export(w->credential, before) > 0);
    assert_int_equal(apns_credential_reload(w->credential, &cfg, NULL), 0);
    push_many(w, 0, 1);
    wait_for(w, w->results[0].calls);
    wait_for(w, w->relay.accepted == 2);
    settle(w, 100);
    push_many(w, 1, 1);
    wait_for(w, w->results[1].calls);
    each_was(w, 0, 2, APNS_ACCEPTED);
    assert_true(apns_credential_token_export(w->credential, after) > 0);
    assert_string_equal(before, after);
    cfg.key_id = "short";
    assert_int_equal(apns_credential_reload(w->credential, &cfg, NULL), E_INVAL);
}

/* Its pushes go out, even those for which it has no connection yet; then it hangs up. */
static void a_credential_that_is_retired_ends_with_its_last_push(void **state) {
    struct world *w = *state;
    push_many(w, 0, 3);
    assert_int_equal(w->results[0].calls, 0);
    apns_credential_retire(w->credential);
    wait_for(w, done(w, 0, 3) == 3);
    each_was(w, 0, 3, APNS_ACCEPTED);
    wait_for(w, !w->relay.pairs);
    add_credential(w); /* the same again is another one */
    push_many(w, 3, 1);
    wait_for(w, w->results[3].calls);
    each_was(w, 3, 1, APNS_ACCEPTED);
    apns_credential_retire(w->credential); /* and the client ends before it does */
    close_apns(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        OWN(a_certificate_for_another_name_is_refused),
        OWN(a_host_name_is_looked_up),
        OWN(a_certificate_of_another_authority_is_refused),
        TEST(a_credential_says_what_is_wrong_with_it),
        TEST(what_a_lost_connection_left_unanswered_goes_out_once_more),
        TEST(answers_under_way_are_awaited_before_a_connection_is_given_up),
        TEST(a_connection_that_is_given_up_does_not_wait_for_ever),
        TEST(an_answer_about_the_connection_sends_its_push_over_another),
        TEST(a_credential_that_is_refused_makes_no_storm_of_connections),
        TEST(errors_of_others_do_not_end_a_connection),
        TEST(a_credential_can_be_checked_without_a_client),
        TEST(a_credential_that_is_retired_ends_with_its_last_push),
        TEST(a_reload_goes_on_with_the_provider_token_of_the_same_key),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
