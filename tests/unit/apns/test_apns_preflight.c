/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_preflight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct apns_push good(void) {
    return (struct apns_push){.token = "00ff",
                              .apns_id = "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11",
                              .topic = "com.example.app.voip",
                              .type = APNS_TYPE_VOIP,
                              .priority = 10,
                              .payload = "{}",
                              .payload_len = 2};
}

static struct apns_push alert(void) {
    struct apns_push p = good();
    p.type = APNS_TYPE_ALERT;
    p.topic = "com.example.app";
    return p;
}

static void passes(const struct apns_push *p) {
    struct err_text et = {""};
    if (apns_preflight(p, &et) != 0)
        fail_msg("%s", et.s);
}

/* The sentence starts with the field's name and a colon. */
static void names(const struct apns_push *p, const char *field) {
    struct err_text et = {""};
    assert_int_equal(apns_preflight(p, &et), E_INVAL);
    if (strncmp(et.s, field, strlen(field)) != 0 || et.s[strlen(field)] != ':')
        fail_msg("\"%s\" does not name %s", et.s, field);
}

static void a_good_push_of_each_type_passes(void **state) {
    struct apns_push p = good();
    (void)state;
    passes(&p);
    p = alert();
    passes(&p);
    p.type = APNS_TYPE_BACKGROUND;
    p.priority = 5;
    passes(&p);
    assert_string_equal(apns_push_type_name(APNS_TYPE_VOIP), "voip");
    assert_string_equal(apns_push_type_name(APNS_TYPE_ALERT), "alert");
    assert_string_equal(apns_push_type_name(APNS_TYPE_BACKGROUND), "background");
}

static void a_token_is_hex_of_any_length_up_to_the_limit(void **state) {
    char token[APNS_TOKEN_MAX_CHARS + 3];
    struct apns_push p = good();
    (void)state;
    const char *bad[] = {"", "0", "00f", "0g", "00 ff", "../00", "<00ff>"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        p.token = bad[i];
        names(&p, "token");
    }
    memset(token, 'A', sizeof token);
    token[APNS_TOKEN_MAX_CHARS] = 0;
    p.token = token;
    passes(&p);
    memset(token, 'A', sizeof token);
    token[APNS_TOKEN_MAX_CHARS + 2] = 0;
    names(&p, "token");
}

static void an_apns_id_is_a_uuid_in_lower_case(void **state) {
    struct apns_push p = good();
    (void)state;
    const char *bad[] = {"", "7D1B8A1E-31A5-4F7C-8B0D-2F6F6D0F3C11", "7d1b8a1e31a54f7c8b0d2f6f6d0f3c11",
                         "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c111"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        p.apns_id = bad[i];
        names(&p, "apns_id");
    }
}

static void a_collapse_id_has_one_to_64_bytes(void **state) {
    char id[APNS_COLLAPSE_ID_MAX_BYTES + 2];
    struct apns_push p = good();
    (void)state;
    memset(id, 'c', sizeof id);
    id[APNS_COLLAPSE_ID_MAX_BYTES] = 0;
    p.collapse_id = id;
    passes(&p);
    id[APNS_COLLAPSE_ID_MAX_BYTES] = 'c';
    id[APNS_COLLAPSE_ID_MAX_BYTES + 1] = 0;
    names(&p, "collapse_id");
    p.collapse_id = "";
    names(&p, "collapse_id");
}

static void the_topic_fits_the_type(void **state) {
    struct apns_push p = good();
    (void)state;
    const char *not_voip[] = {"", "com.example.app", ".voip", "com.example.app.voip-ptt"};
    for (size_t i = 0; i < sizeof not_voip / sizeof *not_voip; i++) {
        p.topic = not_voip[i];
        names(&p, "topic");
    }
    p = alert();
    p.topic = "com.example.app.voip";
    names(&p, "topic");
    p.topic = "";
    names(&p, "topic");
}

static void each_type_has_its_topic(void **state) {
    static const char *const suffixes[APNS_TYPES] = {".voip",
                                                     "",
                                                     "",
                                                     ".voip-ptt",
                                                     ".location-query",
                                                     ".complication",
                                                     ".pushkit.fileprovider",
                                                     "",
                                                     ".push-type.liveactivity",
                                                     ".push-type.controls",
                                                     ".push-type.widgets"};
    struct apns_push p = alert();
    char topic[128];
    (void)state;
    p.priority = 5;
    for (int type = 0; type < APNS_TYPES; type++) {
        for (int i = 0; i < APNS_TYPES; i++) {
            snprintf(topic, sizeof topic, "com.example.app%s", suffixes[i]);
            p.type = (enum apns_push_type)type;
            p.topic = topic;
            if (strcmp(suffixes[type], suffixes[i]) == 0)
                passes(&p);
            else
                names(&p, "topic");
        }
    }
    p.type = APNS_TYPES;
    names(&p, "type");
}

static void the_priority_is_one_that_the_type_may_have(void **state) {
    struct apns_push p = good();
    (void)state;
    const int bad[] = {0, 2, 9, 11, -10};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        p.priority = bad[i];
        names(&p, "priority");
    }
    p = alert();
    p.type = APNS_TYPE_BACKGROUND;
    names(&p, "priority");
}

/* {"d":"000"} with so many bytes. */
static const char *json_of(size_t bytes) {
    static char text[APNS_VOIP_PAYLOAD_MAX_BYTES + 16];
    snprintf(text, sizeof text, "{\"d\":\"%0*d\"}", (int)bytes - 8, 0);
    return text;
}

static void the_payload_keeps_to_its_types_size(void **state) {
    struct apns_push p = good();
    (void)state;
    p.payload = json_of(p.payload_len = APNS_VOIP_PAYLOAD_MAX_BYTES);
    passes(&p);
    p.payload = json_of(p.payload_len = APNS_VOIP_PAYLOAD_MAX_BYTES + 1);
    names(&p, "payload");
    p.payload_len = 0;
    names(&p, "payload");
    p = alert();
    p.payload = json_of(p.payload_len = APNS_PAYLOAD_MAX_BYTES);
    passes(&p);
    p.payload = json_of(p.payload_len = APNS_PAYLOAD_MAX_BYTES + 1);
    names(&p, "payload");
}

static void the_payload_is_a_json_object(void **state) {
    struct apns_push p = good();
    (void)state;
    const char *bad[] = {"[]", "1", "\"x\"", "{", "{}x", "{\"a\":\"\xff\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        p.payload = bad[i];
        p.payload_len = strlen(bad[i]);
        names(&p, "payload");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_push_of_each_type_passes),
        cmocka_unit_test(a_token_is_hex_of_any_length_up_to_the_limit),
        cmocka_unit_test(an_apns_id_is_a_uuid_in_lower_case),
        cmocka_unit_test(a_collapse_id_has_one_to_64_bytes),
        cmocka_unit_test(the_topic_fits_the_type),
        cmocka_unit_test(each_type_has_its_topic),
        cmocka_unit_test(the_priority_is_one_that_the_type_may_have),
        cmocka_unit_test(the_payload_keeps_to_its_types_size),
        cmocka_unit_test(the_payload_is_a_json_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
