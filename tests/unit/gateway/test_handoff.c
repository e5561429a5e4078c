/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/hpke.h"
#include "gateway/handoff.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FP "sha-256 AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89"
#define TRANSPORT                                                                                                      \
    "a=ice-ufrag:Zx9+\r\na=ice-pwd:passwordofatleast22chars\r\na=fingerprint:" FP "\r\na=setup:actpass\r\n"
#define OFFER                                                                                                          \
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" TRANSPORT                                \
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n"                 \
    "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n"

#define EXPIRES_MS 1790000040000

/* One handoff with all that it points to. */
struct world {
    struct handoff h;
    struct sdp *offer;
    struct addr candidates[2];
    struct ice_lite ice;
    struct media_keys keys;
    struct rtp_streams streams;
    struct buf out;
    json_t *json;    /* what was written */
    struct sdp *sdp; /* and the description in it */
};

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    struct err_text et = {""};
    if (!w || sdp_parse(&w->offer, OFFER, strlen(OFFER), &et) != 0)
        return -1;
    addr_parse(&w->candidates[0], "203.0.113.5", 10000);
    addr_parse(&w->candidates[1], "2001:db8::5", 10001);
    w->ice = (struct ice_lite){.ufrag = "gateway8", .pwd = "0123456789abcdef0123456789abcdef"};
    w->keys.profile = MEDIA_PROFILE_AES128_CM_SHA1_80;
    for (size_t i = 0; i < sizeof w->keys.rx; i++) {
        w->keys.rx[i] = (uint8_t)(0x10 + i);
        w->keys.tx[i] = (uint8_t)(0x90 + i);
    }
    w->streams = (struct rtp_streams){.s = {{305419896, 0, 4711}, {4294967295U, 3, 65535}}, .count = 2};
    w->h = (struct handoff){.mode = MEDIA_MODE_TRANSFER,
                            .offer = w->offer,
                            .candidates = w->candidates,
                            .candidate_count = 1,
                            .ice = &w->ice,
                            .phone_ufrag = "phone123",
                            .fingerprint = FP,
                            .keys = &w->keys,
                            .streams = &w->streams,
                            .session_id = 77,
                            .expires_at_ms = EXPIRES_MS};
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    json_decref(w->json);
    sdp_free(w->sdp);
    sdp_free(w->offer);
    buf_wipe(&w->out);
    free(w);
    return 0;
}

static const char *text(const struct world *w, const char *name) {
    const char *s = json_string_value(json_object_get(w->json, name));
    if (!s)
        fail_msg("no text \"%s\"", name);
    return s;
}

static void write_it(struct world *w, enum media_mode mode) {
    struct err_text et = {""};
    json_error_t je;
    w->h.mode = mode;
    if (mode != MEDIA_MODE_TRANSFER)
        w->h.streams = NULL;
    if (handoff_write(&w->out, &w->h, &et) != 0)
        fail_msg("%s", et.s);
    w->json = json_loadb(w->out.p, w->out.len, JSON_REJECT_DUPLICATES, &je);
    if (!w->json)
        fail_msg("%s", je.text);
    const char *sdp = text(w, "sdp");
    if (sdp_parse(&w->sdp, sdp, strlen(sdp), &et) != 0)
        fail_msg("%s", et.s);
}

/* The choice */

struct choice {
    enum config_handoff route[4];
    unsigned route_count;
    enum media_mode device[4];
    unsigned device_count;
};

static enum media_mode chosen_of(struct choice c, bool sealing_key, unsigned without) {
    struct device dev = {.handoff_count = c.device_count, .has_sealing_key = sealing_key};
    struct config_route route = {.handoff = c.route, .handoff_count = c.route_count};
    memcpy(dev.handoff, c.device, sizeof c.device);
    return handoff_choose(&route, &dev, without);
}

static enum media_mode chosen(struct choice c) {
    return chosen_of(c, true, 0);
}

static void the_order_of_the_route_wins(void **state) {
    (void)state;
    assert_int_equal(chosen((struct choice){{CONFIG_HANDOFF_SDES, CONFIG_HANDOFF_TRANSFER, CONFIG_HANDOFF_DTLS},
                                            3,
                                            {MEDIA_MODE_DTLS, MEDIA_MODE_TRANSFER, MEDIA_MODE_SDES},
                                            3}),
                     MEDIA_MODE_SDES);
    assert_int_equal(chosen((struct choice){
                         {CONFIG_HANDOFF_DTLS, CONFIG_HANDOFF_TRANSFER}, 2, {MEDIA_MODE_TRANSFER, MEDIA_MODE_DTLS}, 2}),
                     MEDIA_MODE_DTLS);
}

