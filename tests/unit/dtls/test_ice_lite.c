/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "dtls/ice_lite.h"
#include "dtls/stun_msg.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define REMOTE               "peer"
#define NOW_MS               1000
#define FINGERPRINT_BYTES    8  /* the attribute with its header */
#define INTEGRITY_ATTR_BYTES 24 /* likewise */

static const uint8_t txid[STUN_TXID_BYTES] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2};

struct agent {
    struct ice_lite il;
    char username[ICE_UFRAG_BYTES + ICE_REMOTE_UFRAG_BYTES];
    uint8_t request[STUN_MSG_MAX_BYTES], reply[STUN_MSG_MAX_BYTES];
    size_t request_len;
    struct ice_result res;
    struct stun_msg answer;
};

static struct agent started(void) {
    struct agent a;
    memset(&a, 0, sizeof a);
    ice_lite_init(&a.il);
    strcpy(a.il.remote_ufrag, REMOTE);
    return a;
}

static struct addr at(const char *hostport) {
    struct addr a;
    assert_int_equal(addr_parse_hostport(&a, hostport), 0);
    return a;
}

/* A check as a controlling full agent sends it. */
static struct stun_build check(struct agent *a) {
    strcpy(a->username, a->il.ufrag);
    strcat(a->username, ":" REMOTE);
    return (struct stun_build){.type = STUN_BINDING_REQUEST,
                               .txid = txid,
                               .username = a->username,
                               .has_priority = true,
                               .priority = 1,
                               .ice_controlling = true,
                               .tie_breaker = 1,
                               .pwd = a->il.pwd};
}

static int send_from(struct agent *a, const struct stun_build *b, const char *from, uint64_t now_ms) {
    struct addr src = at(from);
    int len = stun_msg_encode(a->request, sizeof a->request, b);
    assert_true(len > 0);
    a->request_len = (size_t)len;
    int err = ice_lite_input(&a->il, a->request, a->request_len, &src, now_ms, a->reply, sizeof a->reply, &a->res);
    if (a->res.reply_len > 0)
        assert_int_equal(stun_msg_parse(&a->answer, a->reply, (size_t)a->res.reply_len), 0);
    return err;
}

static void our_credentials_are_long_enough_and_new_each_time(void **state) {
    struct ice_lite a, b;
    (void)state;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    ice_lite_init(&a);
    ice_lite_init(&b);
    assert_int_equal(strlen(a.ufrag), 8);
    assert_int_equal(strlen(a.pwd), 32);
    assert_string_not_equal(a.ufrag, b.ufrag);
    assert_string_not_equal(a.pwd, b.pwd);
    assert_true(a.tie_breaker != b.tie_breaker);
}

static void a_check_is_answered_with_the_address_that_it_came_from(void **state) {
    struct agent a = started();
    struct addr src = at("192.0.2.5:4000");
    struct stun_build b = check(&a);
    (void)state;
    assert_int_equal(send_from(&a, &b, "192.0.2.5:4000", NOW_MS), 0);
    assert_true(a.res.authenticated);
    assert_int_equal(a.answer.type, STUN_BINDING_SUCCESS);
    assert_memory_equal(a.answer.txid, txid, sizeof txid);
    assert_true(addr_eq(&a.answer.mapped, &src));
    assert_int_equal(stun_msg_check(&a.answer, a.il.pwd), 0);
}

static void a_check_without_nomination_selects_nothing(void **state) {
    struct agent a = started();
    struct stun_build b = check(&a);
    (void)state;
    assert_int_equal(send_from(&a, &b, "192.0.2.5:4000", NOW_MS), 0);
    assert_false(a.res.selected_changed);
    assert_false(addr_is_set(&a.il.selected));
}

static void the_latest_nomination_is_selected(void **state) {
    struct agent a = started();
    struct stun_build b = check(&a);
    struct addr second = at("192.0.2.6:4001");
    (void)state;
    b.use_candidate = true;
    assert_int_equal(send_from(&a, &b, "192.0.2.5:4000", NOW_MS), 0);
    assert_true(a.res.selected_changed);
    assert_int_equal(send_from(&a, &b, "192.0.2.5:4000", NOW_MS), 0);
    assert_false(a.res.selected_changed);
    assert_int_equal(send_from(&a, &b, "192.0.2.6:4001", NOW_MS), 0);
    assert_true(a.res.selected_changed);
    assert_true(addr_eq(&a.il.selected, &second));
}

