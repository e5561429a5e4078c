/* SPDX-License-Identifier: Apache-2.0 */
/* Strangers who send whatever they like to a worker's port: what it costs, and what they get. */
#include "base/bytes.h"
#include "dtls/stun_budget.h"
#include "dtls/stun_msg.h"
#include "tests/peers/peer_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define BURST 50 /* the socket's buffer takes so many */

struct stranger {
    int fd;
    struct addr to;
    unsigned got; /* answers */
};

static int setup(void **state) {
    struct media_config cfg = {.address = "127.0.0.1", .workers = 1, .calls_max = 8, .hold_ms = 500};
    *state = peer_world_new(&cfg);
    return 0;
}

static int teardown(void **state) {
    *state = peer_world_free(*state);
    return 0;
}

/* At another address than the peers'. */
static struct stranger stranger_open(struct peer_world *w, const char *ip) {
    struct stranger s = {.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    struct addr at;
    addr_parse(&at, ip, 0);
    addr_parse(&s.to, "127.0.0.1", media_port(w->media, 0));
    assert_int_equal(bind(s.fd, &at.u.sa, addr_len(&at)), 0);
    return s;
}

static struct media_totals totals(struct peer_world *w) {
    struct media_totals t;
    media_totals(w->media, &t);
    return t;
}

static void send_many(struct peer_world *w, struct stranger *s, const uint8_t *p, size_t len, unsigned count) {
    uint8_t answer[1500];
    for (unsigned i = 0; i < count; i++) {
        uint64_t seen = totals(w).rx_pkts;
        ssize_t sent = sendto(s->fd, p, len, 0, &s->to.u.sa, addr_len(&s->to));
        assert_int_equal(sent, len);
        if (i % BURST == BURST - 1)
            peer_world_until(w, totals(w).rx_pkts > seen);
    }
    peer_world_settle(w, 20);
    while (recv(s->fd, answer, sizeof answer, 0) >= 0)
        s->got++;
}

static size_t check(uint8_t out[static STUN_MSG_MAX_BYTES], const char *ufrag, const char *pwd) {
    char user[64];
    uint8_t txid[STUN_TXID_BYTES];
    random_bytes(txid, sizeof txid);
    snprintf(user, sizeof user, "%s:localfrag", ufrag);
    struct stun_build b = {.type = STUN_BINDING_REQUEST,
                           .txid = txid,
                           .username = user,
                           .use_candidate = true,
                           .ice_controlling = true,
                           .pwd = pwd};
    int len = stun_msg_encode(out, STUN_MSG_MAX_BYTES, &b);
    assert_true(len > 0);
    return (size_t)len;
}

/* The relay goes on as if nothing had been. */
static void still_works(struct peer_world *w) {
    peer_world_hand_over(w, MEDIA_MODE_SDES);
    peer_world_gate(w);
    for (uint16_t seq = 1; seq <= 10; seq++)
        peer_world_send_rtp(&w->caller, 7, seq);
    peer_world_until(w, w->phone.count == 10);
}

static void strangers_cost_a_look_up_and_get_no_answer(void **state) {
    struct peer_world *w = *state;
    static const struct media_far plain = {.ringback = false};
    uint8_t stun[STUN_MSG_MAX_BYTES], rtp[172] = {0x80}, dtls[300] = {22, 0xfe, 0xfd}, other[100] = {64};
    peer_world_call(w, &plain);
    size_t stun_len = check(stun, "nosuchuf", "somepasswordsomepassword");
    struct stranger s = stranger_open(w, "127.0.0.2");
    struct media_totals before = totals(w), after;
    send_many(w, &s, stun, stun_len, 500);
    send_many(w, &s, rtp, sizeof rtp, 500);
    send_many(w, &s, dtls, sizeof dtls, 500);
    send_many(w, &s, other, sizeof other, 500);
    after = totals(w);
    assert_int_equal(s.got, 0);
    assert_true(after.unknown_source_pkts > before.unknown_source_pkts + 1000); /* some get lost on a busy machine */
    assert_true(after.stun_rejected > before.stun_rejected + 300);
    /* No HMAC, no association, no decryption. */
    assert_int_equal(after.stun_checked, before.stun_checked);
    assert_int_equal(after.dtls_handshakes + after.dtls_failed, before.dtls_handshakes + before.dtls_failed);
    assert_int_equal(after.auth_failed_pkts, before.auth_failed_pkts);
    still_works(w);
    close(s.fd);
}

static void who_knows_a_fragment_has_a_budget_and_gets_no_answer(void **state) {
    struct peer_world *w = *state;
    static const struct media_far plain = {.ringback = false};
    uint8_t stun[STUN_MSG_MAX_BYTES];
    uint64_t began_ms = clock_mono_ms();
    peer_world_open(w, &plain);
    size_t len = check(stun, w->far.ufrag, "not the password, by far");
    struct stranger s = stranger_open(w, "127.0.0.2");
    peer_world_until(w, totals(w).calls == 1); /* before it, the fragment is an unknown one */
    struct media_totals before = totals(w), after;
    /* The caller, at another address, comes up in the middle of it. */
    send_many(w, &s, stun, len, 3000);
    after = totals(w);
    uint64_t took_s = (clock_mono_ms() - began_ms) / 1000 + 1;
    uint64_t failed = after.stun_rejected - before.stun_rejected;
    assert_int_equal(s.got, 0);
    assert_true(failed >= STUN_SOURCE_FAILS_BURST);
    assert_true(failed <= STUN_LEG_FAILED_FREE + STUN_SOURCE_FAILS_BURST + took_s * STUN_SOURCE_FAILS_PER_S);
    assert_true(after.stun_over_budget > 1000);
    peer_world_until(w, w->caller.keys && w->seen[MEDIA_EV_FAR_DTLS]);
    still_works(w);
    close(s.fd);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(strangers_cost_a_look_up_and_get_no_answer),
        test(who_knows_a_fragment_has_a_budget_and_gets_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
