/* SPDX-License-Identifier: Apache-2.0 */
/* WebSockets (RFC 6455). */
#include "tests/unit/base/httpd_fixture.h"

static void upgrade(struct world *w) {
    say_text(w, GET_WS("/v1/attach") "Sec-WebSocket-Protocol: " SUBPROTOCOL "\r\n\r\n");
    wait_for(w, has(w, "\r\n\r\n"));
    assert_memory_equal(w->in.p, "HTTP/1.1 101", 12);
    wait_for(w, w->opened == 1);
    buf_reset(&w->in);
}

/* One masked frame (RFC 6455 5.2), of less than 126 bytes. */
static void say_frame(struct world *w, uint8_t first, const char *text) {
    uint8_t frame[256] = {first, (uint8_t)(0x80 | strlen(text)), 1, 2, 3, 4};
    size_t len = strlen(text);
    assert_true(len < 126);
    for (size_t i = 0; i < len; i++)
        frame[6 + i] = (uint8_t)text[i] ^ frame[2 + i % 4];
    say(w, frame, 6 + len);
}

/* RFC 6455 1.3: the answer to the sample's key. */
static void an_upgrade_with_the_subprotocol_opens_a_websocket(void **state) {
    struct world *w = world_new();
    (void)state;
    say_text(w, GET_WS("/v1/attach") "Sec-WebSocket-Protocol: " SUBPROTOCOL "\r\n\r\n");
    wait_for(w, has(w, "\r\n\r\n"));
    assert_true(has(w, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_true(has(w, SUBPROTOCOL));
    world_free(w);
}

static void assert_no_upgrade(const char *request) {
    struct world *w = world_new();
    say_text(w, request);
    wait_for(w, w->eof || has(w, "\r\n\r\n"));
    settle(w, 20);
    assert_false(has(w, "HTTP/1.1 101"));
    assert_int_equal(w->opened, 0);
    world_free(w);
}

static void an_upgrade_without_the_subprotocol_is_refused(void **state) {
    (void)state;
    assert_no_upgrade(GET_WS("/v1/attach") "\r\n");
    assert_no_upgrade(GET_WS("/v1/attach") "Sec-WebSocket-Protocol: chat\r\n\r\n");
    assert_no_upgrade(GET_WS("/v1/attach") "Sec-WebSocket-Protocol: http\r\n\r\n");
}

static void an_upgrade_of_another_path_is_refused(void **state) {
    (void)state;
    assert_no_upgrade(GET_WS("/") "Sec-WebSocket-Protocol: " SUBPROTOCOL "\r\n\r\n");
    assert_no_upgrade(GET_WS("/v1/attach/x") "Sec-WebSocket-Protocol: " SUBPROTOCOL "\r\n\r\n");
}

static void messages_pass_both_ways(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    say_frame(w, 0x81, "hello");
    wait_for(w, w->texts == 1);
    assert_string_equal(w->text, "hello");
    say_frame(w, 0x82, "bin");
    wait_for(w, w->binaries == 1);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "you", 3, false), 0);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "b", 1, true), 0);
    wait_for(w, w->in.len >= 8);
    assert_memory_equal(w->in.p,
                        "\x81\x03you\x82\x01"
                        "b",
                        8);
    world_free(w);
}

static void a_message_in_fragments_comes_whole(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    say_frame(w, 0x01, "one ");
    say_frame(w, 0x00, "two ");
    settle(w, 20);
    assert_int_equal(w->texts, 0);
    say_frame(w, 0x80, "three");
    wait_for(w, w->texts == 1);
    assert_string_equal(w->text, "one two three");
    world_free(w);
}

