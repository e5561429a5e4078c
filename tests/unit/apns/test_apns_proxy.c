/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK "HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n"

/* Who it is */

static void parses(const char *text, const char *host, uint16_t port) {
    struct apns_proxy p;
    struct err_text et = {""};
    assert_int_equal(apns_proxy_parse(&p, text, NULL, NULL, &et), 0);
    assert_string_equal(p.host, host);
    assert_int_equal(p.port, port);
    assert_null(p.login);
    apns_proxy_wipe(&p);
    assert_null(p.host);
}

static void a_proxy_is_host_and_port(void **state) {
    (void)state;
    parses("proxy.example:3128", "proxy.example", 3128);
    parses("192.0.2.1:1", "192.0.2.1", 1);
    parses("[2001:db8::1]:65535", "2001:db8::1", 65535);
}

static void anything_else_is_named(void **state) {
    static const char *const wrong[] = {"",  "proxy.example", ":3128",   "proxy.example:", "proxy:0",
                                        "x", "proxy:65536",   "proxy:x", "proxy:80x",      "http://proxy"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct apns_proxy p;
        struct err_text et = {""};
        assert_int_equal(apns_proxy_parse(&p, wrong[i], NULL, NULL, &et), E_INVAL);
        assert_non_null(strstr(et.s, "is not host:port"));
        assert_non_null(strstr(et.s, wrong[i]));
        apns_proxy_wipe(&p);
    }
}