static void what_the_phone_cannot_do_is_passed_over(void **state) {
    (void)state;
    assert_int_equal(chosen((struct choice){
                         {CONFIG_HANDOFF_TRANSFER, CONFIG_HANDOFF_SDES, CONFIG_HANDOFF_DTLS}, 3, {MEDIA_MODE_DTLS}, 1}),
                     MEDIA_MODE_DTLS);
}

static void sealed_needs_a_key_to_seal_to(void **state) {
    const struct choice c = {{CONFIG_HANDOFF_SEALED, CONFIG_HANDOFF_SDES}, 2, {MEDIA_MODE_SDES, MEDIA_MODE_SEALED}, 2};
    (void)state;
    assert_int_equal(chosen_of(c, true, 0), MEDIA_MODE_SEALED);
    assert_int_equal(chosen_of(c, true, 1U << MEDIA_MODE_SEALED), MEDIA_MODE_SDES);
    assert_int_equal(chosen_of(c, true, 1U << MEDIA_MODE_SEALED | 1U << MEDIA_MODE_SDES), MEDIA_MODE_NONE);
    assert_int_equal(chosen_of(c, false, 0), MEDIA_MODE_SDES);
    assert_int_equal(chosen_of((struct choice){{CONFIG_HANDOFF_SEALED}, 1, {MEDIA_MODE_SEALED}, 1}, false, 0),
                     MEDIA_MODE_NONE);
}

static void nothing_in_common_is_none(void **state) {
    (void)state;
    assert_int_equal(chosen((struct choice){{CONFIG_HANDOFF_TRANSFER}, 1, {MEDIA_MODE_DTLS}, 1}), MEDIA_MODE_NONE);
    assert_int_equal(chosen((struct choice){{CONFIG_HANDOFF_TRANSFER}, 1, {MEDIA_MODE_NONE}, 0}), MEDIA_MODE_NONE);
    assert_int_equal(chosen((struct choice){{CONFIG_HANDOFF_TRANSFER}, 0, {MEDIA_MODE_TRANSFER}, 1}), MEDIA_MODE_NONE);
}

static void keys_are_in_the_object_of_all_modes_but_dtls(void **state) {
    (void)state;
    assert_true(handoff_has_keys(MEDIA_MODE_TRANSFER));
    assert_true(handoff_has_keys(MEDIA_MODE_SEALED));
    assert_true(handoff_has_keys(MEDIA_MODE_SDES));
    assert_false(handoff_has_keys(MEDIA_MODE_DTLS));
    assert_false(handoff_has_keys(MEDIA_MODE_NONE));
}

/* The object */

static void assert_members(const json_t *o, const char *const *names, size_t count) {
    assert_int_equal(json_object_size(o), count);
    for (size_t i = 0; i < count; i++)
        if (!json_object_get(o, names[i]))
            fail_msg("no member \"%s\"", names[i]);
}

static void with_keys_the_object_has_just_the_members_of_the_contract(void **state) {
    static const char *const names[] = {"mode", "sdp", "profile", "rx", "tx", "streams", "media", "ice", "expires_at"};
    struct world *w = *state;
    write_it(w, MEDIA_MODE_TRANSFER);
    assert_members(w->json, names, sizeof names / sizeof *names);
    assert_string_equal(text(w, "mode"), "transfer");
    assert_string_equal(text(w, "profile"), "AES_CM_128_HMAC_SHA1_80");
    assert_int_equal(json_integer_value(json_object_get(w->json, "expires_at")), EXPIRES_MS);
}

static void in_dtls_mode_there_are_no_keys(void **state) {
    static const char *const names[] = {"mode", "sdp", "media", "ice", "expires_at"};
    struct world *w = *state;
    write_it(w, MEDIA_MODE_DTLS);
    assert_members(w->json, names, sizeof names / sizeof *names);
    assert_string_equal(text(w, "mode"), "dtls");
    assert_null(strstr(text(w, "sdp"), "a=crypto"));
    assert_int_equal(w->sdp->media[0].crypto.profile, MEDIA_PROFILE_NONE);
}

