/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "gateway/push.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CALL    "11111111-2222-4333-8444-555555555555"
#define PUSH_ID "66666666-7777-4888-8999-aaaaaaaaaaaa"
#define ATTACH  "wss://gate.example.com/v1/attach"
#define TOKEN   "wa_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
#define FFFD    "\xef\xbf\xbd"

static struct push_content content(void) {
    return (struct push_content){.call = CALL,
                                 .push = PUSH_ID,
                                 .handle = "+4930123456",
                                 .name = "Ward 7",
                                 .sent_at_ms = 1790000000000,
                                 .expires_at_ms = 1790000040000,
                                 .attach = ATTACH,
                                 .token = TOKEN};
}

/* The payload, parsed strictly; json_decref it. */
static json_t *payload(const struct push_content *c) {
    char *text = NULL;
    size_t len = 0;
    assert_int_equal(push_payload(&text, &len, c), 0);
    assert_int_equal(strlen(text), len);
    assert_true(len <= APNS_VOIP_PAYLOAD_MAX_BYTES);
    assert_true(utf8_valid(text, len));
    json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    free(text);
    return o;
}

static const char *caller(const json_t *o, const char *field) {
    const json_t *who = json_object_get(json_object_get(o, "wakegate"), "caller");
    const char *text = json_string_value(json_object_get(who, field));
    assert_non_null(text);
    return text;
}

static json_t *data_of(size_t bytes) {
    char *text = malloc(bytes + 1);
    assert_non_null(text);
    memset(text, 'd', bytes);
    text[bytes] = 0;
    json_t *o = json_pack("{s:s}", "x", text);
    free(text);
    return o;
}

static void the_payload_is_what_the_contract_says_and_no_more(void **state) {
    struct push_content c = content();
    (void)state;
    c.video = true;
    c.data = json_pack("{s:s,s:[i,i]}", "room", "12", "list", 1, 2);
    json_t *o = payload(&c);
    json_t *want = json_pack("{s:{},s:{s:i,s:s,s:s,s:{s:s,s:s},s:b,s:I,s:I,s:s,s:s},s:O}", "aps", "wakegate", "v", 1,
                             "call", CALL, "push", PUSH_ID, "caller", "handle", "+4930123456", "name", "Ward 7",
                             "video", 1, "sent_at", (json_int_t)1790000000000, "expires_at", (json_int_t)1790000040000,
                             "attach", ATTACH, "token", TOKEN, "data", c.data);
    assert_true(json_equal(o, want));
    json_decref(want);
    json_decref(o);
    json_decref((json_t *)(uintptr_t)c.data);
}

/* A `sealed` of this many characters. */
static char *sealed_of(size_t chars) {
    char *text = malloc(chars + 1);
    assert_non_null(text);
    memset(text, 's', chars);
    text[chars] = 0;
    return text;
}

static void keys_take_the_room_that_there_is(void **state) {
    char name[PUSH_NAME_BYTES * 2];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    for (size_t bytes = 0; bytes <= PUSH_DATA_MAX_BYTES; bytes += PUSH_DATA_MAX_BYTES / 2) {
        struct push_content c = content();
        c.name = name;
        c.data = data_of(bytes - (bytes ? strlen("{\"x\":\"\"}") : 0));
        char *text = sealed_of(push_room(&c));
        assert_true(strlen(text) > 2000);
        c.sealed = text;
        json_t *o = payload(&c);
        json_t *w = json_object_get(o, "wakegate");
        assert_string_equal(json_string_value(json_object_get(w, "sealed")), text);
        assert_int_equal(strlen(caller(o, "name")), PUSH_NAME_SEALED_BYTES - 1);
        json_decref(o);
        text[strlen(text) - 300] = 0; /* with room left, a name is longer again */
        o = payload(&c);
        assert_true(strlen(caller(o, "name")) > PUSH_NAME_SEALED_BYTES);
        json_decref(o);
        free(text);
        json_decref((json_t *)(uintptr_t)c.data);
    }
}

static void there_may_be_no_room_for_keys(void **state) {
    struct push_content c = content();
    (void)state;
    c.data = data_of(APNS_VOIP_PAYLOAD_MAX_BYTES - 100);
    assert_int_equal(push_room(&c), 0);
    json_decref((json_t *)(uintptr_t)c.data);
}

static void without_data_there_is_an_empty_object(void **state) {
    struct push_content c = content();
    (void)state;
    json_t *o = payload(&c);
    assert_true(json_is_object(json_object_get(o, "data")));
    assert_int_equal(json_object_size(json_object_get(o, "data")), 0);
    assert_true(json_is_false(json_object_get(json_object_get(o, "wakegate"), "video")));
    json_decref(o);
}

