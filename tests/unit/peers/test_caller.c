/* SPDX-License-Identifier: Apache-2.0 */
/* The caller against a small gateway: the real HTTP server and media plane, and a callee that picks up at once. */
#include "base/clock.h"
#include "base/httpd.h"
#include "dtls/media.h"
#include "tests/peers/caller.h"
#include "tests/peers/caller_offer.h"
#include "tests/peers/caller_report.h"
#include "tests/peers/peer_json.h"
#include "tests/peers/peer_media.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CALL_ID "0b5f4f0c-3c55-4a3e-9a6f-0123456789ab"
#define UFRAG   "phonefrag"
#define PWD     "phonepasswordphonepassword"

struct world {
    uv_poll_t poll;
    struct media *media;
    media_id id;
    struct sdp *offer;
    struct peer_media *phone;
    const char *state, *reason;
    bool to_near, to_far, refuse;
    struct caller_config cfg;
    struct caller_result result;
    json_t *timeline;
};

/* One server for all tests: the callers' connections stay open between them. */
static uv_loop_t loop;
static struct httpd *server;
static struct world *world;

/* The gateway */

static void reply(http_id id, int status, json_t *body) {
    char *text = json_dumps(body, JSON_COMPACT);
    httpd_reply(server, id, status, "application/json", text, strlen(text), NULL, 0);
    free(text);
    json_decref(body);
}

static void end(struct world *w, const char *reason) {
    w->state = "ended";
    w->reason = reason;
    if (w->phone)
        peer_media_close(w->phone, NULL, NULL);
    w->phone = NULL;
    if (w->id)
        media_close(w->media, w->id);
    w->id = 0;
}

static void pick_up(struct world *w) {
    struct media_near near = {.mode = MEDIA_MODE_SDES};
    struct media_keys keys;
    media_keys_random(&keys, MEDIA_PROFILE_AES128_CM_SHA1_80);
    ice_lite_init(&near.ice);
    strcpy(near.ice.remote_ufrag, UFRAG);
    near.keys.profile = keys.profile;
    memcpy(near.keys.rx, keys.tx, sizeof keys.tx);
    memcpy(near.keys.tx, keys.rx, sizeof keys.rx);
    struct peer_endpoint_params p = {.local_ufrag = UFRAG,
                                     .local_pwd = PWD,
                                     .remote_ufrag = near.ice.ufrag,
                                     .remote_pwd = near.ice.pwd,
                                     .keys = &keys};
    addr_parse(&p.remote, "127.0.0.1", media_port(w->media, 0));
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    assert_int_equal(peer_media_new(&w->phone, &loop, w->offer, &p, 880, NULL), 0);
    peer_media_play(w->phone);
    media_gate(w->media, w->id);
    w->state = "answered";
}

static void create(struct world *w, const struct httpd_request *r) {
    struct media_far far = {.worker = 0};
    struct buf answer = {0};
    struct addr at;
    struct err_text et = {""};
    json_t *body = json_loadb(r->body, r->body_len, 0, NULL), *reply_body = json_object();
    const char *text = peer_text(body, "offer");
    w->state = "ringing";
    if (*text) {
        assert_int_equal(sdp_parse(&w->offer, text, strlen(text), &et), 0);
        assert_int_equal(sdp_check_offer(w->offer, &et), 0);
        ice_lite_init(&far.ice);
        strcpy(far.ice.remote_ufrag, w->offer->ice_ufrag);
        far.dtls_client = sdp_answer_setup(w->offer) == SDP_SETUP_ACTIVE;
        memcpy(far.fingerprints, w->offer->fingerprints, sizeof far.fingerprints);
        far.fingerprint_count = w->offer->fingerprint_count;
        addr_parse(&at, "127.0.0.1", media_port(w->media, 0));
        struct sdp_local l = {.candidates = &at,
                              .candidate_count = 1,
                              .ufrag = far.ice.ufrag,
                              .pwd = far.ice.pwd,
                              .fingerprint = media_fingerprint(w->media, 0),
                              .setup = sdp_answer_setup(w->offer)};
        assert_int_equal(sdp_write_answer(&answer, w->offer, &l, &et), 0);
        assert_int_equal(media_open(w->media, &far, &w->id), 0);
        json_object_set_new(reply_body, "answer", json_string(answer.p));
        buf_free(&answer);
    } else {
        w->state = "answered";
    }
    json_object_set_new(reply_body, "id", json_string(CALL_ID));
    json_object_set_new(reply_body, "state", json_string(w->state));
    reply(r->id, 201, reply_body);
    json_decref(body);
}