static void a_message_over_the_limit_closes_with_1009(void **state) {
    char text[MESSAGE_MAX + 2];
    struct world *w = world_new();
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    upgrade(w);
    say_frame(w, 0x81, text);
    wait_for(w, w->in.len >= 4);
    assert_int_equal(w->texts, 0);
    assert_int_equal((uint8_t)w->in.p[0], 0x88);
    assert_int_equal((uint8_t)w->in.p[2] << 8 | (uint8_t)w->in.p[3], 1009);
    say_frame(w, 0x88, "\x03\xf1");
    wait_for(w, w->closed == 1);
    world_free(w);
}

static void what_is_queued_leaves_before_the_close(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "last", 4, false), 0);
    httpd_ws_close(w->httpd, w->ws, 4001, "bye");
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "late", 4, false), E_NOTFOUND);
    wait_for(w, w->in.len >= 13);
    assert_memory_equal(w->in.p,
                        "\x81\x04last\x88\x05\x0f\xa1"
                        "bye",
                        13);
    say_frame(w, 0x88, "\x0f\xa1");
    wait_for(w, w->closed == 1);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "x", 1, false), E_NOTFOUND);
    assert_int_equal(w->closed, 1);
    world_free(w);
}

/* What waited is thrown away; the peer that reads again is told why. */
static void assert_too_slow(struct world *w) {
    static const char close_frame[] = "\x88\x0a\x03\xf0too slow";
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "x", 1, false), E_NOTFOUND);
    wait_for(w, w->in.len >= sizeof close_frame - 1);
    assert_memory_equal(w->in.p, close_frame, sizeof close_frame - 1);
    say_frame(w, 0x88, "\x03\xf0");
    wait_for(w, w->closed == 1);
}

static void a_queue_of_too_many_bytes_closes_the_connection(void **state) {
    static const char big[QUEUE_MAX - 10];
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, big, sizeof big, true), 0);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, big, sizeof big, true), E_FULL);
    assert_too_slow(w);
    world_free(w);
}

static void a_queue_of_too_many_messages_closes_the_connection(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    for (int i = 0; i < QUEUE_MESSAGES; i++)
        assert_int_equal(httpd_ws_send(w->httpd, w->ws, "x", 1, false), 0);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "x", 1, false), E_FULL);
    assert_too_slow(w);
    world_free(w);
}

/* A peer that is told to go, and does not read that. What it says is not heard any more. */
static void a_close_does_not_wait_for_ever(void **state) {
    static const char piece[QUEUE_MAX / 2];
    struct world *w = world_new();
    int err = 0;
    (void)state;
    upgrade(w);
    w->deaf = true;
    uint64_t until = clock_mono_ms() + 30000;
    while (err == 0 && clock_mono_ms() < until) {
        err = httpd_ws_send(w->httpd, w->ws, piece, sizeof piece, true);
        pump(w);
    }
    assert_int_equal(err, E_FULL);
    say_frame(w, 0x81, "one more");
    say_frame(w, 0x82, "bin");
    until = clock_mono_ms() + 30000;
    while (w->closed == 0 && clock_mono_ms() < until)
        pump(w);
    assert_int_equal(w->closed, 1);
    assert_int_equal(w->texts + w->binaries, 0);
    world_free(w);
}

/* The ping behind a message, and what it is good for. */
static void hear_message_and_ping(struct world *w) {
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "one", 3, false), 0);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "two", 3, false), 0);
    wait_for(w, w->in.len >= 13);
    assert_memory_equal(w->in.p, "\x81\x03one\x81\x03two\x89\x01\x01", 13);
    assert_false(httpd_ws_delivered(w->httpd, w->ws));
}

static void a_peer_that_answers_the_ping_got_its_messages(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    assert_true(httpd_ws_delivered(w->httpd, w->ws));
    hear_message_and_ping(w);
    say_frame(w, 0x8a, "p"); /* of no ping of ours */
    settle(w, ANSWER_MS / 3);
    assert_false(httpd_ws_delivered(w->httpd, w->ws));
    say_frame(w, 0x8a, "\x01");
    wait_for(w, httpd_ws_delivered(w->httpd, w->ws));
    settle(w, 2 * ANSWER_MS);
    assert_int_equal(w->closed, 0);
    close(w->fd);
    w->fd = -1;
    wait_for(w, w->closed == 1);
    assert_true(w->delivered);
    world_free(w);
}

