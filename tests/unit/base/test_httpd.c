/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, replies, what is refused, and what keeps the server from starting. */
#include "tests/unit/base/httpd_fixture.h"

static void a_free_port_is_taken_and_told(void **state) {
    struct world *w = world_new();
    (void)state;
    assert_int_not_equal(addr_port(httpd_address(w->httpd)), 0);
    world_free(w);
}

static void a_get_comes_whole_and_its_reply_goes_back(void **state) {
    struct world *w = world_new();
    (void)state;
    say_text(w, "GET /v1/calls/a%20b?x=1&limit=5 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n");
    wait_for(w, has(w, "hello"));
    assert_int_equal(w->requests, 1);
    assert_string_equal(w->method, "GET");
    assert_string_equal(w->path, "/v1/calls/a b");
    assert_string_equal(w->authorization, "Bearer t");
    assert_true(w->has_arg);
    assert_string_equal(w->arg, "5");
    assert_string_equal(w->body, "");
    assert_memory_equal(w->in.p, "HTTP/1.1 200", 12);
    assert_true(has(w, "content-length: 5\r\n"));
    assert_true(has(w, "content-type: text/plain\r\n"));
    assert_true(has(w, "etag: \"7\"\r\n"));
    world_free(w);
}

static void a_parameter_that_does_not_fit_is_cut(void **state) {
    struct world *w = world_new();
    (void)state;
    say_text(w, "GET /?limit=12345678901234567890123456789012 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(w, has(w, "hello"));
    assert_true(w->has_arg);
    assert_string_equal(w->arg, "1234567890123456789012345678901");
    world_free(w);
}

static void an_absent_parameter_is_told_from_one_with_a_longer_name(void **state) {
    struct world *w = world_new();
    (void)state;
    say_text(w, "GET /?limits=5&xlimit=6 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(w, has(w, "hello"));
    assert_false(w->has_arg);
    assert_string_equal(w->arg, "");
    world_free(w);
}

static void a_body_comes_whole_though_it_was_sent_in_parts(void **state) {
    struct world *w = world_new();
    (void)state;
    say_text(w, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    settle(w, 20);
    assert_int_equal(w->requests, 0);
    say_text(w, "def");
    settle(w, 20);
    say_text(w, "ghi");
    wait_for(w, has(w, "hello"));
    assert_int_equal(w->requests, 1);
    assert_string_equal(w->method, "POST");
    assert_string_equal(w->body, "abcdefghi");
    world_free(w);
}

static void a_connection_serves_one_request_after_the_other(void **state) {
    struct world *w = world_new();
    (void)state;
    for (unsigned i = 1; i <= 3; i++) {
        say_text(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        wait_for(w, w->requests == i && has(w, "hello"));
        buf_reset(&w->in);
    }
    assert_false(w->eof);
    world_free(w);
}

static void a_reply_may_come_later(void **state) {
    struct world *w = world_new();
    (void)state;
    w->keep = true;
    say_text(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(w, w->requests == 1);
    settle(w, 20);
    assert_int_equal(w->in.len, 0);
    httpd_reply(w->httpd, w->id, 204, NULL, NULL, 0, NULL, 0);
    httpd_reply(w->httpd, w->id, 500, NULL, NULL, 0, NULL, 0); /* a second one is none */
    wait_for(w, has(w, "\r\n\r\n"));
    assert_memory_equal(w->in.p, "HTTP/1.1 204", 12);
    assert_false(has(w, "500"));
    world_free(w);
}

static void a_reply_to_a_client_that_went_away_is_harmless(void **state) {
    struct world *w = world_new();
    (void)state;
    w->keep = true;
    say_text(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(w, w->requests == 1);
    close(w->fd);
    w->fd = -1;
    settle(w, 50);
    httpd_reply(w->httpd, w->id, 200, "text/plain", "x", 1, NULL, 0);
    settle(w, 20);
    world_free(w);
}

static void assert_refused(const char *request, int status) {
    char head[32];
    struct world *w = world_new();
    snprintf(head, sizeof head, "HTTP/1.1 %d", status);
    say_text(w, request);
    wait_for(w, has(w, "\r\n\r\n"));
    assert_int_equal(w->requests, 0);
    assert_int_equal(w->refusals, 1);
    assert_int_equal(w->refused_status, status);
    assert_memory_equal(w->in.p, head, strlen(head));
    wait_for(w, w->eof);
    world_free(w);
}

static void a_body_over_the_limit_is_refused_with_413(void **state) {
    (void)state;
    assert_refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65\r\n\r\n", 413);
    assert_refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413);
}

static void a_chunked_body_is_refused_with_411(void **state) {
    (void)state;
    assert_refused("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 411);
}

static void a_post_without_a_length_is_refused_with_411(void **state) {
    (void)state;
    assert_refused("POST / HTTP/1.1\r\nHost: x\r\n\r\n", 411);
}

static void what_keeps_it_from_starting_is_told(void **state) {
    struct world *w = world_new();
    char listen[ADDR_STR_BYTES];
    struct err_text et = {""};
    struct httpd *second = NULL;
    (void)state;
    struct httpd_config cfg = {.loop = &w->loop,
                               .listen = addr_str(listen, httpd_address(w->httpd)),
                               .ws_path = "/",
                               .ws_protocol = SUBPROTOCOL};
    assert_int_equal(httpd_start(&second, &cfg, &et), E_IO);
    assert_non_null(strstr(et.s, listen));
    assert_non_null(strstr(et.s, "cannot listen"));
    cfg.listen = "nowhere";
    assert_int_equal(httpd_start(&second, &cfg, &et), E_MALFORMED);
    cfg.listen = "127.0.0.1:0";
    cfg.certificate_file = cfg.key_file = "/dev/null"; /* there, but no certificate */
    assert_int_equal(httpd_start(&second, &cfg, &et), E_CRYPTO);
    assert_non_null(strstr(et.s, "/dev/null: holds no certificate"));
    assert_null(second);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_free_port_is_taken_and_told),
        cmocka_unit_test(a_get_comes_whole_and_its_reply_goes_back),
        cmocka_unit_test(a_parameter_that_does_not_fit_is_cut),
        cmocka_unit_test(an_absent_parameter_is_told_from_one_with_a_longer_name),
        cmocka_unit_test(a_body_comes_whole_though_it_was_sent_in_parts),
        cmocka_unit_test(a_connection_serves_one_request_after_the_other),
        cmocka_unit_test(a_reply_may_come_later),
        cmocka_unit_test(a_reply_to_a_client_that_went_away_is_harmless),
        cmocka_unit_test(a_body_over_the_limit_is_refused_with_413),
        cmocka_unit_test(a_chunked_body_is_refused_with_411),
        cmocka_unit_test(a_post_without_a_length_is_refused_with_411),
        cmocka_unit_test(what_keeps_it_from_starting_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
