/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct addr at(const char *hostport) {
    struct addr a;
    assert_int_equal(addr_parse_hostport(&a, hostport), 0);
    return a;
}

static void an_address_is_written_as_it_was_read(void **state) {
    static const char *const texts[] = {"192.0.2.1:80", "0.0.0.0:0", "[::1]:443", "[2001:db8::ff]:65535"};
    char text[ADDR_STR_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct addr a = at(texts[i]);
        assert_string_equal(addr_str(text, &a), texts[i]);
    }
}

static void brackets_round_an_ipv6_address_are_optional_without_a_port(void **state) {
    struct addr a, b;
    char text[ADDR_STR_BYTES];
    (void)state;
    assert_int_equal(addr_parse(&a, "::1", 5), 0);
    assert_int_equal(addr_parse(&b, "[::1]", 5), 0);
    assert_true(addr_eq(&a, &b));
    assert_string_equal(addr_ip(text, &a), "::1");
    assert_int_equal(addr_port(&a), 5);
}

static void what_is_no_numeric_address_is_malformed(void **state) {
    static const char *const texts[] = {"",    "localhost", "1.2.3", "1.2.3.4.5", "256.0.0.1",
                                        "::g", "[::1",      "[]",    " ::1"};
    struct addr a;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(addr_parse(&a, texts[i], 1), E_MALFORMED);
    char many[300];
    memset(many, '1', sizeof many);
    many[sizeof many - 1] = 0;
    assert_int_equal(addr_parse(&a, many, 1), E_MALFORMED);
}

static void a_port_is_a_number_up_to_65535(void **state) {
    static const char *const texts[] = {"1.2.3.4",
                                        "1.2.3.4:",
                                        "1.2.3.4:x",
                                        "1.2.3.4:65536",
                                        "1.2.3.4:-1",
                                        "1.2.3.4:80x",
                                        "1.2.3.4: 1",
                                        "1.2.3.4:+80",
                                        "::1:80",
                                        "[::1]",
                                        ":80",
                                        "",
                                        "1.2.3.4:99999999999999999999"};
    struct addr a;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(addr_parse_hostport(&a, texts[i]), E_MALFORMED);
}

static void addresses_are_equal_in_family_address_and_port(void **state) {
    struct addr a = at("192.0.2.1:80"), b = at("192.0.2.1:80"), c = at("192.0.2.1:81"), d = at("192.0.2.2:80"),
                e = at("[::1]:80"), f = at("[::2]:80"), none = {0}, none_too = {0};
    (void)state;
    assert_true(addr_eq(&a, &b));
    assert_false(addr_eq(&a, &c));
    assert_false(addr_eq(&a, &d));
    assert_false(addr_eq(&a, &e));
    assert_false(addr_eq(&e, &f));
    assert_false(addr_eq(&a, &none));
    assert_true(addr_eq(&none, &none_too));
}

static void equal_addresses_have_equal_hashes_and_the_seed_matters(void **state) {
    struct addr a = at("192.0.2.1:80"), b = at("192.0.2.1:80"), c = at("192.0.2.1:81"), d = at("[::1]:80"),
                e = at("[::1]:81");
    (void)state;
    assert_int_equal(addr_hash(&a, 7), addr_hash(&b, 7));
    assert_int_not_equal(addr_hash(&a, 7), addr_hash(&a, 8));
    assert_int_not_equal(addr_hash(&a, 7), addr_hash(&c, 7));
    assert_int_not_equal(addr_hash(&d, 7), addr_hash(&e, 7));
}

static void a_zeroed_address_is_none(void **state) {
    struct addr a = {0}, b = at("192.0.2.1:80"), c = at("[::1]:1");
    char text[ADDR_STR_BYTES];
    (void)state;
    assert_false(addr_is_set(&a));
    assert_int_equal(addr_len(&a), 0);
    assert_string_equal(addr_ip(text, &a), "");
    assert_true(addr_is_set(&b) && addr_is_set(&c));
    assert_int_equal(addr_len(&b), sizeof(struct sockaddr_in));
    assert_int_equal(addr_len(&c), sizeof(struct sockaddr_in6));
}

static void the_loopback_is_known_in_both_families(void **state) {
    struct addr a = at("127.0.0.1:1"), b = at("127.255.0.9:1"), c = at("[::1]:1"), d = at("128.0.0.1:1"),
                e = at("[::]:1"), f = at("0.0.0.0:1"), none = {0};
    (void)state;
    assert_true(addr_is_loopback(&a) && addr_is_loopback(&b) && addr_is_loopback(&c));
    assert_false(addr_is_loopback(&d) || addr_is_loopback(&e) || addr_is_loopback(&f) || addr_is_loopback(&none));
}

static void a_mapped_ipv4_address_becomes_plain(void **state) {
    struct addr a = at("[::ffff:192.0.2.1]:80"), plain = at("192.0.2.1:80"), v6 = at("[2001:db8::1]:80"), copy = v6;
    (void)state;
    addr_unmap(&a);
    assert_memory_equal(&a, &plain, sizeof a);
    addr_unmap(&v6);
    assert_memory_equal(&v6, &copy, sizeof v6);
    addr_unmap(&plain);
    assert_true(addr_eq(&plain, &a));
    addr_map(&plain);
    assert_int_equal(plain.u.sa.sa_family, AF_INET6);
    addr_unmap(&plain);
    assert_int_equal(plain.u.sa.sa_family, AF_INET);
}

