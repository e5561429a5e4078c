/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake: roles, keys, profiles, and whom it trusts. */
#include "base/bytes.h"
#include "tests/unit/dtls/session_fixture.h"

static void both_ends_connect_and_their_keys_match_crosswise(void **state) {
    struct pair *w = pair_connected();
    const struct media_keys *c = &w->client.keys, *s = &w->server.keys;
    (void)state;
    assert_int_equal(w->client.connected, 1);
    assert_int_equal(w->server.connected, 1);
    assert_int_equal(w->client.closed + w->server.closed, 0);
    assert_int_equal(c->profile, MEDIA_PROFILE_AEAD_AES_128_GCM);
    assert_int_equal(s->profile, MEDIA_PROFILE_AEAD_AES_128_GCM);
    assert_memory_equal(c->tx, s->rx, sizeof c->tx);
    assert_memory_equal(c->rx, s->tx, sizeof c->rx);
    assert_memory_not_equal(c->tx, c->rx, 28);
    pair_free(w);
}

static void the_roles_do_not_depend_on_the_identity(void **state) {
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    end_open(&w->client, identities[1], true, &fingerprints[0], 1);
    end_open(&w->server, identities[0], false, &fingerprints[1], 1);
    start(w);
    settle(w);
    assert_true(w->client.connected && w->server.connected);
    assert_memory_equal(w->client.keys.tx, w->server.keys.rx, MEDIA_MASTER_MAX_BYTES);
    pair_free(w);
}

static void a_server_says_nothing_first(void **state) {
    struct pair *w = pair_new();
    (void)state;
    assert_int_equal(dtls_session_start(w->server.s, NOW_MS), 0);
    assert_int_equal(w->server.sent, 0);
    assert_int_equal(dtls_session_start(w->client.s, NOW_MS), 0);
    assert_int_equal(w->client.sent, 1);
    pair_free(w);
}

static void every_call_has_keys_of_its_own(void **state) {
    struct pair *a = pair_connected(), *b = pair_connected();
    (void)state;
    assert_memory_not_equal(a->client.keys.tx, b->client.keys.tx, 28);
    pair_free(a);
    pair_free(b);
}

static void the_profile_is_the_best_that_both_have(void **state) {
    static const struct {
        const char *list;
        enum media_profile want;
    } rows[] = {{"SRTP_AES128_CM_SHA1_80", MEDIA_PROFILE_AES128_CM_SHA1_80},
                {"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM", MEDIA_PROFILE_AEAD_AES_256_GCM}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct dtls_identity *id = NULL;
        struct pair *w = malloc(sizeof *w);
        assert_non_null(w);
        assert_int_equal(dtls_identity_new_profiles(&id, rows[i].list, NULL), 0);
        struct sdp_fingerprint f = fingerprint_of(id, "sha-256", EVP_sha256());
        end_open(&w->client, id, true, &fingerprints[1], 1);
        end_open(&w->server, identities[1], false, &f, 1);
        start(w);
        settle(w);
        assert_true(w->client.connected && w->server.connected);
        assert_int_equal(w->client.keys.profile, rows[i].want);
        assert_int_equal(w->server.keys.profile, rows[i].want);
        assert_memory_equal(w->client.keys.tx, w->server.keys.rx, MEDIA_MASTER_MAX_BYTES);
        pair_free(w);
        dtls_identity_free(id);
    }
}

static void without_a_common_profile_there_are_no_keys(void **state) {
    struct dtls_identity *cm = NULL, *gcm = NULL;
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    assert_int_equal(dtls_identity_new_profiles(&cm, "SRTP_AES128_CM_SHA1_80", NULL), 0);
    assert_int_equal(dtls_identity_new_profiles(&gcm, "SRTP_AEAD_AES_128_GCM", NULL), 0);
    struct sdp_fingerprint of_cm = fingerprint_of(cm, "sha-256", EVP_sha256()),
                           of_gcm = fingerprint_of(gcm, "sha-256", EVP_sha256());
    end_open(&w->client, cm, true, &of_gcm, 1);
    end_open(&w->server, gcm, false, &of_cm, 1);
    start(w);
    settle(w);
    assert_int_equal(w->client.connected + w->server.connected, 0);
    assert_int_equal(w->client.closed, 1);
    assert_int_equal(w->client.closed_err, E_CRYPTO);
    assert_int_equal(w->server.closed, 1);
    assert_int_equal(w->server.closed_err, E_CRYPTO);
    pair_free(w);
    dtls_identity_free(cm);
    dtls_identity_free(gcm);
}

