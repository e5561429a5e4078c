/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "dtls/dtls_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS   1000000
#define MINUTE   60000
#define PER_S    400
#define HELLO_AT 13 /* behind the record header */

static struct dtls_guard *guard_new(void) {
    struct dtls_guard *g = NULL;
    assert_int_equal(dtls_guard_new(&g, NOW_MS), 0);
    return g;
}

static struct addr address(const char *text) {
    struct addr a;
    assert_int_equal(addr_parse_hostport(&a, text), 0);
    return a;
}

static void a_cookie_is_good_for_its_address_alone(void **state) {
    const char *others[] = {"192.0.2.1:4001", "192.0.2.2:4000", "[2001:db8::1]:4000"};
    struct addr a = address("192.0.2.1:4000");
    struct dtls_guard *g = guard_new();
    uint8_t cookie[DTLS_COOKIE_BYTES];
    (void)state;
    dtls_guard_cookie(g, cookie, &a, NOW_MS);
    assert_int_equal(dtls_guard_check(g, cookie, sizeof cookie, &a, NOW_MS + 70), 70);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct addr other = address(others[i]);
        assert_int_equal(dtls_guard_check(g, cookie, sizeof cookie, &other, NOW_MS), E_AUTH);
    }
    dtls_guard_free(g);
}

