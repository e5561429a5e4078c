/* SPDX-License-Identifier: Apache-2.0 */
/* The session against nghttp2 as a server; the bytes are carried by hand. */
#include "apns/apns_session.h"

#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUESTS_MAX 64
#define HEADERS_MAX  16

struct header {
    char name[32], value[256];
    bool never_indexed;
};

/* One request as the server sees it. */
struct seen {
    int32_t id;
    struct header headers[HEADERS_MAX];
    size_t header_count, body_len;
    bool ended;
    uint32_t reset_code;
};

struct reply {
    char body[8192];
    size_t len, at;
};

struct world {
    struct apns_session *client;
    nghttp2_session *server;
    struct seen seen[REQUESTS_MAX];
    size_t seen_count;
    struct reply reply;
    unsigned answered, lost, refused, goaways;
    int status;
    char reason[128], apns_id[64], goaway[256];
    uint64_t timestamp_ms;
    const void *last_tag;
    bool room_inside;
};

/* The server */

static struct seen *seen_of(struct world *w, int32_t id) {
    for (size_t i = 0; i < w->seen_count; i++)
        if (w->seen[i].id == id)
            return &w->seen[i];
    assert_true(w->seen_count < REQUESTS_MAX);
    w->seen[w->seen_count].id = id;
    return &w->seen[w->seen_count++];
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg) {
    struct seen *s = seen_of(arg, frame->hd.stream_id);
    (void)h2;
    assert_true(s->header_count < HEADERS_MAX);
    struct header *h = &s->headers[s->header_count++];
    snprintf(h->name, sizeof h->name, "%.*s", (int)name_len, (const char *)name);
    snprintf(h->value, sizeof h->value, "%.*s", (int)value_len, (const char *)value);
    h->never_indexed = flags & NGHTTP2_NV_FLAG_NO_INDEX;
    return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t len, void *arg) {
    (void)h2;
    (void)flags;
    (void)p;
    seen_of(arg, id)->body_len += len;
    return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *arg) {
    struct world *w = arg;
    (void)h2;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        seen_of(w, frame->hd.stream_id)->reset_code = frame->rst_stream.error_code;
    else if (frame->hd.stream_id && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        seen_of(w, frame->hd.stream_id)->ended = true;
    return 0;
}

static void start_server(struct world *w) {
    nghttp2_session_callbacks *cbs;
    nghttp2_option *option;
    nghttp2_session_callbacks_new(&cbs);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
    assert_int_equal(nghttp2_session_server_new2(&w->server, cbs, w, option), 0);
    nghttp2_session_callbacks_del(cbs);
    nghttp2_option_del(option);
}

static void say_settings(struct world *w, uint32_t streams) {
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams};
    assert_int_equal(nghttp2_submit_settings(w->server, NGHTTP2_FLAG_NONE, &entry, 1), 0);
}

