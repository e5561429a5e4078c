/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/attach.h"

#include "dtls/sdp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CALL "11111111-2222-4333-8444-555555555555"
#define PUSH "66666666-7777-4888-8999-aaaaaaaaaaaa"
#define UUID "\"call\":\"" CALL "\""

/* attach_msg_free it. */
static struct attach_msg got(const char *text, enum attach_type type) {
    struct attach_msg m;
    struct err_text et = {""};
    const char *code = NULL;
    if (attach_read(&m, text, strlen(text), &code, &et) != 0)
        fail_msg("%s: %s", code, et.s);
    assert_int_equal(m.type, type);
    return m;
}

static void assert_refused_bytes(const char *text, size_t len, int err, const char *code, const char *sentence) {
    struct attach_msg m;
    struct err_text et = {""};
    const char *got_code = NULL;
    assert_int_equal(attach_read(&m, text, len, &got_code, &et), err);
    assert_string_equal(got_code, code);
    assert_string_equal(et.s, sentence);
    assert_null(m.json);
}

static void assert_bad_field(const char *text, const char *sentence) {
    assert_refused_bytes(text, strlen(text), E_MALFORMED, "bad_field", sentence);
}

static void a_hello_says_who_and_how(void **state) {
    (void)state;
    struct attach_msg m = got("{\"type\":\"hello\",\"device\":\"d1\",\"secret\":\"s\",\"token\":\"t\"," UUID
                              ",\"app_state\":\"background\",\"on_call\":true,\"os_version\":\"26.4\"}",
                              ATTACH_HELLO);
    assert_string_equal(m.device, "d1");
    assert_string_equal(m.secret, "s");
    assert_string_equal(m.token, "t");
    assert_string_equal(m.call, CALL);
    assert_string_equal(m.app_state, "background");
    assert_int_equal(m.on_call, 1);
    assert_string_equal(m.os_version, "26.4");
    attach_msg_free(&m);
}

static void fields_that_a_message_does_not_have_are_empty(void **state) {
    (void)state;
    struct attach_msg m = got("{\"type\":\"hello\",\"device\":\"d1\",\"call\":null}", ATTACH_HELLO);
    assert_string_equal(m.secret, "");
    assert_string_equal(m.token, "");
    assert_string_equal(m.call, "");
    assert_string_equal(m.app_state, "");
    assert_string_equal(m.os_version, "");
    assert_string_equal(m.sdp, "");
    assert_string_equal(m.reason, "");
    assert_int_equal(m.on_call, -1);
    attach_msg_free(&m);
}

static void a_receipt_is_the_one_of_rest(void **state) {
    (void)state;
    struct attach_msg m = got("{\"type\":\"receipt\"," UUID ",\"push\":\"" PUSH
                              "\",\"must_report\":false,\"app_state\":\"active\",\"on_call\":false,"
                              "\"received_at\":\"2026-01-02T03:04:05.678Z\",\"reported\":\"lck\","
                              "\"report_error\":\"e\"}",
                              ATTACH_RECEIPT);
    assert_string_equal(m.call, CALL);
    assert_string_equal(m.receipt.call, CALL);
    assert_string_equal(m.receipt.push, PUSH);
    assert_int_equal(m.receipt.must_report, 0);
    assert_int_equal(m.receipt.on_call, 0);
    assert_int_equal(m.receipt.received_ms, 1767323045678);
    assert_string_equal(m.receipt.app_state, "active");
    assert_string_equal(m.receipt.reported, "lck");
    assert_string_equal(m.receipt.report_error, "e");
    attach_msg_free(&m);
}

static void messages_about_a_call_name_it(void **state) {
    static const struct {
        const char *name;
        enum attach_type type;
    } messages[] = {{"ringing", ATTACH_RINGING},
                    {"answer", ATTACH_ANSWER},
                    {"decline", ATTACH_DECLINE},
                    {"hangup", ATTACH_HANGUP},
                    {"keys_taken", ATTACH_KEYS_TAKEN}};
    char text[128], sentence[64];
    (void)state;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        snprintf(text, sizeof text, "{\"type\":\"%s\"," UUID "}", messages[i].name);
        struct attach_msg m = got(text, messages[i].type);
        assert_string_equal(m.call, CALL);
        attach_msg_free(&m);
        snprintf(text, sizeof text, "{\"type\":\"%s\"}", messages[i].name);
        snprintf(sentence, sizeof sentence, "%s: call is missing", messages[i].name);
        assert_bad_field(text, sentence);
    }
}