/* The example of RFC 7617 2. */
static void a_login_is_basic_authentication(void **state) {
    struct apns_proxy p, copy;
    (void)state;
    assert_int_equal(apns_proxy_parse(&p, "p:1", "Aladdin", "open sesame", NULL), 0);
    assert_string_equal(p.login, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_int_equal(apns_proxy_copy(&copy, &p), 0);
    apns_proxy_wipe(&p);
    assert_null(p.login);
    assert_string_equal(copy.host, "p");
    assert_int_equal(copy.port, 1);
    assert_string_equal(copy.login, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    apns_proxy_wipe(&copy);
    assert_int_equal(apns_proxy_parse(&p, "p:1", "user", NULL, NULL), 0);
    assert_string_equal(p.login, "Basic dXNlcjo=");
    apns_proxy_wipe(&p);
}

static void a_login_has_limits(void **state) {
    struct apns_proxy p;
    struct err_text et = {""};
    char password[APNS_PROXY_LOGIN_MAX_BYTES + 1] = "";
    (void)state;
    assert_int_equal(apns_proxy_parse(&p, "p:1", "us:er", "x", &et), E_INVAL);
    assert_non_null(strstr(et.s, "colon"));
    apns_proxy_wipe(&p);
    memset(password, 'x', APNS_PROXY_LOGIN_MAX_BYTES - 2);
    assert_int_equal(apns_proxy_parse(&p, "p:1", "u", password, &et), 0);
    apns_proxy_wipe(&p);
    memset(password, 'x', APNS_PROXY_LOGIN_MAX_BYTES - 1);
    assert_int_equal(apns_proxy_parse(&p, "p:1", "u", password, &et), E_INVAL);
    assert_non_null(strstr(et.s, "longer than 255"));
    apns_proxy_wipe(&p);
}

/* What it is asked */

static void asks(const char *host, const char *user, const char *expected) {
    struct apns_proxy p;
    char out[512];
    assert_int_equal(apns_proxy_parse(&p, "p:1", user, "pw", NULL), 0);
    assert_int_equal(apns_proxy_ask(out, sizeof out, &p, host, 443), (int)strlen(expected));
    assert_string_equal(out, expected);
    assert_int_equal(apns_proxy_ask(out, strlen(expected), &p, host, 443), E_FULL);
    apns_proxy_wipe(&p);
}

static void it_is_asked_for_a_way_to_host_and_port(void **state) {
    (void)state;
    asks("api.example", NULL, "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n");
    asks("2001:db8::2", NULL, "CONNECT [2001:db8::2]:443 HTTP/1.1\r\nHost: [2001:db8::2]:443\r\n\r\n");
    asks(
        "api.example", "user",
        "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\nProxy-Authorization: Basic dXNlcjpwdw==\r\n\r\n");
}

/* What it answers */

static int answers(const char *text, struct err_text *et) {
    struct apns_proxy_answer a = {0};
    size_t used;
    return apns_proxy_read(&a, text, strlen(text), &used, et);
}

static void a_2xx_opens_the_way(void **state) {
    struct err_text et = {""};
    (void)state;
    assert_int_equal(answers(OK, &et), 0);
    assert_int_equal(answers("HTTP/1.0 200 OK\r\n\r\n", &et), 0);
    assert_int_equal(answers("HTTP/1.1 204 \r\n\r\n", &et), 0);
}

static void refused(const char *text, int err, const char *says) {
    struct err_text et = {""};
    assert_int_equal(answers(text, &et), err);
    assert_string_equal(et.s, says);
}

static void another_status_is_told_as_it_came(void **state) {
    (void)state;
    refused("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", E_DENIED,
            "HTTP/1.1 407 Proxy Authentication Required");
    refused("HTTP/1.1 403 Forbidden\r\n\r\n<html>", E_DENIED, "HTTP/1.1 403 Forbidden");
    refused("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", E_DENIED, "HTTP/1.1 302 Found");
}

static void what_is_no_http_is_told_too_and_cut(void **state) {
    (void)state;
    refused("SSH-2.0-server\r\n\r\n", E_MALFORMED, "SSH-2.0-server");
    refused("HTTP/2 200 OK\r\n\r\n", E_MALFORMED, "HTTP/2 200 OK");
    refused("HTTP/1.10 200 OK\r\n\r\n", E_MALFORMED, "HTTP/1.10 200 OK");
    refused("HTTP/1.1 2\r\n\r\n", E_MALFORMED, "HTTP/1.1 2");
    refused("HTTP/1.1  200\r\n\r\n", E_DENIED, "HTTP/1.1  200");
    refused("\r\n\r\n", E_MALFORMED, "");
    refused("0123456789012345678901234567890123456789012345678901234567890123456789\r\n\r\n", E_MALFORMED,
            "012345678901234567890123456789012345678901234567890123456789012");
}

static void the_answer_comes_in_any_pieces(void **state) {
    static const char text[] = OK "behind";
    (void)state;
    for (size_t piece = 1; piece < sizeof text; piece++) {
        struct apns_proxy_answer a = {0};
        size_t at = 0, used = 0;
        int err;
        for (;;) {
            size_t n = sizeof text - 1 - at < piece ? sizeof text - 1 - at : piece;
            err = apns_proxy_read(&a, text + at, n, &used, NULL);
            if (err != E_AGAIN)
                break;
            at += n;
            assert_true(at < strlen(OK));
        }
        assert_int_equal(err, 0);
        assert_int_equal(at + used, strlen(OK)); /* what is behind it is TLS, and is not touched */
    }
}

enum { LONG_BYTES = 2 * APNS_PROXY_ANSWER_MAX_BYTES };

static void it_has_an_end(void **state) {
    struct apns_proxy_answer a = {0};
    struct err_text et = {""};
    char *text = malloc(LONG_BYTES);
    size_t used;
    (void)state;
    assert_non_null(text);
    memset(text, 'x', LONG_BYTES);
    memcpy(text, OK, strlen("HTTP/1.1 200 "));
    assert_int_equal(apns_proxy_read(&a, text, APNS_PROXY_ANSWER_MAX_BYTES - 1, &used, &et), E_AGAIN);
    assert_int_equal(apns_proxy_read(&a, "x", 1, &used, &et), E_FULL);
    assert_string_equal(et.s, "its answer is too long");
    a.len = 0;
    memcpy(text + APNS_PROXY_ANSWER_MAX_BYTES - 4, "\r\n\r\n", 4);
    assert_int_equal(apns_proxy_read(&a, text, LONG_BYTES, &used, &et), 0);
    assert_int_equal(used, APNS_PROXY_ANSWER_MAX_BYTES);
    a.len = 0;
    memcpy(text + APNS_PROXY_ANSWER_MAX_BYTES - 4, "x\r\n\r\n", 5);
    assert_int_equal(apns_proxy_read(&a, text, LONG_BYTES, &used, &et), E_FULL);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_proxy_is_host_and_port),
        cmocka_unit_test(anything_else_is_named),
        cmocka_unit_test(a_login_is_basic_authentication),
        cmocka_unit_test(a_login_has_limits),
        cmocka_unit_test(it_is_asked_for_a_way_to_host_and_port),
        cmocka_unit_test(a_2xx_opens_the_way),
        cmocka_unit_test(another_status_is_told_as_it_came),
        cmocka_unit_test(what_is_no_http_is_told_too_and_cut),
        cmocka_unit_test(the_answer_comes_in_any_pieces),
        cmocka_unit_test(it_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