static void a_changed_cookie_is_none(void **state) {
    struct addr a = address("[2001:db8::1]:4000");
    struct dtls_guard *g = guard_new(), *other = guard_new();
    uint8_t cookie[DTLS_COOKIE_BYTES + 1] = {0};
    (void)state;
    dtls_guard_cookie(g, cookie, &a, NOW_MS);
    for (size_t i = 0; i < (size_t)DTLS_COOKIE_BYTES * 8; i++) {
        cookie[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(dtls_guard_check(g, cookie, DTLS_COOKIE_BYTES, &a, NOW_MS), E_AUTH);
        cookie[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(dtls_guard_check(g, cookie, DTLS_COOKIE_BYTES - 1, &a, NOW_MS), E_AUTH);
    assert_int_equal(dtls_guard_check(g, cookie, DTLS_COOKIE_BYTES + 1, &a, NOW_MS), E_AUTH);
    assert_int_equal(dtls_guard_check(g, cookie, 0, &a, NOW_MS), E_AUTH);
    assert_int_equal(dtls_guard_check(other, cookie, DTLS_COOKIE_BYTES, &a, NOW_MS), E_AUTH);
    assert_int_equal(dtls_guard_check(g, cookie, DTLS_COOKIE_BYTES, &a, NOW_MS), 0);
    dtls_guard_free(g);
    dtls_guard_free(other);
}

static void a_cookie_ages(void **state) {
    struct addr a = address("192.0.2.1:4000");
    struct dtls_guard *g = guard_new();
    uint8_t cookie[DTLS_COOKIE_BYTES];
    (void)state;
    dtls_guard_cookie(g, cookie, &a, NOW_MS);
    assert_int_equal(dtls_guard_check(g, cookie, sizeof cookie, &a, NOW_MS + 15000), 15000);
    assert_int_equal(dtls_guard_check(g, cookie, sizeof cookie, &a, NOW_MS + 15001), E_EXPIRED);
    dtls_guard_free(g);
}

/* The age alone would let the first one pass: the secret is what ends it, even when the milliseconds came round. */
static void the_secret_changes_and_what_is_under_way_still_counts(void **state) {
    struct addr a = address("192.0.2.1:4000");
    struct dtls_guard *g = guard_new();
    uint8_t first[DTLS_COOKIE_BYTES], second[DTLS_COOKIE_BYTES];
    (void)state;
    dtls_guard_cookie(g, first, &a, NOW_MS + MINUTE - 1);
    assert_int_equal(dtls_guard_check(g, first, sizeof first, &a, NOW_MS + MINUTE), 1);
    dtls_guard_cookie(g, second, &a, NOW_MS + MINUTE - 1);
    assert_memory_not_equal(first, second, sizeof first);
    assert_int_equal(dtls_guard_check(g, first, sizeof first, &a, NOW_MS + 2 * MINUTE), E_AUTH);
    /* After a long silence neither of the old secrets is good. */
    dtls_guard_cookie(g, first, &a, NOW_MS + 2 * MINUTE);
    assert_int_equal(dtls_guard_check(g, first, sizeof first, &a, NOW_MS + 2 * MINUTE + (1ULL << 32)), E_AUTH);
    dtls_guard_free(g);
}

static unsigned allowed(struct dtls_guard *g, const char *who, unsigned tries, uint64_t now_ms) {
    struct addr a = address(who);
    unsigned n = 0;
    for (unsigned i = 0; i < tries; i++)
        n += dtls_guard_allows(g, &a, now_ms);
    return n;
}

static void each_host_has_a_budget(void **state) {
    struct dtls_guard *g = guard_new();
    (void)state;
    assert_int_equal(allowed(g, "192.0.2.1:4000", 300, NOW_MS) + allowed(g, "192.0.2.1:4001", 300, NOW_MS), PER_S);
    assert_int_equal(allowed(g, "192.0.2.1:4000", 300, NOW_MS + 250), PER_S / 4);
    assert_int_equal(allowed(g, "192.0.2.1:4000", 1000, NOW_MS + 1000000), PER_S);
    assert_int_equal(allowed(g, "[2001:db8::1]:1", 300, NOW_MS) + allowed(g, "[2001:db8::2]:1", 300, NOW_MS), PER_S);
    assert_int_equal(allowed(g, "[2001:db8:0:1::1]:1", 10, NOW_MS), 10);
    assert_int_equal(allowed(g, "[::ffff:198.51.100.1]:1", 500, NOW_MS), PER_S);
    assert_int_equal(allowed(g, "198.51.100.1:1", 10, NOW_MS), 0);
    assert_int_equal(allowed(g, "[::ffff:198.51.100.2]:1", 10, NOW_MS), 10);
    dtls_guard_free(g);
}

/* The least ClientHello: no session, no cookie; what follows in a real one does not matter here. */
static size_t least_hello(uint8_t *p, size_t body) {
    memset(p, 0, 13 + 12 + body);
    p[0] = 22;
    p[1] = 0xfe;
    p[2] = 0xff;
    p[11] = (uint8_t)((12 + body) >> 8);
    p[12] = (uint8_t)(12 + body);
    p[HELLO_AT] = 1;
    p[HELLO_AT + 3] = p[HELLO_AT + 11] = (uint8_t)body;
    return 13 + 12 + body;
}

static void only_a_whole_client_hello_is_looked_at(void **state) {
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{0, 20}, {0, 23},  {1, 3},    {4, 1},  {12, 200}, {12, 1},
                 {13, 2}, {13, 16}, {16, 200}, {21, 1}, {24, 1},   {22, 1}};
    uint8_t p[256];
    (void)state;
    size_t len = least_hello(p, 36);
    assert_true(dtls_guard_is_hello(p, len));
    assert_true(dtls_guard_is_hello(p, len + 20)); /* another record behind it */
    for (size_t i = 0; i < len; i++)
        assert_false(dtls_guard_is_hello(p, i));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        len = least_hello(p, 36);
        p[wrong[i].at] = wrong[i].value;
        assert_false(dtls_guard_is_hello(p, len));
    }
    assert_false(dtls_guard_is_hello(p, least_hello(p, 35)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cookie_is_good_for_its_address_alone),
        cmocka_unit_test(a_changed_cookie_is_none),
        cmocka_unit_test(a_cookie_ages),
        cmocka_unit_test(the_secret_changes_and_what_is_under_way_still_counts),
        cmocka_unit_test(each_host_has_a_budget),
        cmocka_unit_test(only_a_whole_client_hello_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