static void an_address_comes_from_a_sockaddr_and_an_unknown_family_is_none(void **state) {
    struct addr v4 = at("192.0.2.1:80"), v6 = at("[2001:db8::1]:80"), a;
    struct sockaddr other = {.sa_family = AF_UNIX};
    (void)state;
    addr_from_sockaddr(&a, &v4.u.sa);
    assert_memory_equal(&a, &v4, sizeof a);
    addr_from_sockaddr(&a, &v6.u.sa);
    assert_memory_equal(&a, &v6, sizeof a);
    addr_from_sockaddr(&a, &other);
    assert_false(addr_is_set(&a));
}

static void the_port_can_be_changed(void **state) {
    struct addr a = at("192.0.2.1:80"), b = at("[::1]:80");
    (void)state;
    addr_set_port(&a, 8080);
    addr_set_port(&b, 8081);
    assert_int_equal(addr_port(&a), 8080);
    assert_int_equal(addr_port(&b), 8081);
}

static void a_host_and_a_port_are_taken_apart(void **state) {
    static const char *const bad[] = {"",           "host",   ":80",   "host:",   "host:x",
                                      "host:65536", "::1:80", "[]:80", "host:80x"};
    char host[16];
    uint16_t port;
    (void)state;
    assert_int_equal(addr_split_hostport(host, sizeof host, &port, "proxy.example:3128"), 0);
    assert_string_equal(host, "proxy.example");
    assert_int_equal(port, 3128);
    assert_int_equal(addr_split_hostport(host, sizeof host, &port, "[2001:db8::1]:1"), 0);
    assert_string_equal(host, "2001:db8::1");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(addr_split_hostport(host, sizeof host, &port, bad[i]), E_MALFORMED);
    assert_int_equal(addr_split_hostport(host, sizeof host, &port, "a-name-of-16-ch.:1"), E_MALFORMED);
    assert_int_equal(addr_split_hostport(host, sizeof host, &port, "a-name-of-15-ch:1"), 0);
}

static void who_has_one_address_of_a_network_has_them_all(void **state) {
    struct addr a = at("192.0.2.1:80"), b = at("[::ffff:192.0.2.1]:90"), c = at("192.0.2.2:80");
    struct addr v6 = at("[2001:db8:0:7:1:2:3:4]:80"), near = at("[2001:db8:0:7::]:0"), far = at("[2001:db8:0:8::]:0");
    (void)state;
    addr_network(&a);
    addr_network(&b);
    addr_network(&c);
    assert_true(addr_eq(&a, &b));
    assert_false(addr_eq(&a, &c));
    addr_network(&v6);
    assert_true(addr_eq(&v6, &near));
    assert_false(addr_eq(&v6, &far));
}

static void only_addresses_of_the_internet_are_public(void **state) {
    static const char *const public[] = {
        "8.8.8.8",     "1.1.1.1",          "9.255.255.255", "11.0.0.0",    "100.63.255.255", "100.128.0.0",
        "126.0.0.1",   "169.253.0.1",      "172.15.0.1",    "172.32.0.1",  "192.167.0.1",    "192.0.1.1",
        "198.17.0.1",  "198.20.0.1",       "223.255.255.1", "2001:4860::", "2a00::1",        "2001:200::1",
        "2002:808::1", "64:ff9b::808:808", "::ffff:8.8.8.8"};
    static const char *const others[] = {
        "0.0.0.0",    "10.1.2.3",         "100.64.0.1",  "127.0.0.1",       "127.255.255.255", "169.254.169.254",
        "172.16.0.1", "172.31.255.255",   "192.0.0.1",   "192.168.1.1",     "192.0.2.1",       "198.18.0.1",
        "198.19.0.1", "198.51.100.1",     "203.0.113.1", "224.0.0.1",       "255.255.255.255", "::",
        "::1",        "fe80::1",          "fc00::1",     "fd00:ec2::254",   "ff02::1",         "2001:db8::1",
        "2001::1",    "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::a00:1",  "2002:a00:1::",    "2002:7f00:1::",
        "3fff::1",    "100::1",           "fec0::1",     "::ffff:a9fe:a9fe"};
    struct addr a, none = {0};
    (void)state;
    for (size_t i = 0; i < sizeof public / sizeof *public; i++) {
        assert_int_equal(addr_parse(&a, public[i], 443), 0);
        if (!addr_is_public(&a))
            fail_msg("%s is public", public[i]);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(addr_parse(&a, others[i], 443), 0);
        if (addr_is_public(&a))
            fail_msg("%s is not public", others[i]);
    }
    assert_false(addr_is_public(&none));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_written_as_it_was_read),
        cmocka_unit_test(brackets_round_an_ipv6_address_are_optional_without_a_port),
        cmocka_unit_test(what_is_no_numeric_address_is_malformed),
        cmocka_unit_test(a_port_is_a_number_up_to_65535),
        cmocka_unit_test(addresses_are_equal_in_family_address_and_port),
        cmocka_unit_test(equal_addresses_have_equal_hashes_and_the_seed_matters),
        cmocka_unit_test(a_zeroed_address_is_none),
        cmocka_unit_test(the_loopback_is_known_in_both_families),
        cmocka_unit_test(a_mapped_ipv4_address_becomes_plain),
        cmocka_unit_test(an_address_comes_from_a_sockaddr_and_an_unknown_family_is_none),
        cmocka_unit_test(the_port_can_be_changed),
        cmocka_unit_test(a_host_and_a_port_are_taken_apart),
        cmocka_unit_test(who_has_one_address_of_a_network_has_them_all),
        cmocka_unit_test(only_addresses_of_the_internet_are_public),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