static void on_request(const struct httpd_request *r, void *arg) {
    struct world *w = world;
    (void)arg;
    if (w->refuse) {
        reply(r->id, 422,
              json_pack("{s:i,s:s,s:s}", "status", 422, "field", "callee", "detail", "nobody by that name"));
    } else if (strcmp(r->method, "POST") == 0) {
        create(w, r);
    } else if (strcmp(r->method, "DELETE") == 0) {
        end(w, "completed");
        httpd_reply(server, r->id, 204, NULL, NULL, 0, NULL, 0);
    } else if (strcmp(r->path, "/v1/calls/" CALL_ID "/timeline") == 0) {
        reply(r->id, 200,
              json_pack("[{s:s,s:i,s:s},{s:s,s:i,s:s,s:s,s:b}]", "at", "x", "offset_us", 0, "event", "request", "at",
                        "x", "offset_us", 12345, "event", "receipt", "device", "iphone-1", "must_report", 1));
    } else {
        reply(r->id, 200, json_pack("{s:s,s:s*}", "state", w->state, "reason", w->reason));
    }
}

static void on_media(uv_poll_t *h, int status, int events) {
    struct world *w = h->data;
    struct media_event ev;
    (void)status;
    (void)events;
    while (media_poll(w->media, &ev) == 0) {
        if (ev.kind == MEDIA_EV_FAR_DTLS && !w->phone)
            pick_up(w);
        w->to_near = w->to_near || ev.kind == MEDIA_EV_FIRST_TO_NEAR;
        w->to_far = w->to_far || ev.kind == MEDIA_EV_FIRST_TO_FAR;
        if (ev.kind == MEDIA_EV_PEER_CLOSED && !ev.u.near)
            end(w, "completed");
        if (w->to_near && w->to_far && strcmp(w->state, "answered") == 0)
            w->state = "active";
    }
}

static int start_server(void **state) {
    struct err_text et = {""};
    (void)state;
    uv_loop_init(&loop);
    struct httpd_config hc = {.loop = &loop,
                              .listen = "127.0.0.1:0",
                              .body_max_bytes = 65536,
                              .message_max_bytes = 65536,
                              .queue_max_bytes = 65536,
                              .queue_max_messages = 64,
                              .request = on_request};
    return httpd_start(&server, &hc, &et);
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof *w);
    struct media_config mc = {.address = "127.0.0.1", .workers = 1, .calls_max = 16, .hold_ms = 500};
    struct err_text et = {""};
    *state = w;
    world = w;
    assert_int_equal(media_start(&w->media, &mc, &et), 0);
    uv_poll_init(&loop, &w->poll, media_fd(w->media));
    w->poll.data = w;
    uv_poll_start(&w->poll, UV_READABLE, on_media);
    char at[ADDR_STR_BYTES];
    snprintf(w->cfg.api.base, sizeof w->cfg.api.base, "http://%s", addr_str(at, httpd_address(server)));
    w->cfg.callee = "nurse-7";
    w->cfg.handle = "+15550100";
    w->cfg.name = "Ward 3";
    w->cfg.setup = SDP_SETUP_ACTPASS;
    w->cfg.codec = PEER_CODEC_PCMU;
    w->cfg.tone_hz = 440;
    w->cfg.expect_hz = 880;
    w->cfg.duration_ms = 800;
    w->cfg.timeout_ms = 5000;
    w->cfg.look_ms = 20;
    return dtls_identity_new(&w->cfg.identity, &et);
}

static int teardown(void **state) {
    struct world *w = *state;
    media_stop(w->media);
    sdp_free(w->offer);
    dtls_identity_free(w->cfg.identity);
    json_decref(w->timeline);
    free(w);
    return 0;
}

static void on_poll_closed(uv_handle_t *h) {
    uv_stop(h->loop);
}

static void on_done(const struct caller_result *r, void *arg) {
    struct world *w = arg;
    w->result = *r;
    w->timeline = json_incref(r->timeline);
    if (w->state && strcmp(w->state, "ended") != 0)
        end(w, "error");
    uv_close((uv_handle_t *)&w->poll, on_poll_closed);
}