static void an_answer_may_bring_a_description(void **state) {
    (void)state;
    struct attach_msg m = got("{\"type\":\"answer\"," UUID ",\"sdp\":\"v=0\\r\\n\"}", ATTACH_ANSWER);
    assert_string_equal(m.sdp, "v=0\r\n");
    attach_msg_free(&m);
    m = got("{\"type\":\"answer\"," UUID "}", ATTACH_ANSWER);
    assert_string_equal(m.sdp, "");
    attach_msg_free(&m);
}

static void media_brings_a_description(void **state) {
    (void)state;
    struct attach_msg m = got("{\"type\":\"media\"," UUID ",\"sdp\":\"v=0\\r\\n\"}", ATTACH_MEDIA);
    assert_string_equal(m.sdp, "v=0\r\n");
    assert_string_equal(m.call, CALL);
    attach_msg_free(&m);
    assert_bad_field("{\"type\":\"media\"," UUID "}", "media: sdp is missing");
    assert_bad_field("{\"type\":\"media\"," UUID ",\"sdp\":\"\"}", "media: sdp must not be empty");
}

static void a_decline_may_say_why(void **state) {
    (void)state;
    struct attach_msg m = got("{\"type\":\"decline\"," UUID ",\"reason\":\"busy\"}", ATTACH_DECLINE);
    assert_string_equal(m.reason, "busy");
    attach_msg_free(&m);
}

static void a_state_is_of_the_phone_and_names_no_call(void **state) {
    (void)state;
    struct attach_msg m = got("{\"type\":\"state\",\"app_state\":\"foreground\",\"on_call\":false}", ATTACH_STATE);
    assert_string_equal(m.app_state, "foreground");
    assert_int_equal(m.on_call, 0);
    assert_string_equal(m.call, "");
    attach_msg_free(&m);
}

static void fields_of_a_newer_phone_are_left_alone(void **state) {
    (void)state;
    struct attach_msg m = got("{\"type\":\"ringing\"," UUID ",\"haptics\":{\"on\":true}}", ATTACH_RINGING);
    attach_msg_free(&m);
}

static void what_is_no_object_is_malformed(void **state) {
    static const char *const bad[] = {"",
                                      "x",
                                      "[]",
                                      "\"hello\"",
                                      "{\"type\":\"hello\"",
                                      "{\"type\":\"ringing\"} x",
                                      "{\"type\":\"state\",\"type\":\"hello\"}",
                                      "{\"type\":\"state\\u0000\"}",
                                      "{\"type\":\"state\",\"app_state\":\"\xff\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused_bytes(bad[i], strlen(bad[i]), E_MALFORMED, "malformed",
                             "a message is one JSON object in a text frame");
}

static void the_frame_ends_at_its_length(void **state) {
    static const char text[] = "{\"type\":\"state\"}";
    (void)state;
    assert_refused_bytes(text, sizeof text - 2, E_MALFORMED, "malformed",
                         "a message is one JSON object in a text frame");
}