static ssize_t read_reply(nghttp2_session *h2, int32_t id, uint8_t *out, size_t cap, uint32_t *flags,
                          nghttp2_data_source *source, void *arg) {
    struct reply *r = source->ptr;
    (void)h2;
    (void)id;
    (void)arg;
    size_t n = r->len - r->at < cap ? r->len - r->at : cap;
    memcpy(out, r->body + r->at, n);
    r->at += n;
    if (r->at == r->len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv field(const char *name, const char *value) {
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

/* Bytes */

static bool to_server(struct world *w) {
    const uint8_t *p;
    ssize_t n;
    bool any = false;
    while ((n = apns_session_output(w->client, &p)) > 0) {
        assert_int_equal(nghttp2_session_mem_recv(w->server, p, (size_t)n), n);
        any = true;
    }
    return any;
}

static bool to_client(struct world *w) {
    const uint8_t *p;
    ssize_t n;
    bool any = false;
    while ((n = nghttp2_session_mem_send(w->server, &p)) > 0) {
        assert_int_equal(apns_session_input(w->client, p, (size_t)n), 0);
        any = true;
    }
    return any;
}

static void pump(struct world *w) {
    bool any = true;
    while (any) {
        any = to_server(w);
        any = to_client(w) || any;
    }
}

static void respond(struct world *w, int32_t id, const char *status, const char *body) {
    nghttp2_nv nv[] = {field(":status", status), field("apns-id", "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11")};
    nghttp2_data_provider data = {.source.ptr = &w->reply, .read_callback = read_reply};
    w->reply.at = 0;
    w->reply.len = strlen(body);
    memcpy(w->reply.body, body, w->reply.len);
    assert_int_equal(nghttp2_submit_response(w->server, id, nv, 2, *body ? &data : NULL), 0);
    pump(w);
}

/* The client */

static void on_answered(void *tag, const struct apns_answer *a, void *arg) {
    struct world *w = arg;
    w->answered++;
    w->last_tag = tag;
    w->status = a->status;
    w->timestamp_ms = a->timestamp_ms;
    w->room_inside = w->room_inside || apns_session_has_room(w->client, 1);
    snprintf(w->reason, sizeof w->reason, "%s", a->reason);
    snprintf(w->apns_id, sizeof w->apns_id, "%s", a->apns_id);
}

static void on_lost(void *tag, bool refused, void *arg) {
    struct world *w = arg;
    w->lost++;
    w->refused += refused;
    w->last_tag = tag;
}

static void on_goaway(const char *reason, void *arg) {
    struct world *w = arg;
    w->goaways++;
    snprintf(w->goaway, sizeof w->goaway, "%s", reason);
}

static const struct apns_session_ops ops = {on_answered, on_lost, on_goaway};

static const char payload[5001] = "{}";

static struct apns_request request(size_t payload_len) {
    return (struct apns_request){.authority = "api.push.apple.com",
                                 .token = "00ff",
                                 .authorization = "bearer a.b.c",
                                 .topic = "com.example.app.voip",
                                 .push_type = "voip",
                                 .priority = "10",
                                 .expiration = "0",
                                 .apns_id = "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11",
                                 .payload = payload,
                                 .payload_len = payload_len};
}

static int submit(struct world *w, size_t payload_len) {
    struct apns_request r = request(payload_len);
    return apns_session_submit(w->client, &r, w);
}

static int setup(void **state) {
    struct world *w = *state = calloc(1, sizeof *w);
    start_server(w);
    return apns_session_new(&w->client, &ops, w);
}

static int teardown(void **state) {
    struct world *w = *state;
    w->client = apns_session_free(w->client);
    nghttp2_session_del(w->server);
    free(w);
    return 0;
}

/* Up, and the provider token accepted: one request was answered. */
static void prove(struct world *w, uint32_t streams) {
    say_settings(w, streams);
    pump(w);
    assert_int_equal(submit(w, 2), 0);
    pump(w);
    respond(w, w->seen[0].id, "200", "");
    assert_int_equal(w->answered, 1);
    w->answered = 0;
}

static unsigned fill(struct world *w, size_t payload_len) {
    unsigned n = 0;
    while (n < REQUESTS_MAX && submit(w, payload_len) == 0)
        n++;
    return n;
}

static void nothing_goes_out_before_the_settings(void **state) {
    struct world *w = *state;
    say_settings(w, 100);
    to_server(w);
    assert_false(apns_session_ready(w->client));
    assert_false(apns_session_has_room(w->client, 1));
    assert_int_equal(submit(w, 2), E_FULL);
    to_server(w);
    assert_int_equal(w->seen_count, 0);
    pump(w);
    assert_true(apns_session_ready(w->client));
    assert_int_equal(submit(w, 2), 0);
    pump(w);
    assert_int_equal(w->seen_count, 1);
    assert_true(w->seen[0].ended);
}

static void one_stream_until_an_answer_proves_the_token(void **state) {
    static const struct {
        const char *status, *body;
    } no_proof[] = {{"403", "{\"reason\":\"ExpiredProviderToken\"}"},
                    {"429", "{\"reason\":\"TooManyProviderTokenUpdates\"}"},
                    {"503", "{\"reason\":\"ServiceUnavailable\"}"}};
    struct world *w = *state;
    say_settings(w, 100);
    pump(w);
    for (size_t i = 0; i < sizeof no_proof / sizeof *no_proof; i++) {
        assert_int_equal(fill(w, 2), 1);
        pump(w);
        respond(w, w->seen[i].id, no_proof[i].status, no_proof[i].body);
    }
    assert_int_equal(fill(w, 2), 1);
    pump(w);
    respond(w, w->seen[3].id, "400", "{\"reason\":\"BadDeviceToken\"}");
    assert_true(fill(w, 2) > 1);
}

static void the_peers_limit_holds_after_the_proof(void **state) {
    struct world *w = *state;
    prove(w, 5);
    assert_int_equal(fill(w, 2), 5);
    pump(w);
    assert_int_equal(w->seen_count, 6);
    respond(w, w->seen[1].id, "200", "");
    assert_int_equal(fill(w, 2), 1);
    pump(w);
    say_settings(w, 1);
    pump(w);
    for (size_t i = 2; i < 6; i++) {
        respond(w, w->seen[i].id, "200", "");
        assert_int_equal(submit(w, 2), E_FULL);
    }
    respond(w, w->seen[6].id, "200", "");
    assert_int_equal(fill(w, 2), 1);
}

static void no_request_waits_for_the_window(void **state) {
    struct world *w = *state;
    prove(w, 1000);
    /* 65,535 bytes of connection window, 2 of them used by the first request. */
    assert_int_equal(fill(w, 5000), 13);
    assert_true(apns_session_has_room(w->client, 533));
    assert_false(apns_session_has_room(w->client, 534));
    pump(w);
    assert_int_equal(w->seen_count, 14);
    for (size_t i = 1; i < 14; i++) {
        assert_int_equal(w->seen[i].body_len, 5000);
        assert_true(w->seen[i].ended);
    }
    assert_int_equal(submit(w, 5000), E_FULL);
    nghttp2_session_consume_connection(w->server, 40000);
    pump(w);
    assert_int_equal(fill(w, 5000), 8);
}

static void what_was_given_up_gives_its_window_back(void **state) {
    struct world *w = *state;
    prove(w, 1000);
    fill(w, 5000);
    apns_session_forget(w->client, w);
    assert_true(apns_session_has_room(w->client, 5000));
}

static const struct header *find(const struct seen *s, const char *name) {
    for (size_t i = 0; i < s->header_count; i++)
        if (strcmp(s->headers[i].name, name) == 0)
            return &s->headers[i];
    fail_msg("no %s", name);
    return NULL;
}

static void the_request_is_what_apple_describes(void **state) {
    static const char *const order[] = {":method",         ":scheme",        ":path",           ":authority",
                                        "authorization",   "apns-push-type", "apns-topic",      "apns-priority",
                                        "apns-expiration", "apns-id",        "apns-collapse-id"};
    static const char *const value[] = {"POST",
                                        "https",
                                        "/3/device/00ff",
                                        "api.push.apple.com",
                                        "bearer a.b.c",
                                        "voip",
                                        "com.example.app.voip",
                                        "10",
                                        "0",
                                        "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11",
                                        "c1"};
    struct world *w = *state;
    struct apns_request r = request(5000);
    r.collapse_id = "c1";
    say_settings(w, 1);
    pump(w);
    assert_int_equal(apns_session_submit(w->client, &r, w), 0);
    pump(w);
    assert_int_equal(w->seen[0].header_count, sizeof order / sizeof *order);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        assert_string_equal(w->seen[0].headers[i].name, order[i]);
        assert_string_equal(w->seen[0].headers[i].value, value[i]);
    }
    assert_int_equal(w->seen[0].body_len, 5000);
}

static void what_differs_in_every_push_stays_out_of_the_header_table(void **state) {
    static const char *const fresh[] = {":path", "authorization", "apns-expiration", "apns-id", "apns-collapse-id"};
    static const char *const kept[] = {":method", "apns-push-type", "apns-topic", "apns-priority"};
    struct world *w = *state;
    struct apns_request r = request(2);
    size_t table = 0;
    r.collapse_id = "c1";
    say_settings(w, 1);
    pump(w);
    for (size_t i = 0; i < 3; i++) {
        char id[] = "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c1x", token[] = "00fx", expiration[] = "179000000x";
        id[35] = token[3] = expiration[9] = (char)('0' + i);
        r.apns_id = id;
        r.token = token;
        r.expiration = expiration;
        assert_int_equal(apns_session_submit(w->client, &r, w), 0);
        pump(w);
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
            assert_false(find(&w->seen[i], kept[k])->never_indexed);
        for (size_t k = 0; k < sizeof fresh / sizeof *fresh; k++)
            assert_int_equal(find(&w->seen[i], fresh[k])->never_indexed, k < 2 || i > 0);
        if (i > 0)
            assert_int_equal(nghttp2_session_get_hd_inflate_dynamic_table_size(w->server), table);
        table = nghttp2_session_get_hd_inflate_dynamic_table_size(w->server);
        respond(w, w->seen[i].id, "200", "");
    }
    assert_true(table > 0 && table < 1024);
}

static void an_answer_carries_status_reason_time_and_id(void **state) {
    struct world *w = *state;
    prove(w, 5);
    submit(w, 2);
    pump(w);
    respond(w, w->seen[1].id, "410", "{\"reason\":\"Unregistered\",\"timestamp\":1790000000123}");
    assert_int_equal(w->answered, 1);
    assert_ptr_equal(w->last_tag, w);
    assert_int_equal(w->status, 410);
    assert_string_equal(w->reason, "Unregistered");
    assert_int_equal(w->timestamp_ms, 1790000000123);
    assert_string_equal(w->apns_id, "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11");
    assert_true(apns_session_idle(w->client));
}

static void a_body_that_is_no_answer_leaves_the_status(void **state) {
    static const char *const bodies[] = {"rubbish", "[]", "{\"reason\":5,\"timestamp\":\"x\"}", "{\"timestamp\":-1}",
                                         "{\"reason\":\"cut"};
    struct world *w = *state;
    prove(w, 5);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        submit(w, 2);
        pump(w);
        respond(w, w->seen[i + 1].id, "400", bodies[i]);
        assert_int_equal(w->answered, i + 1);
        assert_int_equal(w->status, 400);
        assert_string_equal(w->reason, "");
        assert_int_equal(w->timestamp_ms, 0);
    }
}

static void an_oversized_body_is_cut_and_the_session_goes_on(void **state) {
    static char body[7000];
    struct world *w = *state;
    prove(w, 5);
    snprintf(body, sizeof body, "%-*s", (int)sizeof body - 1, "{\"reason\":\"BadTopic\"}");
    submit(w, 2);
    pump(w);
    respond(w, w->seen[1].id, "400", body);
    assert_int_equal(w->answered, 1);
    assert_int_equal(w->status, 400);
    submit(w, 2);
    pump(w);
    respond(w, w->seen[2].id, "400", "{\"reason\":\"BadTopic\"}");
    assert_string_equal(w->reason, "BadTopic");
}

static void say_goaway(struct world *w, int32_t last, const char *text) {
    nghttp2_submit_goaway(w->server, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, (const uint8_t *)text, strlen(text));
    pump(w);
}

static void goaway_says(struct world *w, const char *text, const char *reason) {
    prove(w, 5);
    say_goaway(w, w->seen[0].id, text);
    assert_int_equal(w->goaways, 1);
    assert_string_equal(w->goaway, reason);
    assert_false(apns_session_ready(w->client));
    assert_int_equal(submit(w, 2), E_CLOSED);
}

static void a_goaway_with_json_tells_the_reason(void **state) {
    goaway_says(*state, "{\"reason\":\"BadCertificateEnvironment\"}", "BadCertificateEnvironment");
}

static void a_goaway_with_text_tells_the_text(void **state) {
    goaway_says(*state, "too many streams", "too many streams");
}

static void a_goaway_may_say_nothing(void **state) {
    goaway_says(*state, "", "");
}

static void a_goaway_with_a_long_text_is_cut(void **state) {
    char text[1000];
    struct world *w = *state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    prove(w, 5);
    say_goaway(w, w->seen[0].id, text);
    assert_int_equal(strlen(w->goaway), 255);
}

static void streams_above_the_last_one_are_refused_and_the_others_answered(void **state) {
    struct world *w = *state;
    prove(w, 5);
    fill(w, 2);
    pump(w);
    say_goaway(w, w->seen[2].id, "");
    assert_int_equal(w->lost, 3);
    assert_int_equal(w->refused, 3);
    assert_false(apns_session_idle(w->client));
    respond(w, w->seen[1].id, "200", "");
    respond(w, w->seen[2].id, "200", "");
    assert_int_equal(w->answered, 2);
    assert_true(apns_session_idle(w->client));
}

static void reset(struct world *w, uint32_t code) {
    prove(w, 5);
    submit(w, 2);
    pump(w);
    nghttp2_submit_rst_stream(w->server, NGHTTP2_FLAG_NONE, w->seen[1].id, code);
    pump(w);
    assert_int_equal(w->lost, 1);
    assert_int_equal(w->answered, 0);
}

static void a_refused_stream_is_refused(void **state) {
    struct world *w = *state;
    reset(w, NGHTTP2_REFUSED_STREAM);
    assert_int_equal(w->refused, 1);
}

static void a_reset_stream_is_lost(void **state) {
    struct world *w = *state;
    reset(w, NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(w->refused, 0);
}

/* RFC 9113 8.1: a server may answer, and then reset with NO_ERROR what it did not read. */
static void an_answer_and_then_a_reset_is_an_answer(void **state) {
    struct world *w = *state;
    nghttp2_settings_entry entries[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 100}};
    nghttp2_submit_settings(w->server, NGHTTP2_FLAG_NONE, entries, 1);
    pump(w);
    assert_int_equal(submit(w, 5000), 0);
    pump(w);
    assert_false(w->seen[0].ended);
    respond(w, w->seen[0].id, "413", "{\"reason\":\"PayloadTooLarge\"}");
    nghttp2_submit_rst_stream(w->server, NGHTTP2_FLAG_NONE, w->seen[0].id, NGHTTP2_NO_ERROR);
    pump(w);
    assert_int_equal(w->answered, 1);
    assert_int_equal(w->lost, 0);
    assert_int_equal(w->status, 413);
    assert_true(apns_session_has_room(w->client, 65435));
}

static void what_was_given_up_is_reset_and_never_told(void **state) {
    struct world *w = *state;
    char *gone = malloc(5000);
    prove(w, 5);
    memset(gone, ' ', 5000);
    struct apns_request r = request(5000);
    r.payload = gone;
    assert_int_equal(apns_session_submit(w->client, &r, &r), 0);
    assert_int_equal(submit(w, 2), 0);
    apns_session_forget(w->client, &r);
    free(gone);
    pump(w);
    assert_int_equal(submit(w, 3), 0);
    pump(w);
    apns_session_forget(w->client, w);
    pump(w);
    assert_int_equal(w->seen[w->seen_count - 2].reset_code, NGHTTP2_CANCEL);
    assert_int_equal(w->answered + w->lost, 0);
    respond(w, w->seen[w->seen_count - 1].id, "200", "");
    assert_int_equal(w->answered, 1);
    assert_true(apns_session_idle(w->client));
}

static void there_is_no_room_inside_a_callback(void **state) {
    struct world *w = *state;
    prove(w, 5);
    assert_false(w->room_inside);
    assert_true(apns_session_has_room(w->client, 1));
}

static void a_drained_session_takes_nothing_but_answers(void **state) {
    struct world *w = *state;
    prove(w, 5);
    submit(w, 2);
    apns_session_drain(w->client);
    assert_int_equal(submit(w, 2), E_CLOSED);
    pump(w);
    respond(w, w->seen[1].id, "200", "");
    assert_int_equal(w->answered, 1);
}

static void a_peer_that_breaks_the_protocol_ends_the_session(void **state) {
    static const uint8_t data_on_stream_0[] = {0, 0, 1, NGHTTP2_DATA, 0, 0, 0, 0, 0, 'x'};
    struct world *w = *state;
    const uint8_t *p;
    ssize_t n;
    prove(w, 5);
    assert_int_equal(apns_session_input(w->client, data_on_stream_0, sizeof data_on_stream_0), 0);
    while ((n = apns_session_output(w->client, &p)) > 0)
        ;
    assert_int_equal(n, E_CLOSED);
}

static void bytes_that_are_no_http2_end_the_session(void **state) {
    static const char rubbish[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    struct world *w = *state;
    const uint8_t *p;
    ssize_t n = 0;
    int err = apns_session_input(w->client, (const uint8_t *)rubbish, sizeof rubbish - 1);
    while (err == 0 && (n = apns_session_output(w->client, &p)) > 0)
        ;
    assert_true(err == E_CLOSED || n == E_CLOSED);
}

static void a_session_with_streams_under_way_can_be_freed(void **state) {
    struct world *w = *state;
    prove(w, 5);
    fill(w, 100);
    to_server(w);
    assert_null(w->client = apns_session_free(w->client));
    assert_int_equal(w->lost, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nothing_goes_out_before_the_settings),
        TEST(one_stream_until_an_answer_proves_the_token),
        TEST(the_peers_limit_holds_after_the_proof),
        TEST(no_request_waits_for_the_window),
        TEST(what_was_given_up_gives_its_window_back),
        TEST(the_request_is_what_apple_describes),
        TEST(what_differs_in_every_push_stays_out_of_the_header_table),
        TEST(an_answer_carries_status_reason_time_and_id),
        TEST(a_body_that_is_no_answer_leaves_the_status),
        TEST(an_oversized_body_is_cut_and_the_session_goes_on),
        TEST(a_goaway_with_json_tells_the_reason),
        TEST(a_goaway_with_text_tells_the_text),
        TEST(a_goaway_may_say_nothing),
        TEST(a_goaway_with_a_long_text_is_cut),
        TEST(streams_above_the_last_one_are_refused_and_the_others_answered),
        TEST(a_refused_stream_is_refused),
        TEST(a_reset_stream_is_lost),
        TEST(an_answer_and_then_a_reset_is_an_answer),
        TEST(what_was_given_up_is_reset_and_never_told),
        TEST(there_is_no_room_inside_a_callback),
        TEST(a_drained_session_takes_nothing_but_answers),
        TEST(a_peer_that_breaks_the_protocol_ends_the_session),
        TEST(bytes_that_are_no_http2_end_the_session),
        TEST(a_session_with_streams_under_way_can_be_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
