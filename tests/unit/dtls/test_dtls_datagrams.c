/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of datagrams: their size, losses, order, time, data and noise. */
#include "base/clock.h"
#include "tests/unit/dtls/session_fixture.h"

#include <poll.h>

#define PATIENT_MS 3000

/* With retransmissions; OpenSSL's timer runs by the real clock. */
static void settle_with_losses(struct pair *w) {
    uint64_t until = clock_mono_ms() + PATIENT_MS;
    while (!(w->client.connected && w->server.connected) && clock_mono_ms() < until) {
        settle(w);
        poll(NULL, 0, 5);
        dtls_session_tick(w->client.s, NOW_MS + 100);
        dtls_session_tick(w->server.s, NOW_MS + 100);
    }
    settle(w);
}

static void no_datagram_of_a_handshake_is_longer_than_the_mtu(void **state) {
    struct pair *w = pair_connected();
    (void)state;
    assert_in_range(w->client.longest, 1, DTLS_MTU_BYTES);
    assert_in_range(w->server.longest, 1, DTLS_MTU_BYTES);
    pair_free(w);
}

static void no_datagram_of_data_is_longer_than_the_mtu(void **state) {
    static const uint8_t zeros[DTLS_MTU_BYTES + 2];
    struct pair *w = pair_connected();
    size_t most = 0;
    (void)state;
    for (size_t len = 1; len <= sizeof zeros; len++) {
        int err = dtls_session_write(w->client.s, zeros, len);
        assert_true(err == 0 || err == E_FULL);
        most = err == 0 ? len : most;
        settle(w);
        assert_int_equal(w->server.last_len, most);
    }
    assert_in_range(w->client.longest, 1, DTLS_MTU_BYTES);
    assert_in_range(most, DTLS_MTU_BYTES - 64, DTLS_MTU_BYTES);
    pair_free(w);
}

/* Loses `width` datagrams of the handshake together, each such group in turn; no flight here has more than three. */
static void lose_each(size_t width) {
    struct pair *probe = pair_connected();
    size_t sent[2] = {probe->client.sent, probe->server.sent};
    pair_free(probe);
    for (size_t end = 0; end < 2; end++) {
        for (size_t i = 0; i < sent[end]; i += width) {
            struct pair *w = pair_new();
            struct end *e = end ? &w->server : &w->client;
            e->drop_from = i;
            e->drop_to = i + width;
            start(w);
            settle_with_losses(w);
            assert_true(w->client.connected == 1 && w->server.connected == 1);
            assert_memory_equal(w->client.keys.tx, w->server.keys.rx, MEDIA_MASTER_MAX_BYTES);
            assert_int_equal(w->client.closed + w->server.closed, 0);
            assert_in_range(w->client.longest, 1, DTLS_MTU_BYTES);
            assert_in_range(w->server.longest, 1, DTLS_MTU_BYTES);
            pair_free(w);
        }
    }
}

static void any_lost_datagram_is_sent_again(void **state) {
    (void)state;
    lose_each(1);
}

static void a_lost_flight_is_sent_again(void **state) {
    (void)state;
    lose_each(3);
}

static void nothing_is_sent_again_before_its_time(void **state) {
    struct pair *w = pair_new();
    (void)state;
    dtls_session_start(w->client.s, NOW_MS);
    dtls_session_tick(w->client.s, NOW_MS + 1);
    assert_int_equal(w->client.sent, 1);
    poll(NULL, 0, 60);
    dtls_session_tick(w->client.s, NOW_MS + 60);
    assert_int_equal(w->client.sent, 2);
    pair_free(w);
}

static void datagrams_in_the_wrong_order_do_no_harm(void **state) {
    struct pair *w = pair_new();
    (void)state;
    start(w);
    for (int round = 0; round < 6; round++) {
        struct end *ends[] = {&w->client, &w->server};
        for (int i = 0; i < 2; i++) {
            struct end *from = ends[i], *to = ends[1 - i];
            for (size_t a = 0, b = from->out_count; a + 1 < b; a++, b--) {
                struct dgram swap = from->out[a];
                from->out[a] = from->out[b - 1];
                from->out[b - 1] = swap;
            }
            deliver(from, to);
        }
    }
    settle_with_losses(w);
    assert_true(w->client.connected && w->server.connected);
    pair_free(w);
}

static void a_handshake_without_a_peer_is_given_up(void **state) {
    struct pair *w = pair_new();
    (void)state;
    dtls_session_start(w->client.s, NOW_MS);
    dtls_session_tick(w->client.s, NOW_MS + 15000);
    assert_int_equal(w->client.closed, 0);
    dtls_session_tick(w->client.s, NOW_MS + 15001);
    dtls_session_tick(w->client.s, NOW_MS + 15002);
    assert_int_equal(w->client.closed, 1);
    assert_int_equal(w->client.closed_err, E_TIMEOUT);
    assert_int_equal(dtls_session_input(w->client.s, (const uint8_t *)"x", 1, NOW_MS + 15003), E_CLOSED);
    pair_free(w);
}

static void a_connected_session_has_no_deadline(void **state) {
    struct pair *w = pair_connected();
    (void)state;
    dtls_session_tick(w->client.s, NOW_MS + 3600000);
    dtls_session_tick(w->server.s, NOW_MS + 3600000);
    assert_int_equal(w->client.closed + w->server.closed, 0);
    pair_free(w);
}

static void data_passes_both_ways(void **state) {
    struct pair *w = pair_connected();
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"hello", 5), 0);
    settle(w);
    assert_int_equal(w->server.data, 1);
    assert_int_equal(w->server.last_len, 5);
    assert_memory_equal(w->server.last, "hello", 5);
    assert_int_equal(dtls_session_write(w->server.s, (const uint8_t *)"you", 3), 0);
    settle(w);
    assert_int_equal(w->client.data, 1);
    assert_memory_equal(w->client.last, "you", 3);
    pair_free(w);
}