static const struct caller_result *call(struct world *w) {
    struct caller *c;
    assert_int_equal(caller_start(&c, &loop, &w->cfg, on_done, w), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (!w->result.ok)
        print_message("%s\n", w->result.failure.s);
    return &w->result;
}

static void expect_good(const struct caller_result *r) {
    assert_true(r->ok && r->answered && r->active && r->heard_expected);
    assert_true(r->rx_pkts > 10 && r->tx_pkts > 10);
    assert_true(r->created_us > 0 && r->dtls_us >= r->created_us && r->first_packet_us >= r->dtls_us);
    assert_string_equal(r->id, CALL_ID);
    assert_string_equal(r->state, "ended");
    assert_string_equal(r->reason, "completed");
}

static void a_call_is_heard_and_deleted(void **state) {
    struct world *w = *state;
    w->cfg.timeline = true;
    expect_good(call(w));
    assert_int_equal(json_array_size(w->timeline), 2);
}

static void a_passive_offer_makes_us_the_dtls_server(void **state) {
    struct world *w = *state;
    w->cfg.setup = SDP_SETUP_PASSIVE;
    w->cfg.hangup = CALLER_CLOSES_DTLS;
    expect_good(call(w));
}

static void an_active_opus_offer_works(void **state) {
    struct world *w = *state;
    w->cfg.setup = SDP_SETUP_ACTIVE;
    w->cfg.codec = PEER_CODEC_OPUS;
    expect_good(call(w));
}

static void a_wrong_tone_is_told(void **state) {
    struct world *w = *state;
    w->cfg.expect_hz = 1000;
    const struct caller_result *r = call(w);
    assert_false(r->ok);
    assert_non_null(strstr(r->failure.s, "880 Hz was heard"));
}

static void a_call_without_media_is_answered(void **state) {
    struct world *w = *state;
    w->cfg.no_media = true;
    w->cfg.duration_ms = 10;
    const struct caller_result *r = call(w);
    assert_true(r->ok && r->answered && !r->active);
}

static void a_call_that_the_callee_never_ends_is_given_up(void **state) {
    struct world *w = *state;
    w->cfg.hangup = CALLER_NEVER;
    w->cfg.timeout_ms = 700;
    const struct caller_result *r = call(w);
    assert_false(r->ok);
    assert_non_null(strstr(r->failure.s, "did not end within 700 ms"));
    assert_string_equal(r->state, "ended");
}

static void a_refusal_is_told_with_its_field(void **state) {
    struct world *w = *state;
    w->refuse = true;
    const struct caller_result *r = call(w);
    assert_false(r->ok);
    assert_string_equal(r->failure.s, "POST /v1/calls answered 422, field callee: nobody by that name");
}

/* Without a gateway */

static void the_offer_is_one_that_a_gateway_takes(void **state) {
    static const enum sdp_setup setups[] = {SDP_SETUP_ACTPASS, SDP_SETUP_ACTIVE, SDP_SETUP_PASSIVE};
    struct err_text et = {""};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct buf text = {0};
        struct sdp *sdp = NULL;
        struct caller_offer o = {.ufrag = "abcdefgh",
                                 .pwd = "0123456789012345678901",
                                 .fingerprint = "sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:"
                                                "14:15:16:17:18:19:1A:1B:1C:1D:1E:1F",
                                 .setup = setups[i],
                                 .first = i == 0 ? PEER_CODEC_OPUS : PEER_CODEC_PCMU,
                                 .session_id = 1};
        caller_offer_write(&text, &o);
        assert_int_equal(sdp_parse(&sdp, text.p, text.len, &et), 0);
        assert_int_equal(sdp_check_offer(sdp, &et), 0);
        assert_int_equal(sdp->setup, setups[i]);
        assert_int_equal(sdp->fingerprint_count, 1);
        assert_int_equal(sdp->media[0].codec_count, 2);
        assert_string_equal(sdp->media[0].codecs[0].name, i == 0 ? "opus" : "PCMU");
        sdp_free(sdp);
        buf_free(&text);
    }
}

static void percentiles_are_of_the_nearest_rank(void **state) {
    uint64_t samples[100], one = 7;
    (void)state;
    for (unsigned i = 0; i < 100; i++)
        samples[i] = 100 - i;
    assert_int_equal(caller_percentile(samples, 100, 50), 50);
    assert_int_equal(caller_percentile(samples, 100, 99), 99);
    assert_int_equal(caller_percentile(samples, 100, 100), 100);
    assert_int_equal(caller_percentile(samples, 100, 0), 1);
    assert_int_equal(caller_percentile(&one, 1, 50), 7);
    assert_int_equal(caller_percentile(NULL, 0, 50), 0);
}

static void the_timeline_is_a_table(void **state) {
    char *text = NULL;
    size_t len;
    (void)state;
    FILE *out = open_memstream(&text, &len);
    struct caller_result r = {.id = CALL_ID, .state = "ended", .reason = "completed"};
    r.timeline = json_pack("[{s:s,s:i,s:s},{s:s,s:i,s:s,s:s,s:b,s:s}]", "at", "x", "offset_us", 0, "event", "request",
                           "at", "x", "offset_us", 1234567, "event", "caller_dtls", "profile", "AEAD_AES_128_GCM",
                           "near", 0, "detail", "two words");
    caller_print_timeline(out, &r);
    fclose(out);
    assert_string_equal(text, "call " CALL_ID ": ended, completed\n\n"
                              "        ms  event\n"
                              "       0.0  request\n"
                              "    1234.6  caller_dtls  profile=AEAD_AES_128_GCM near=false detail=\"two words\"\n\n");
    json_decref(r.timeline);
    free(text);
}

#define with_gateway(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        with_gateway(a_call_is_heard_and_deleted),
        with_gateway(a_passive_offer_makes_us_the_dtls_server),
        with_gateway(an_active_opus_offer_works),
        with_gateway(a_wrong_tone_is_told),
        with_gateway(a_call_without_media_is_answered),
        with_gateway(a_call_that_the_callee_never_ends_is_given_up),
        with_gateway(a_refusal_is_told_with_its_field),
        cmocka_unit_test(the_offer_is_one_that_a_gateway_takes),
        cmocka_unit_test(percentiles_are_of_the_nearest_rank),
        cmocka_unit_test(the_timeline_is_a_table),
    };
    return cmocka_run_group_tests(tests, start_server, NULL);
}