static void a_message_without_a_type_is_malformed(void **state) {
    static const char *const bad[] = {"{}", "{\"type\":7}", "{\"type\":null}"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused_bytes(bad[i], strlen(bad[i]), E_MALFORMED, "malformed", "a message needs a type");
}

static void an_unknown_type_has_a_code_of_its_own(void **state) {
    static const char *const bad[] = {"{\"type\":\"welcome\"}", "{\"type\":\"\"}", "{\"type\":\"Hello\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused_bytes(bad[i], strlen(bad[i]), E_UNSUPPORTED, "unknown_type",
                             "this gateway knows no message of that type");
}

static void a_bad_field_is_named(void **state) {
    (void)state;
    assert_bad_field("{\"type\":\"hello\"}", "hello: device is missing");
    assert_bad_field("{\"type\":\"hello\",\"device\":\"\"}", "hello: device must not be empty");
    assert_bad_field("{\"type\":\"hello\",\"device\":\"d\",\"on_call\":1}",
                     "hello: on_call must be true, false or null");
    assert_bad_field("{\"type\":\"hello\",\"device\":\"d\",\"secret\":[]}", "hello: secret must be a string");
    assert_bad_field("{\"type\":\"hangup\",\"call\":7}", "hangup: call must be a string");
    assert_bad_field("{\"type\":\"receipt\"," UUID "}", "receipt: push is missing");
    assert_bad_field("{\"type\":\"receipt\"," UUID ",\"push\":\"" PUSH "\",\"reported\":\"x\"}",
                     "receipt: reported is none of callkit, lck, none");
}

static void assert_limit(const char *field, size_t max) {
    char *text = malloc(max + 128), sentence[64];
    assert_non_null(text);
    for (size_t extra = 0; extra < 2; extra++) {
        struct attach_msg m;
        struct err_text et = {""};
        const char *code = NULL;
        int n = snprintf(text, max + 128, "{\"type\":\"%s\",\"%s\":\"%0*d\",\"%s\":\"x\"}",
                         strcmp(field, "sdp") == 0 ? "answer" : "hello", field, (int)(max + extra), 0,
                         strcmp(field, "sdp") == 0      ? "call"
                         : strcmp(field, "device") == 0 ? "unknown"
                                                        : "device");
        int err = attach_read(&m, text, (size_t)n, &code, &et);
        assert_int_equal(err, extra ? E_MALFORMED : 0);
        if (err == 0)
            attach_msg_free(&m);
        snprintf(sentence, sizeof sentence, "%s: %s has %zu bytes; at most %zu are taken",
                 strcmp(field, "sdp") == 0 ? "answer" : "hello", field, max + extra, max);
        assert_string_equal(et.s, extra ? sentence : "");
    }
    free(text);
}

static void texts_have_limits(void **state) {
    (void)state;
    assert_limit("device", DEVICE_ID_BYTES - 1);
    assert_limit("call", 36);
    assert_limit("secret", 128);
    assert_limit("token", 128);
    assert_limit("app_state", 32);
    assert_limit("os_version", DEVICE_VERSION_BYTES - 1);
    assert_limit("sdp", SDP_MAX_BYTES);
}

static void the_foreground_has_two_names(void **state) {
    (void)state;
    assert_true(attach_is_foreground("foreground"));
    assert_true(attach_is_foreground("active"));
    assert_false(attach_is_foreground("background"));
    assert_false(attach_is_foreground("inactive"));
    assert_false(attach_is_foreground(""));
}

/* Writers */

static void assert_written(struct buf *out, json_t *want) {
    json_t *o = json_loadb(out->p, out->len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    assert_non_null(want);
    char *first = out->p;
    assert_memory_equal(first, "{\"type\":\"", 9);
    if (!json_equal(o, want))
        fail_msg("%s", out->p);
    json_decref(o);
    json_decref(want);
    buf_free(out);
}

static void welcome_names_device_and_node(void **state) {
    struct buf out = {0};
    (void)state;
    attach_write_welcome(&out, "phone \"7\"", "a");
    assert_written(&out, json_pack("{s:s,s:s,s:s}", "type", "welcome", "device", "phone \"7\"", "node", "a"));
}

static struct attach_call ringing_call(void) {
    return (struct attach_call){.call = CALL,
                                .handle = "+49\"30\\",
                                .name = "Zo\xc3\xab\n",
                                .state = "ringing",
                                .video = true,
                                .expires_at_ms = 1790000040000};
}

static void a_call_without_media_has_no_handoff(void **state) {
    struct buf out = {0};
    struct attach_call c = ringing_call();
    (void)state;
    attach_write_call(&out, &c);
    assert_written(&out, json_pack("{s:s,s:s,s:{s:s,s:s},s:b,s:s,s:I}", "type", "call", "call", CALL, "caller",
                                   "handle", "+49\"30\\", "name", "Zo\xc3\xab\n", "video", 1, "state", "ringing",
                                   "expires_at", (json_int_t)1790000040000));
}

static void a_call_carries_its_handoff_as_an_object(void **state) {
    struct buf out = {0}, handoff = {0};
    struct attach_call c = ringing_call();
    (void)state;
    buf_adds(&handoff, "{\"mode\":\"sdes\",\"expires_at\":5}");
    c.handoff = &handoff;
    c.video = false;
    attach_write_call(&out, &c);
    buf_free(&handoff);
    assert_written(&out,
                   json_pack("{s:s,s:s,s:{s:s,s:s},s:b,s:s,s:I,s:{s:s,s:i}}", "type", "call", "call", CALL, "caller",
                             "handle", "+49\"30\\", "name", "Zo\xc3\xab\n", "video", 0, "state", "ringing",
                             "expires_at", (json_int_t)1790000040000, "handoff", "mode", "sdes", "expires_at", 5));
}

static void a_handoff_has_the_objects_fields_beside_the_call(void **state) {
    struct buf out = {0}, handoff = {0};
    (void)state;
    buf_adds(&handoff, "{\"mode\":\"sdes\",\"expires_at\":5}");
    attach_write_handoff(&out, CALL, &handoff);
    buf_free(&handoff);
    assert_written(&out,
                   json_pack("{s:s,s:s,s:s,s:i}", "type", "handoff", "call", CALL, "mode", "sdes", "expires_at", 5));
}

static void answered_elsewhere_names_the_call(void **state) {
    struct buf out = {0};
    (void)state;
    attach_write_elsewhere(&out, CALL);
    assert_written(&out, json_pack("{s:s,s:s}", "type", "answered_elsewhere", "call", CALL));
}

static void ended_says_why(void **state) {
    struct buf out = {0};
    (void)state;
    attach_write_ended(&out, CALL, "no_answer");
    assert_written(&out, json_pack("{s:s,s:s,s:s}", "type", "ended", "call", CALL, "reason", "no_answer"));
}

static void an_error_has_a_code_and_a_sentence(void **state) {
    struct buf out = {0};
    (void)state;
    attach_write_error(&out, "bad_field", "hello: \"device\"\tis missing");
    assert_written(&out, json_pack("{s:s,s:s,s:s}", "type", "error", "code", "bad_field", "detail",
                                   "hello: \"device\"\tis missing"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hello_says_who_and_how),
        cmocka_unit_test(fields_that_a_message_does_not_have_are_empty),
        cmocka_unit_test(a_receipt_is_the_one_of_rest),
        cmocka_unit_test(messages_about_a_call_name_it),
        cmocka_unit_test(an_answer_may_bring_a_description),
        cmocka_unit_test(media_brings_a_description),
        cmocka_unit_test(a_decline_may_say_why),
        cmocka_unit_test(a_state_is_of_the_phone_and_names_no_call),
        cmocka_unit_test(fields_of_a_newer_phone_are_left_alone),
        cmocka_unit_test(what_is_no_object_is_malformed),
        cmocka_unit_test(the_frame_ends_at_its_length),
        cmocka_unit_test(a_message_without_a_type_is_malformed),
        cmocka_unit_test(an_unknown_type_has_a_code_of_its_own),
        cmocka_unit_test(a_bad_field_is_named),
        cmocka_unit_test(texts_have_limits),
        cmocka_unit_test(the_foreground_has_two_names),
        cmocka_unit_test(welcome_names_device_and_node),
        cmocka_unit_test(a_call_without_media_has_no_handoff),
        cmocka_unit_test(a_call_carries_its_handoff_as_an_object),
        cmocka_unit_test(a_handoff_has_the_objects_fields_beside_the_call),
        cmocka_unit_test(answered_elsewhere_names_the_call),
        cmocka_unit_test(ended_says_why),
        cmocka_unit_test(an_error_has_a_code_and_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