static void a_peer_that_is_silent_after_a_message_is_given_up(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    settle(w, 2 * ANSWER_MS); /* nothing was sent, nothing is asked */
    assert_int_equal(w->closed, 0);
    hear_message_and_ping(w);
    uint64_t sent_ms = clock_mono_ms();
    wait_for(w, w->closed == 1);
    assert_true(clock_mono_ms() - sent_ms >= ANSWER_MS / 2);
    assert_false(w->delivered);
    world_free(w);
}

/* Whoever says something is there, whether pongs are among it or not. */
static void a_peer_that_talks_is_not_given_up(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    hear_message_and_ping(w);
    for (int i = 0; i < 6; i++) {
        settle(w, ANSWER_MS / 3);
        say_frame(w, 0x81, "still here");
    }
    wait_for(w, w->texts == 6);
    assert_int_equal(w->closed, 0);
    assert_false(httpd_ws_delivered(w->httpd, w->ws));
    world_free(w);
}

static void a_client_that_goes_away_is_told_once(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    close(w->fd);
    w->fd = -1;
    wait_for(w, w->closed == 1);
    settle(w, 20);
    assert_int_equal(w->closed, 1);
    world_free(w);
}

static void a_silent_peer_is_asked_and_stays_while_it_answers(void **state) {
    struct world *w = world_with_pings(1000);
    (void)state;
    upgrade(w);
    for (int i = 0; i < 3; i++) {
        wait_for(w, w->in.len >= 3);
        assert_int_equal(w->in.len, 3);
        assert_memory_equal(w->in.p, "\x89\x01", 3);
        buf_reset(&w->in);
        say_frame(w, 0x8a, "pong");
    }
    assert_int_equal(w->closed, 0);
    world_free(w);
}

static void a_peer_that_stays_silent_is_given_up(void **state) {
    struct world *w = world_with_pings(100);
    (void)state;
    upgrade(w);
    wait_for(w, w->closed == 1);
    assert_int_equal(w->in.len, 3); /* it was asked once */
    world_free(w);
}

static void one_that_talks_is_not_asked(void **state) {
    struct world *w = world_with_pings(2000);
    (void)state;
    upgrade(w);
    for (unsigned i = 0; i < 25; i++) {
        say_frame(w, 0x81, "still here");
        wait_for(w, w->texts == i + 1);
        settle(w, 100);
    }
    assert_int_equal(w->in.len, 0);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_upgrade_with_the_subprotocol_opens_a_websocket),
        cmocka_unit_test(an_upgrade_without_the_subprotocol_is_refused),
        cmocka_unit_test(an_upgrade_of_another_path_is_refused),
        cmocka_unit_test(messages_pass_both_ways),
        cmocka_unit_test(a_message_in_fragments_comes_whole),
        cmocka_unit_test(a_message_over_the_limit_closes_with_1009),
        cmocka_unit_test(what_is_queued_leaves_before_the_close),
        cmocka_unit_test(a_queue_of_too_many_bytes_closes_the_connection),
        cmocka_unit_test(a_queue_of_too_many_messages_closes_the_connection),
        cmocka_unit_test(a_close_does_not_wait_for_ever),
        cmocka_unit_test(a_peer_that_answers_the_ping_got_its_messages),
        cmocka_unit_test(a_peer_that_is_silent_after_a_message_is_given_up),
        cmocka_unit_test(a_peer_that_talks_is_not_given_up),
        cmocka_unit_test(a_client_that_goes_away_is_told_once),
        cmocka_unit_test(a_silent_peer_is_asked_and_stays_while_it_answers),
        cmocka_unit_test(a_peer_that_stays_silent_is_given_up),
        cmocka_unit_test(one_that_talks_is_not_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