static void sdes_has_keys_and_no_streams_yet(void **state) {
    struct world *w = *state;
    write_it(w, MEDIA_MODE_SDES);
    assert_string_equal(text(w, "mode"), "sdes");
    assert_true(json_is_array(json_object_get(w->json, "streams")));
    assert_int_equal(json_array_size(json_object_get(w->json, "streams")), 0);
    assert_non_null(strstr(text(w, "sdp"), "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"));
}

static void assert_key(const struct world *w, const char *name, const uint8_t *want, size_t len) {
    uint8_t got[MEDIA_MASTER_MAX_BYTES + 4];
    const char *s = text(w, name);
    assert_int_equal(b64_decode(got, sizeof got, s, strlen(s)), len);
    assert_memory_equal(got, want, len);
}

static void rx_and_tx_are_the_phones_and_the_description_is_ours(void **state) {
    static const struct {
        enum media_profile profile;
        size_t len;
    } profiles[] = {{MEDIA_PROFILE_AES128_CM_SHA1_80, 30},
                    {MEDIA_PROFILE_AEAD_AES_128_GCM, 28},
                    {MEDIA_PROFILE_AEAD_AES_256_GCM, 44}};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++) {
        buf_reset(&w->out);
        json_decref(w->json);
        w->sdp = sdp_free(w->sdp);
        w->keys.profile = profiles[i].profile;
        write_it(w, MEDIA_MODE_TRANSFER);
        assert_key(w, "rx", w->keys.rx, profiles[i].len);
        assert_key(w, "tx", w->keys.tx, profiles[i].len);
        /* RFC 4568 6.1: a=crypto has what the description's sender protects with, so the phone receives with it. */
        assert_int_equal(w->sdp->media[0].crypto.profile, profiles[i].profile);
        assert_memory_equal(w->sdp->media[0].crypto.master, w->keys.rx, profiles[i].len);
        assert_string_equal(text(w, "profile"), media_profile_info(profiles[i].profile)->sdes);
    }
}

static void the_key_that_the_phone_sends_with_is_not_in_the_description(void **state) {
    struct world *w = *state;
    write_it(w, MEDIA_MODE_TRANSFER);
    assert_non_null(strstr(text(w, "sdp"), text(w, "rx")));
    assert_null(strstr(text(w, "sdp"), text(w, "tx")));
}

static void streams_tell_the_roll_over_counter_of_each_ssrc(void **state) {
    struct world *w = *state;
    write_it(w, MEDIA_MODE_TRANSFER);
    json_t *want =
        json_pack("[{s:I,s:s,s:i,s:i},{s:I,s:s,s:i,s:i}]", "ssrc", (json_int_t)305419896, "direction", "rx", "roc", 0,
                  "seq", 4711, "ssrc", (json_int_t)4294967295, "direction", "rx", "roc", 3, "seq", 65535);
    assert_true(json_equal(json_object_get(w->json, "streams"), want));
    json_decref(want);
}

static void a_full_table_of_streams_fits(void **state) {
    struct world *w = *state;
    for (w->streams.count = 0; w->streams.count < RTP_STREAMS_MAX; w->streams.count++)
        w->streams.s[w->streams.count] = (struct rtp_stream){4294967295U, 4294967295U, 65535};
    write_it(w, MEDIA_MODE_TRANSFER);
    assert_int_equal(json_array_size(json_object_get(w->json, "streams")), RTP_STREAMS_MAX);
    json_t *last = json_array_get(json_object_get(w->json, "streams"), RTP_STREAMS_MAX - 1);
    assert_int_equal(json_integer_value(json_object_get(last, "roc")), 4294967295U);
}

static void before_the_caller_sent_there_are_no_streams(void **state) {
    struct world *w = *state;
    w->streams.count = 0;
    write_it(w, MEDIA_MODE_TRANSFER);
    assert_int_equal(json_array_size(json_object_get(w->json, "streams")), 0);
}

static void media_names_every_candidate_ipv6_without_brackets(void **state) {
    struct world *w = *state;
    w->h.candidate_count = 2;
    write_it(w, MEDIA_MODE_TRANSFER);
    json_t *want = json_pack("[{s:s,s:i},{s:s,s:i}]", "address", "203.0.113.5", "port", 10000, "address", "2001:db8::5",
                             "port", 10001);
    assert_true(json_equal(json_object_get(w->json, "media"), want));
    json_decref(want);
    assert_int_equal(w->sdp->candidate_count, 2);
    assert_true(addr_eq(&w->sdp->candidates[1], &w->candidates[1]));
}