static void names_of_every_nasty_kind_come_through(void **state) {
    static const struct {
        const char *name, *shown;
    } names[] = {
        {"", ""},
        {"O'Brien \"the\" <b>", "O'Brien \"the\" <b>"},
        {"back\\slash\\", "back\\slash\\"},
        {"\"},\"aps\":{\"alert\":\"x\"", "\"},\"aps\":{\"alert\":\"x\""},
        {"a\r\nb\tc\x01\x1f\x7f", "a  b c   "},
        {"\xff\xfe name", FFFD FFFD " name"},
        {"\xed\xa0\x80", FFFD FFFD FFFD},
        {"cut\xf0\x9f\x93", "cut" FFFD FFFD FFFD},
        {"\xf0\x9f\x93\x9e \xe8\xad\xb7\xe5\xa3\xab Zo\xc3\xab",
         "\xf0\x9f\x93\x9e \xe8\xad\xb7\xe5\xa3\xab Zo\xc3\xab"},
        {"\\u0000%s%n", "\\u0000%s%n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct push_content c = content();
        c.name = c.handle = names[i].name;
        json_t *o = payload(&c);
        assert_string_equal(caller(o, "name"), names[i].shown);
        assert_string_equal(caller(o, "handle"), names[i].shown);
        assert_int_equal(json_object_size(json_object_get(o, "aps")), 0);
        json_decref(o);
    }
}

static void a_name_of_any_bytes_never_breaks_the_json(void **state) {
    char name[400];
    (void)state;
    srandom(5);
    for (unsigned run = 0; run < 1000; run++) {
        size_t len = (size_t)random() % sizeof name;
        for (size_t i = 0; i < len; i++)
            name[i] = (char)(1 + random() % 255);
        name[len] = 0;
        struct push_content c = content();
        c.name = c.handle = name;
        json_t *o = payload(&c);
        assert_true(strlen(caller(o, "name")) < PUSH_NAME_BYTES);
        json_decref(o);
    }
}

static void a_long_name_is_cut_at_its_limit(void **state) {
    char name[2000];
    struct push_content c = content();
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    c.name = name;
    json_t *o = payload(&c);
    assert_int_equal(strlen(caller(o, "name")), PUSH_NAME_BYTES - 1);
    json_decref(o);
}

static void names_shrink_until_the_payload_fits(void **state) {
    char name[300];
    size_t last = PUSH_NAME_BYTES;
    (void)state;
    memset(name, '"', sizeof name - 1); /* two bytes each in JSON */
    name[sizeof name - 1] = 0;
    for (size_t bytes = 3000; bytes <= 4600; bytes += 100) {
        struct push_content c = content();
        json_t *data = data_of(bytes);
        c.name = c.handle = name;
        c.data = data;
        json_t *o = payload(&c);
        size_t n = strlen(caller(o, "name"));
        assert_true(n <= last && n >= 15);
        assert_int_equal(strlen(caller(o, "handle")), n);
        assert_true(json_equal(json_object_get(o, "data"), data));
        last = n;
        json_decref(o);
        json_decref(data);
    }
    assert_true(last < 64);
}

static void short_names_stay_whole_while_the_long_ones_shrink(void **state) {
    char name[300];
    struct push_content c = content();
    json_t *data = data_of(4600);
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    c.name = name;
    c.handle = "+4930";
    c.data = data;
    json_t *o = payload(&c);
    assert_string_equal(caller(o, "handle"), "+4930");
    assert_true(strlen(caller(o, "name")) < PUSH_NAME_BYTES - 1);
    json_decref(o);
    json_decref(data);
}

static size_t bytes_with_data(size_t bytes, int *err) {
    struct push_content c = content();
    char *text = NULL;
    size_t len = 0;
    json_t *data = data_of(bytes);
    c.data = data;
    *err = push_payload(&text, &len, &c);
    free(*err == 0 ? text : NULL);
    json_decref(data);
    return len;
}

static void the_limit_is_met_to_the_byte(void **state) {
    int err = 0;
    (void)state;
    size_t bytes = APNS_VOIP_PAYLOAD_MAX_BYTES - bytes_with_data(0, &err);
    assert_int_equal(err, 0);
    assert_int_equal(bytes_with_data(bytes, &err), APNS_VOIP_PAYLOAD_MAX_BYTES);
    assert_int_equal(err, 0);
    bytes_with_data(bytes + 1, &err);
    assert_int_equal(err, E_FULL);
}

static void the_largest_data_that_the_api_takes_leaves_room(void **state) {
    char name[300];
    struct push_content c = content();
    json_t *data = data_of(PUSH_DATA_MAX_BYTES);
    (void)state;
    memset(name, '\\', sizeof name - 1);
    name[sizeof name - 1] = 0;
    c.name = c.handle = name;
    c.data = data;
    json_t *o = payload(&c);
    assert_int_equal(strlen(caller(o, "name")), PUSH_NAME_BYTES - 1);
    json_decref(o);
    json_decref(data);
}

static void the_data_of_the_call_server_is_left_as_it_is(void **state) {
    struct push_content c = content();
    json_t *data = json_pack("{s:s,s:f}", "k\"ey", "a\nb", "pi", 3.25);
    (void)state;
    c.data = data;
    json_t *o = payload(&c);
    assert_true(json_equal(json_object_get(o, "data"), data));
    assert_int_equal(data->refcount, 1);
    json_decref(o);
    json_decref(data);
}

static void the_topic_is_the_bundle_and_voip(void **state) {
    char topic[PUSH_TOPIC_BYTES], bundle[256];
    (void)state;
    push_topic(topic, "com.example.vcs");
    assert_string_equal(topic, "com.example.vcs.voip");
    memset(bundle, 'b', 255);
    bundle[255] = 0;
    push_topic(topic, bundle);
    assert_int_equal(strlen(topic), 260);
    assert_string_equal(topic + 255, ".voip");
}

static void assert_attach(const char *public_url, const char *want) {
    char url[PUSH_URL_BYTES];
    assert_int_equal(push_attach_url(url, public_url), 0);
    assert_string_equal(url, want);
}

static void the_attach_url_follows_the_public_one(void **state) {
    (void)state;
    assert_attach("https://gate.example.com", "wss://gate.example.com/v1/attach");
    assert_attach("https://gate.example.com:8443", "wss://gate.example.com:8443/v1/attach");
    assert_attach("http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/attach");
    assert_attach("https://[2001:db8::1]:8443", "wss://[2001:db8::1]:8443/v1/attach");
}

static void the_attach_url_keeps_a_path_and_no_double_slash(void **state) {
    (void)state;
    assert_attach("https://example.com/gate", "wss://example.com/gate/v1/attach");
    assert_attach("https://example.com/gate/", "wss://example.com/gate/v1/attach");
    assert_attach("https://example.com//", "wss://example.com/v1/attach");
}

static void a_public_url_that_is_none_is_refused(void **state) {
    char url[PUSH_URL_BYTES];
    (void)state;
    assert_int_equal(push_attach_url(url, ""), E_INVAL);
    assert_int_equal(push_attach_url(url, "wss://example.com"), E_INVAL);
    assert_int_equal(push_attach_url(url, "example.com"), E_INVAL);
}

static void a_public_url_that_is_too_long_is_refused(void **state) {
    char url[PUSH_URL_BYTES], base[PUSH_URL_BYTES];
    const size_t fits = PUSH_URL_BYTES - sizeof "/v1/attach" + 2; /* two bytes shorter as wss */
    (void)state;
    memset(base, 'h', sizeof base);
    memcpy(base, "https://", 8);
    base[fits] = 0;
    assert_int_equal(push_attach_url(url, base), 0);
    assert_int_equal(strlen(url), PUSH_URL_BYTES - 1);
    base[fits] = 'h';
    base[fits + 1] = 0;
    assert_int_equal(push_attach_url(url, base), E_FULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_payload_is_what_the_contract_says_and_no_more),
        cmocka_unit_test(keys_take_the_room_that_there_is),
        cmocka_unit_test(there_may_be_no_room_for_keys),
        cmocka_unit_test(without_data_there_is_an_empty_object),
        cmocka_unit_test(names_of_every_nasty_kind_come_through),
        cmocka_unit_test(a_name_of_any_bytes_never_breaks_the_json),
        cmocka_unit_test(a_long_name_is_cut_at_its_limit),
        cmocka_unit_test(names_shrink_until_the_payload_fits),
        cmocka_unit_test(short_names_stay_whole_while_the_long_ones_shrink),
        cmocka_unit_test(the_limit_is_met_to_the_byte),
        cmocka_unit_test(the_largest_data_that_the_api_takes_leaves_room),
        cmocka_unit_test(the_data_of_the_call_server_is_left_as_it_is),
        cmocka_unit_test(the_topic_is_the_bundle_and_voip),
        cmocka_unit_test(the_attach_url_follows_the_public_one),
        cmocka_unit_test(the_attach_url_keeps_a_path_and_no_double_slash),
        cmocka_unit_test(a_public_url_that_is_none_is_refused),
        cmocka_unit_test(a_public_url_that_is_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