static void only_checks_from_the_selected_address_keep_consent(void **state) {
    struct agent a = started();
    struct stun_build b = check(&a);
    (void)state;
    b.use_candidate = true;
    assert_int_equal(send_from(&a, &b, "192.0.2.5:4000", 1000), 0);
    b.use_candidate = false;
    assert_int_equal(send_from(&a, &b, "192.0.2.6:4001", 2000), 0);
    assert_int_equal(a.il.last_check_ms, 1000);
    assert_int_equal(send_from(&a, &b, "192.0.2.5:4000", 3000), 0);
    assert_int_equal(a.il.last_check_ms, 3000);
}

static void assert_dropped(struct agent *a, const struct stun_build *b) {
    assert_int_equal(send_from(a, b, "192.0.2.5:4000", NOW_MS), E_AUTH);
    assert_false(a->res.authenticated || a->res.selected_changed);
    assert_int_equal(a->res.reply_len, 0);
    assert_false(addr_is_set(&a->il.selected));
}

static void a_wrong_password_gets_no_reply(void **state) {
    struct agent a = started();
    struct stun_build b = check(&a);
    (void)state;
    b.use_candidate = true;
    b.pwd = "not the password of this agent!!";
    assert_dropped(&a, &b);
    b.pwd = NULL;
    assert_dropped(&a, &b);
}

static void a_wrong_user_name_gets_no_reply(void **state) {
    struct agent a = started();
    struct stun_build b = check(&a);
    char name[64];
    (void)state;
    b.use_candidate = true;
    b.username = name;
    strcpy(name, "other:" REMOTE);
    assert_dropped(&a, &b);
    strcpy(name, a.il.ufrag);
    assert_dropped(&a, &b);
    strcat(name, ":");
    assert_dropped(&a, &b);
    strcat(name, REMOTE "x");
    assert_dropped(&a, &b);
    b.username = NULL;
    assert_dropped(&a, &b);
}

/* No amplifier: what is not authentic in every bit is not answered, and what is, not with more bytes than it had. */
static void nobody_gets_more_than_he_sent(void **state) {
    static const char *const from[] = {"192.0.2.1:5000", "[2001:db8::1]:5000"};
    uint8_t wrong[STUN_MSG_MAX_BYTES];
    struct ice_result res;
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct agent a = started();
        struct stun_build b = check(&a);
        struct addr src = at(from[i]);
        assert_int_equal(send_from(&a, &b, from[i], NOW_MS), 0);
        assert_in_range(a.res.reply_len, 1, a.request_len);
        for (size_t bit = 0; bit < (a.request_len - FINGERPRINT_BYTES) * 8; bit++) {
            memcpy(wrong, a.request, a.request_len);
            wrong[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_not_equal(
                ice_lite_input(&a.il, wrong, a.request_len, &src, NOW_MS, a.reply, sizeof a.reply, &res), 0);
            assert_int_equal(res.reply_len, 0);
        }
        b.ice_controlling = false;
        b.ice_controlled = true;
        assert_int_equal(send_from(&a, &b, from[i], NOW_MS), E_CONFLICT);
        assert_in_range(a.res.reply_len, 1, a.request_len);
    }
}

static void an_unknown_remote_fragment_is_taken_while_none_is_known(void **state) {
    struct agent a = started();
    struct stun_build b = check(&a);
    (void)state;
    a.il.remote_ufrag[0] = 0;
    assert_int_equal(send_from(&a, &b, "192.0.2.5:4000", NOW_MS), 0);
    assert_true(a.res.authenticated);
}

/* RFC 8445 7.3.1.1. */
static void a_peer_that_claims_to_be_controlled_hears_487(void **state) {
    struct agent a = started();
    struct stun_build b = check(&a);
    (void)state;
    b.ice_controlling = false;
    b.ice_controlled = true;
    b.use_candidate = true;
    assert_int_equal(send_from(&a, &b, "192.0.2.5:4000", NOW_MS), E_CONFLICT);
    assert_int_equal(a.answer.type, STUN_BINDING_ERROR);
    assert_int_equal(a.answer.error_code, 487);
    assert_int_equal(stun_msg_check(&a.answer, a.il.pwd), 0);
    assert_false(addr_is_set(&a.il.selected));
}