static void ipv6_alone_is_in_the_connection_line(void **state) {
    struct world *w = *state;
    w->h.candidates = &w->candidates[1];
    write_it(w, MEDIA_MODE_SDES);
    assert_non_null(strstr(text(w, "sdp"), "\r\nc=IN IP6 2001:db8::5\r\n"));
    assert_non_null(strstr(text(w, "sdp"), "\r\nm=audio 10001 RTP/SAVPF "));
}

static void ice_says_how_both_call_themselves(void **state) {
    struct world *w = *state;
    write_it(w, MEDIA_MODE_TRANSFER);
    json_t *want = json_pack("{s:s,s:s,s:s}", "ufrag", "gateway8", "pwd", "0123456789abcdef0123456789abcdef",
                             "remote_ufrag", "phone123");
    assert_true(json_equal(json_object_get(w->json, "ice"), want));
    json_decref(want);
    assert_string_equal(w->sdp->ice_ufrag, "gateway8");
    assert_string_equal(w->sdp->ice_pwd, "0123456789abcdef0123456789abcdef");
    assert_true(w->sdp->ice_lite);
}

static void with_keys_the_description_is_savpf_without_dtls(void **state) {
    struct world *w = *state;
    write_it(w, MEDIA_MODE_TRANSFER);
    assert_string_equal(w->sdp->media[0].proto, "RTP/SAVPF");
    assert_int_equal(w->sdp->fingerprint_count, 0);
    assert_int_equal(w->sdp->setup, SDP_SETUP_NONE);
}

static void in_dtls_mode_the_description_offers_a_handshake(void **state) {
    struct world *w = *state;
    w->h.keys = NULL; /* nobody has to make any */
    write_it(w, MEDIA_MODE_DTLS);
    assert_string_equal(w->sdp->media[0].proto, "UDP/TLS/RTP/SAVPF");
    assert_int_equal(w->sdp->fingerprint_count, 1);
    assert_int_equal(w->sdp->setup, SDP_SETUP_ACTPASS);
    assert_true(w->sdp->ice_lite);
}

static void the_callers_codecs_come_in_the_callers_order(void **state) {
    struct world *w = *state;
    write_it(w, MEDIA_MODE_DTLS);
    assert_int_equal(w->sdp->media[0].codec_count, 2);
    assert_string_equal(w->sdp->media[0].codecs[0].name, "opus");
    assert_int_equal(w->sdp->media[0].codecs[0].pt, 111);
    assert_string_equal(w->sdp->media[0].codecs[1].name, "PCMU");
    assert_non_null(strstr(text(w, "sdp"), "a=fmtp:111 useinbandfec=1\r\n"));
}

static void only_codecs_of_the_app_are_offered(void **state) {
    static char pcmu[] = "pcmu", *const codecs[] = {pcmu};
    struct world *w = *state;
    w->h.codecs = codecs;
    w->h.codec_count = 1;
    write_it(w, MEDIA_MODE_SDES);
    assert_int_equal(w->sdp->media[0].codec_count, 1);
    assert_string_equal(w->sdp->media[0].codecs[0].name, "PCMU");
}

static void a_brief_object_has_all_that_is_needed_to_begin(void **state) {
    struct world *w = *state;
    w->h.brief_codecs = 1;
    write_it(w, MEDIA_MODE_SEALED);
    assert_string_equal(text(w, "mode"), "sealed");
    assert_int_equal(w->sdp->media[0].codec_count, 1);
    assert_string_equal(w->sdp->media[0].codecs[0].name, "opus");
    assert_int_equal(w->sdp->media[0].crypto.profile, MEDIA_PROFILE_AES128_CM_SHA1_80);
    assert_memory_equal(w->sdp->media[0].crypto.master, w->keys.rx, 30);
    assert_string_equal(w->sdp->ice_ufrag, "gateway8");
    assert_int_equal(json_array_size(json_object_get(w->json, "streams")), 0);
}

/* The sealed text */