static void data_waits_for_the_handshake(void **state) {
    struct pair *w = pair_new();
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"x", 1), E_STATE);
    dtls_session_start(w->client.s, NOW_MS);
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"x", 1), E_STATE);
    pair_free(w);
}

static void empty_data_is_no_datagram(void **state) {
    struct pair *w = pair_connected();
    size_t before = w->client.sent;
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"", 0), E_FULL);
    assert_int_equal(w->client.sent, before);
    pair_free(w);
}

static void a_replayed_datagram_is_delivered_once(void **state) {
    struct pair *w = pair_connected();
    struct dgram copy;
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"once", 4), 0);
    copy = w->client.out[0];
    settle(w);
    assert_int_equal(dtls_session_input(w->server.s, copy.p, copy.len, NOW_MS), 0);
    assert_int_equal(w->server.data, 1);
    pair_free(w);
}

static void two_records_in_one_datagram_are_both_read(void **state) {
    struct pair *w = pair_connected();
    struct dgram joined;
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"one", 3), 0);
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"two", 3), 0);
    joined = w->client.out[0];
    memcpy(joined.p + joined.len, w->client.out[1].p, w->client.out[1].len);
    joined.len += w->client.out[1].len;
    assert_int_equal(dtls_session_input(w->server.s, joined.p, joined.len, NOW_MS), 0);
    assert_int_equal(w->server.data, 2);
    assert_memory_equal(w->server.last, "two", 3);
    pair_free(w);
}

static void freeing_a_connected_session_tells_the_peer(void **state) {
    struct pair *w = pair_connected();
    (void)state;
    w->client.s = dtls_session_free(w->client.s);
    settle(w);
    assert_int_equal(w->server.closed, 1);
    assert_int_equal(w->server.closed_err, 0);
    assert_false(dtls_session_connected(w->server.s));
    assert_int_equal(dtls_session_write(w->server.s, (const uint8_t *)"x", 1), E_CLOSED);
    assert_int_equal(dtls_session_input(w->server.s, (const uint8_t *)"x", 1, NOW_MS), E_CLOSED);
    pair_free(w);
}

static void forgetting_a_session_is_silent(void **state) {
    struct pair *w = pair_connected();
    size_t before = w->client.sent;
    (void)state;
    w->client.s = dtls_session_forget(w->client.s);
    assert_int_equal(w->client.sent, before);
    assert_int_equal(w->server.closed, 0);
    pair_free(w);
}

static void freeing_an_unfinished_session_is_silent(void **state) {
    struct pair *w = pair_new();
    (void)state;
    dtls_session_start(w->client.s, NOW_MS);
    w->client.s = dtls_session_free(w->client.s);
    assert_int_equal(w->client.sent, 1);
    assert_null(dtls_session_free(NULL));
    pair_free(w);
}

static void noise_does_not_end_a_handshake(void **state) {
    struct pair *w = pair_new();
    uint8_t noise[200];
    (void)state;
    start(w);
    srandom(11);
    for (int i = 0; i < 200; i++) {
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)random();
        noise[0] = (uint8_t)(20 + i % 44); /* RFC 7983: what is taken for DTLS */
        dtls_session_input(w->server.s, noise, 1 + (size_t)i, NOW_MS);
        dtls_session_input(w->client.s, noise, 1 + (size_t)i, NOW_MS);
    }
    settle_with_losses(w);
    assert_true(w->client.connected && w->server.connected);
    pair_free(w);
}

static void noise_does_not_end_an_association(void **state) {
    struct pair *w = pair_connected();
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"word", 4), 0);
    struct dgram good = w->client.out[0];
    w->client.out_count = 0;
    for (size_t i = 0; i < good.len; i++) {
        struct dgram bad = good;
        bad.p[i] ^= 0x40;
        dtls_session_input(w->server.s, bad.p, bad.len, NOW_MS);
        dtls_session_input(w->server.s, good.p, i, NOW_MS);
    }
    assert_int_equal(w->server.data, 0);
    assert_int_equal(w->server.closed, 0);
    assert_int_equal(dtls_session_input(w->server.s, good.p, good.len, NOW_MS), 0);
    assert_int_equal(w->server.data, 1);
    pair_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_datagram_of_a_handshake_is_longer_than_the_mtu),
        cmocka_unit_test(no_datagram_of_data_is_longer_than_the_mtu),
        cmocka_unit_test(any_lost_datagram_is_sent_again),
        cmocka_unit_test(a_lost_flight_is_sent_again),
        cmocka_unit_test(nothing_is_sent_again_before_its_time),
        cmocka_unit_test(datagrams_in_the_wrong_order_do_no_harm),
        cmocka_unit_test(a_handshake_without_a_peer_is_given_up),
        cmocka_unit_test(a_connected_session_has_no_deadline),
        cmocka_unit_test(data_passes_both_ways),
        cmocka_unit_test(data_waits_for_the_handshake),
        cmocka_unit_test(empty_data_is_no_datagram),
        cmocka_unit_test(a_replayed_datagram_is_delivered_once),
        cmocka_unit_test(two_records_in_one_datagram_are_both_read),
        cmocka_unit_test(freeing_a_connected_session_tells_the_peer),
        cmocka_unit_test(forgetting_a_session_is_silent),
        cmocka_unit_test(freeing_an_unfinished_session_is_silent),
        cmocka_unit_test(noise_does_not_end_a_handshake),
        cmocka_unit_test(noise_does_not_end_an_association),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