/* RFC 8489 6.3.1. The writer knows no such attribute: PRIORITY's number is changed and the integrity made anew. */
static void an_unknown_required_attribute_hears_420_with_its_number(void **state) {
    static const uint8_t priority[] = {0x00, 0x24, 0x00, 0x04}, listed[] = {0x00, 0x0a, 0x00, 0x02, 0x77, 0x77};
    struct agent a = started();
    struct stun_build b = check(&a);
    struct addr src = at("192.0.2.5:4000");
    unsigned mac_len = 0;
    (void)state;
    b.use_candidate = true;
    size_t len = (size_t)stun_msg_encode(a.request, sizeof a.request, &b) - FINGERPRINT_BYTES;
    uint8_t *p = memmem(a.request, len, priority, sizeof priority);
    assert_non_null(p);
    p[0] = p[1] = 0x77;
    a.request[3] = (uint8_t)(len - STUN_HEADER_BYTES);
    assert_non_null(HMAC(EVP_sha1(), a.il.pwd, (int)strlen(a.il.pwd), a.request, len - INTEGRITY_ATTR_BYTES,
                         a.request + len - INTEGRITY_ATTR_BYTES + 4, &mac_len));
    assert_int_equal(ice_lite_input(&a.il, a.request, len, &src, NOW_MS, a.reply, sizeof a.reply, &a.res),
                     E_UNSUPPORTED);
    assert_int_equal(stun_msg_parse(&a.answer, a.reply, (size_t)a.res.reply_len), 0);
    assert_int_equal(a.answer.error_code, 420);
    assert_non_null(memmem(a.reply, (size_t)a.res.reply_len, listed, sizeof listed));
    assert_false(addr_is_set(&a.il.selected));
}

static struct ice_lite restarted(struct agent *a, const char *remote) {
    struct ice_lite before = a->il, next = {.ufrag = ""};
    ice_lite_init(&next);
    snprintf(next.remote_ufrag, sizeof next.remote_ufrag, "%s", remote);
    ice_lite_restart(&a->il, &next);
    return before;
}

/* A check with the credentials of `il`. */
static struct stun_build check_as(struct agent *a, const struct ice_lite *il) {
    struct stun_build b = check(a);
    snprintf(a->username, sizeof a->username, "%s:%s", il->ufrag, il->remote_ufrag);
    b.pwd = il->pwd;
    return b;
}

static void assert_selected(const struct agent *a, const char *hostport) {
    struct addr want = at(hostport);
    assert_true(addr_eq(&a->il.selected, &want));
}

static void nominate(struct agent *a, const struct ice_lite *il, const char *from, bool changes) {
    struct stun_build b = check_as(a, il);
    b.use_candidate = true;
    assert_int_equal(send_from(a, &b, from, NOW_MS), 0);
    assert_int_equal(stun_msg_check(&a->answer, il->pwd), 0);
    assert_int_equal(a->res.selected_changed, changes);
    assert_selected(a, from);
}

static void the_old_credentials_work_until_the_new_ones_nominate(void **state) {
    struct agent a = started();
    (void)state;
    nominate(&a, &a.il, "192.0.2.5:4000", true);
    struct ice_lite old = restarted(&a, "newpeer");
    assert_selected(&a, "192.0.2.5:4000");
    nominate(&a, &old, "192.0.2.6:4001", true);
    struct stun_build b = check_as(&a, &a.il);
    assert_int_equal(send_from(&a, &b, "192.0.2.7:4002", NOW_MS), 0); /* checked, and not nominated yet */
    assert_selected(&a, "192.0.2.6:4001");
    nominate(&a, &old, "192.0.2.6:4001", false);
    nominate(&a, &a.il, "192.0.2.7:4002", true);
    b = check_as(&a, &old);
    assert_int_equal(send_from(&a, &b, "192.0.2.6:4001", NOW_MS), E_AUTH);
    assert_selected(&a, "192.0.2.7:4002");
}

static void a_restart_on_the_same_address_is_a_new_path(void **state) {
    struct agent a = started();
    (void)state;
    nominate(&a, &a.il, "192.0.2.5:4000", true);
    restarted(&a, "newpeer");
    nominate(&a, &a.il, "192.0.2.5:4000", true);
    nominate(&a, &a.il, "192.0.2.5:4000", false);
}