static void an_unknown_profile_makes_no_identity(void **state) {
    struct dtls_identity *id = NULL;
    struct err_text et = {""};
    (void)state;
    assert_int_equal(dtls_identity_new_profiles(&id, "SRTP_NONE_OF_THAT_NAME", &et), E_CRYPTO);
    assert_null(id);
    assert_non_null(strstr(et.s, "the DTLS identity could not be made"));
}

static void the_fingerprint_is_that_of_the_certificate(void **state) {
    char hex[65], *c = hex;
    (void)state;
    assert_memory_equal(dtls_identity_fingerprint(identities[0]), "sha-256 ", 8);
    for (const char *s = dtls_identity_fingerprint(identities[0]) + 8; *s; s++)
        if (*s != ':')
            *c++ = *s;
    *c = 0;
    uint8_t value[32];
    assert_int_equal(hex_decode(value, sizeof value, hex), 32);
    assert_memory_equal(value, fingerprints[0].value, 32);
    assert_string_not_equal(dtls_identity_fingerprint(identities[0]), dtls_identity_fingerprint(identities[1]));
}

static void assert_mistrust(struct pair *w, struct end *who, struct end *other) {
    start(w);
    settle(w);
    assert_int_equal(who->connected + other->connected, 0);
    assert_int_equal(who->closed, 1);
    assert_int_equal(who->closed_err, E_AUTH);
    assert_int_equal(other->closed, 1);
    assert_int_equal(other->closed_err, E_CRYPTO);
    assert_false(dtls_session_connected(who->s) || dtls_session_connected(other->s));
    pair_free(w);
}

static void a_server_refuses_a_certificate_that_the_description_does_not_name(void **state) {
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    end_open(&w->client, identities[0], true, &fingerprints[1], 1);
    end_open(&w->server, identities[1], false, &fingerprints[1], 1);
    assert_mistrust(w, &w->server, &w->client);
}

static void a_client_refuses_a_certificate_that_the_description_does_not_name(void **state) {
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    end_open(&w->client, identities[0], true, &fingerprints[0], 1);
    end_open(&w->server, identities[1], false, &fingerprints[0], 1);
    assert_mistrust(w, &w->client, &w->server);
}

static void without_a_fingerprint_nobody_is_trusted(void **state) {
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    end_open(&w->client, identities[0], true, &fingerprints[1], 1);
    end_open(&w->server, identities[1], false, &fingerprints[0], 0);
    assert_mistrust(w, &w->server, &w->client);
}

static void a_fingerprint_under_another_hash_name_does_not_match(void **state) {
    struct sdp_fingerprint f = fingerprints[0];
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    strcpy(f.hash, "sha-512");
    end_open(&w->client, identities[0], true, &fingerprints[1], 1);
    end_open(&w->server, identities[1], false, &f, 1);
    assert_mistrust(w, &w->server, &w->client);
}

static void one_of_several_fingerprints_is_enough(void **state) {
    struct sdp_fingerprint some[3] = {fingerprints[1], fingerprints[1], fingerprints[1]};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct pair *w = malloc(sizeof *w);
        assert_non_null(w);
        some[2] = i == 0 ? fingerprint_of(identities[0], "sha-384", EVP_sha384())
                         : fingerprint_of(identities[0], "sha-512", EVP_sha512());
        end_open(&w->client, identities[0], true, &fingerprints[1], 1);
        end_open(&w->server, identities[1], false, some, 3);
        start(w);
        settle(w);
        assert_true(w->client.connected && w->server.connected);
        pair_free(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_connect_and_their_keys_match_crosswise),
        cmocka_unit_test(the_roles_do_not_depend_on_the_identity),
        cmocka_unit_test(a_server_says_nothing_first),
        cmocka_unit_test(every_call_has_keys_of_its_own),
        cmocka_unit_test(the_profile_is_the_best_that_both_have),
        cmocka_unit_test(without_a_common_profile_there_are_no_keys),
        cmocka_unit_test(an_unknown_profile_makes_no_identity),
        cmocka_unit_test(the_fingerprint_is_that_of_the_certificate),
        cmocka_unit_test(a_server_refuses_a_certificate_that_the_description_does_not_name),
        cmocka_unit_test(a_client_refuses_a_certificate_that_the_description_does_not_name),
        cmocka_unit_test(without_a_fingerprint_nobody_is_trusted),
        cmocka_unit_test(a_fingerprint_under_another_hash_name_does_not_match),
        cmocka_unit_test(one_of_several_fingerprints_is_enough),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