static void the_text_opens_with_the_devices_key_for_this_call_alone(void **state) {
    struct world *w = *state;
    struct device dev = {.id = "iphone-1", .has_sealing_key = true};
    uint8_t mine[HPKE_KEY_BYTES], sealed[4096], object[4096];
    char *text = NULL;
    struct hpke_about about = {.info = "wakegate sealed v1", .aad = "11111111-2222-4333-8444-555555555555/iphone-1"};
    assert_int_equal(hpke_key_new(mine, dev.sealing_key), 0);
    write_it(w, MEDIA_MODE_SEALED);
    assert_int_equal(handoff_seal(&text, &w->out, &dev, "11111111-2222-4333-8444-555555555555"), 0);
    assert_int_equal(strlen(text), handoff_sealed_chars(w->out.len));
    int n = b64url_decode(sealed, sizeof sealed, text, strlen(text));
    assert_int_equal(n, w->out.len + HPKE_OVERHEAD_BYTES);
    assert_int_equal(hpke_open(object, mine, &about, sealed, (size_t)n), 0);
    assert_memory_equal(object, w->out.p, w->out.len);
    about.aad = "11111111-2222-4333-8444-555555555555/iphone-2";
    assert_int_equal(hpke_open(object, mine, &about, sealed, (size_t)n), E_AUTH);
    free(text);
}

static void a_key_that_is_none_is_told(void **state) {
    struct world *w = *state;
    struct device dev = {.id = "iphone-1", .has_sealing_key = true}; /* all zeros: a point of small order */
    char *text = NULL;
    write_it(w, MEDIA_MODE_SEALED);
    assert_int_equal(handoff_seal(&text, &w->out, &dev, "11111111-2222-4333-8444-555555555555"), E_CRYPTO);
    assert_null(text);
}

static void the_length_of_the_text_is_known_before(void **state) {
    char out[B64_BYTES(400)];
    uint8_t zero[400] = {0};
    (void)state;
    for (size_t n = 0; n + HPKE_OVERHEAD_BYTES <= sizeof zero; n++)
        assert_int_equal(handoff_sealed_chars(n), strlen(b64url_encode(out, zero, n + HPKE_OVERHEAD_BYTES)));
}

static void no_codec_of_the_app_is_unsupported_and_leaves_nothing(void **state) {
    static char name[] = "g722", *const codecs[] = {name};
    struct err_text et = {""};
    struct world *w = *state;
    w->h.codecs = codecs;
    w->h.codec_count = 1;
    buf_adds(&w->out, "what was there before");
    assert_int_equal(handoff_write(&w->out, &w->h, &et), E_UNSUPPORTED);
    assert_true(et.s[0]);
    assert_null(w->out.p);
    assert_int_equal(w->out.len, 0);
}

#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_the_route_wins),
        cmocka_unit_test(what_the_phone_cannot_do_is_passed_over),
        cmocka_unit_test(sealed_needs_a_key_to_seal_to),
        cmocka_unit_test(nothing_in_common_is_none),
        cmocka_unit_test(keys_are_in_the_object_of_all_modes_but_dtls),
        case_of(with_keys_the_object_has_just_the_members_of_the_contract),
        case_of(in_dtls_mode_there_are_no_keys),
        case_of(sdes_has_keys_and_no_streams_yet),
        case_of(rx_and_tx_are_the_phones_and_the_description_is_ours),
        case_of(the_key_that_the_phone_sends_with_is_not_in_the_description),
        case_of(streams_tell_the_roll_over_counter_of_each_ssrc),
        case_of(a_full_table_of_streams_fits),
        case_of(before_the_caller_sent_there_are_no_streams),
        case_of(media_names_every_candidate_ipv6_without_brackets),
        case_of(ipv6_alone_is_in_the_connection_line),
        case_of(ice_says_how_both_call_themselves),
        case_of(with_keys_the_description_is_savpf_without_dtls),
        case_of(in_dtls_mode_the_description_offers_a_handshake),
        case_of(the_callers_codecs_come_in_the_callers_order),
        case_of(only_codecs_of_the_app_are_offered),
        case_of(a_brief_object_has_all_that_is_needed_to_begin),
        case_of(the_text_opens_with_the_devices_key_for_this_call_alone),
        case_of(a_key_that_is_none_is_told),
        case_of(the_length_of_the_text_is_known_before),
        case_of(no_codec_of_the_app_is_unsupported_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