static void a_second_restart_replaces_the_first_and_not_what_works(void **state) {
    struct agent a = started();
    (void)state;
    nominate(&a, &a.il, "192.0.2.5:4000", true);
    struct ice_lite works = restarted(&a, "second");
    struct ice_lite never = restarted(&a, "third");
    struct stun_build b = check_as(&a, &never);
    assert_int_equal(send_from(&a, &b, "192.0.2.6:4001", NOW_MS), E_AUTH);
    nominate(&a, &works, "192.0.2.6:4001", true);
    nominate(&a, &a.il, "192.0.2.6:4001", true);
}

static void the_passwords_of_two_sessions_do_not_mix(void **state) {
    struct agent a = started();
    (void)state;
    struct ice_lite old = restarted(&a, "newpeer");
    struct stun_build b = check_as(&a, &old);
    b.pwd = a.il.pwd;
    assert_dropped(&a, &b);
    b = check_as(&a, &a.il);
    b.pwd = old.pwd;
    assert_dropped(&a, &b);
    b = check_as(&a, &a.il); /* the caller's old fragment does not go with our new one */
    snprintf(a.username, sizeof a.username, "%s:%s", a.il.ufrag, REMOTE);
    assert_dropped(&a, &b);
}

static void what_is_no_request_is_malformed(void **state) {
    struct agent a = started();
    struct stun_build b = check(&a);
    (void)state;
    b.type = STUN_BINDING_INDICATION;
    assert_int_equal(send_from(&a, &b, "192.0.2.5:4000", NOW_MS), E_MALFORMED);
    b.type = STUN_BINDING_SUCCESS;
    assert_int_equal(send_from(&a, &b, "192.0.2.5:4000", NOW_MS), E_MALFORMED);
    assert_int_equal(a.res.reply_len, 0);
}

static void the_fragment_is_read_before_the_agent_is_known(void **state) {
    struct agent a = started();
    struct stun_build b = check(&a);
    char out[16];
    (void)state;
    int len = stun_msg_encode(a.request, sizeof a.request, &b);
    assert_int_equal(ice_lite_peek_ufrag(out, sizeof out, a.request, (size_t)len), 8);
    assert_string_equal(out, a.il.ufrag);
    assert_int_equal(ice_lite_peek_ufrag(out, 8, a.request, (size_t)len), E_MALFORMED);
}

static void a_user_name_without_two_parts_has_no_fragment(void **state) {
    static const char *const names[] = {"nocolon", ":remote", ""};
    struct agent a = started();
    struct stun_build b = check(&a);
    char out[16];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        b.username = names[i];
        int len = stun_msg_encode(a.request, sizeof a.request, &b);
        assert_int_equal(ice_lite_peek_ufrag(out, sizeof out, a.request, (size_t)len), E_MALFORMED);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_credentials_are_long_enough_and_new_each_time),
        cmocka_unit_test(a_check_is_answered_with_the_address_that_it_came_from),
        cmocka_unit_test(a_check_without_nomination_selects_nothing),
        cmocka_unit_test(the_latest_nomination_is_selected),
        cmocka_unit_test(only_checks_from_the_selected_address_keep_consent),
        cmocka_unit_test(a_wrong_password_gets_no_reply),
        cmocka_unit_test(a_wrong_user_name_gets_no_reply),
        cmocka_unit_test(nobody_gets_more_than_he_sent),
        cmocka_unit_test(an_unknown_remote_fragment_is_taken_while_none_is_known),
        cmocka_unit_test(a_peer_that_claims_to_be_controlled_hears_487),
        cmocka_unit_test(an_unknown_required_attribute_hears_420_with_its_number),
        cmocka_unit_test(the_old_credentials_work_until_the_new_ones_nominate),
        cmocka_unit_test(a_restart_on_the_same_address_is_a_new_path),
        cmocka_unit_test(a_second_restart_replaces_the_first_and_not_what_works),
        cmocka_unit_test(the_passwords_of_two_sessions_do_not_mix),
        cmocka_unit_test(what_is_no_request_is_malformed),
        cmocka_unit_test(the_fragment_is_read_before_the_agent_is_known),
        cmocka_unit_test(a_user_name_without_two_parts_has_no_fragment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
