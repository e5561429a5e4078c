/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_json.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const good[] = {
    "{}",
    " { } ",
    "{\"aps\":{\"alert\":\"x\",\"badge\":1},\"a\":[1,-0,0.5,1e9,1E+2,2e-3,true,false,null,[],{}]}",
    "{\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\":\"\xc3\xa9\"}",
    "{\"a\":[[[[{\"b\":[{}]}]]]]}",
};

static const char *const bad[] = {
    "",
    " ",
    "[]",
    "1",
    "\"x\"",
    "{",
    "}",
    "{}x",
    "{}{}",
    "{,}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{a:1}",
    "{'a':1}",
    "{\"a\":01}",
    "{\"a\":1.}",
    "{\"a\":.5}",
    "{\"a\":-}",
    "{\"a\":+1}",
    "{\"a\":1e}",
    "{\"a\":[1,]}",
    "{\"a\":[}",
    "{\"a\":]}",
    "{\"a\":tru}",
    "{\"a\":\"\x01\"}",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"\\u12g4\"}",
    "{\"a\":\"",
    "{\"a\":\"\\",
    "{\"a\":\"\xff\"}",
    "{\"a\":1 2}",
    "{\"a\":1\"b\":2}",
    "{\"a\":[1}",
    "{\"a\":nan}",
};

static void good_objects_pass(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (apns_json_object_check(good[i], strlen(good[i])))
            fail_msg("%s: %s", good[i], apns_json_object_check(good[i], strlen(good[i])));
}

static void anything_else_does_not(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!apns_json_object_check(bad[i], strlen(bad[i])))
            fail_msg("%s passed", bad[i]);
}

static void depth_is_bounded(void **state) {
    char deep[2 * APNS_JSON_DEPTH_MAX + 16];
    (void)state;
    for (size_t depth = APNS_JSON_DEPTH_MAX - 1; depth <= APNS_JSON_DEPTH_MAX; depth++) {
        snprintf(deep, sizeof deep, "{\"a\":%.*s", 0, "");
        memset(deep + 5, '[', depth);
        memset(deep + 5 + depth, ']', depth);
        strcpy(deep + 5 + 2 * depth, "}");
        bool passes = !apns_json_object_check(deep, strlen(deep));
        assert_int_equal(passes, depth < APNS_JSON_DEPTH_MAX);
    }
}

/* Bytes changed at random: it never passes what jansson refuses. */
static void it_is_no_laxer_than_a_full_parser(void **state) {
    static const char text[] = "{\"aps\":{\"a\":[1,-0.5e3,true,null]},\"s\":\"x\\u00e9\\n\",\"o\":{}}";
    static const char alphabet[] = "{}[]\",:\\/u019.eE+-tnf \x01\xc3\xa9";
    char mutated[sizeof text];
    (void)state;
    srand(11);
    for (int i = 0; i < 200000; i++) {
        memcpy(mutated, text, sizeof text);
        for (int k = rand() % 3; k >= 0; k--)
            mutated[(size_t)rand() % (sizeof text - 1)] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        json_t *o = json_loadb(mutated, sizeof text - 1, JSON_ALLOW_NUL, NULL);
        bool parses = json_is_object(o);
        json_decref(o);
        if (!parses && !apns_json_object_check(mutated, sizeof text - 1) && !strpbrk(mutated, "eE\\"))
            fail_msg("%s passed", mutated);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_objects_pass),
        cmocka_unit_test(anything_else_does_not),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(it_is_no_laxer_than_a_full_parser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
