/* SPDX-License-Identifier: Apache-2.0 */
/* Replies without an end. */
#include "tests/unit/base/httpd_fixture.h"

static struct world *streaming(const char *method) {
    struct world *w = world_new();
    char request[64];
    w->streams = true;
    snprintf(request, sizeof request, "%s / HTTP/1.1\r\nHost: x\r\n\r\n", method);
    say_text(w, request);
    wait_for(w, has(w, "\r\n\r\n"));
    return w;
}

static void a_stream_goes_out_as_it_comes_and_ends_with_the_connection(void **state) {
    struct world *w = streaming("GET");
    (void)state;
    assert_true(has(w, "content-type: text/event-stream\r\n") && has(w, "etag: \"7\"\r\n"));
    assert_false(has(w, "content-length"));
    settle(w, 20);
    buf_reset(&w->in);
    for (size_t n = 1; n <= 3; n++) {
        w->to_write = 100;
        httpd_stream_wake(w->httpd, w->id);
        wait_for(w, w->in.len == n * 102400);
        settle(w, 10);
    }
    assert_false(w->eof);
    w->to_write = 100;
    httpd_stream_end(w->httpd, w->id);
    wait_for(w, w->eof);
    assert_int_equal(w->in.len, 409600);
    assert_int_equal(w->stream_closed, 1);
    httpd_stream_wake(w->httpd, w->id); /* a stale id is harmless */
    httpd_stream_end(w->httpd, w->id);
    httpd_stream_cut(w->httpd, w->id);
    world_free(w);
}

static void a_stream_waits_for_a_reader_that_does_not_read(void **state) {
    struct world *w = streaming("GET");
    (void)state;
    w->to_write = 65536; /* 64 MiB */
    httpd_stream_wake(w->httpd, w->id);
    for (int i = 0; i < 200; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        usleep(200);
    }
    assert_true(w->written < 8000000); /* what two kernels' buffers have room for */
    assert_int_equal(w->stream_closed, 0);
    httpd_stream_cut(w->httpd, w->id);
    wait_for(w, w->stream_closed == 1);
    world_free(w);
}

static void a_reader_that_leaves_is_found_out(void **state) {
    struct world *w = streaming("GET");
    (void)state;
    httpd_stream_check(w->httpd, w->id);
    settle(w, 20);
    assert_int_equal(w->stream_closed, 0);
    close(w->fd);
    w->fd = -1;
    settle(w, 20);
    httpd_stream_check(w->httpd, w->id);
    wait_for(w, w->stream_closed == 1);
    world_free(w);
}

static void a_head_request_gets_the_head_of_a_stream(void **state) {
    struct world *w = streaming("HEAD");
    (void)state;
    w->to_write = 1;
    wait_for(w, w->eof);
    assert_true(has(w, "text/event-stream"));
    assert_false(has(w, "piece"));
    assert_int_equal(w->stream_closed, 1);
    world_free(w);
}

static void a_stream_is_closed_with_the_server(void **state) {
    struct world *w = streaming("GET");
    unsigned *closed = &w->stream_closed;
    (void)state;
    httpd_close(w->httpd, on_done, w);
    assert_int_equal(*closed, 1);
    wait_for(w, w->done);
    close(w->fd);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    buf_free(&w->in);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_goes_out_as_it_comes_and_ends_with_the_connection),
        cmocka_unit_test(a_stream_waits_for_a_reader_that_does_not_read),
        cmocka_unit_test(a_reader_that_leaves_is_found_out),
        cmocka_unit_test(a_head_request_gets_the_head_of_a_stream),
        cmocka_unit_test(a_stream_is_closed_with_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
