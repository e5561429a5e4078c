/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NETWORK_BYTES 8 /* of an IPv6 address */

int addr_parse(struct addr *a, const char *ip, uint16_t port) {
    char host[ADDR_STR_BYTES];
    size_t len = strlen(ip);
    if (len >= 2 && ip[0] == '[' && ip[len - 1] == ']') {
        ip++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof host)
        return E_MALFORMED;
    memcpy(host, ip, len);
    host[len] = 0;
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, host, &a->u.v4.sin_addr) == 1) {
        a->u.v4.sin_family = AF_INET;
        a->u.v4.sin_port = htons(port);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &a->u.v6.sin6_addr) == 1) {
        a->u.v6.sin6_family = AF_INET6;
        a->u.v6.sin6_port = htons(port);
        return 0;
    }
    return E_MALFORMED;
}

int addr_split_hostport(char *host, size_t cap, uint16_t *port, const char *s) {
    const char *colon = strrchr(s, ':');
    char *end;
    if (!colon || colon[1] < '0' || colon[1] > '9')
        return E_MALFORMED;
    unsigned long n = strtoul(colon + 1, &end, 10);
    size_t len = (size_t)(colon - s);
    bool bracketed = s[0] == '[';
    if (bracketed && (len < 3 || colon[-1] != ']'))
        return E_MALFORMED;
    s += bracketed;
    len -= bracketed ? 2 : 0;
    /* An IPv6 address needs its brackets here, or its last group would be taken for the port. */
    if (*end != 0 || n > UINT16_MAX || len == 0 || len >= cap || bracketed != (memchr(s, ':', len) != NULL))
        return E_MALFORMED;
    memcpy(host, s, len);
    host[len] = 0;
    *port = (uint16_t)n;
    return 0;
}

int addr_parse_hostport(struct addr *a, const char *s) {
    char host[ADDR_STR_BYTES];
    uint16_t port;
    int err = addr_split_hostport(host, sizeof host, &port, s);
    return err == 0 ? addr_parse(a, host, port) : err;
}

void addr_from_sockaddr(struct addr *a, const struct sockaddr *sa) {
    memset(a, 0, sizeof *a);
    if (sa->sa_family == AF_INET)
        memcpy(&a->u.v4, sa, sizeof a->u.v4);
    else if (sa->sa_family == AF_INET6)
        memcpy(&a->u.v6, sa, sizeof a->u.v6);
}

void addr_unmap(struct addr *a) {
    if (a->u.sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->u.v6.sin6_addr))
        return;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = a->u.v6.sin6_port};
    memcpy(&v4.sin_addr, a->u.v6.sin6_addr.s6_addr + 12, 4);
    memset(a, 0, sizeof *a);
    a->u.v4 = v4;
}

void addr_map(struct addr *a) {
    if (a->u.sa.sa_family != AF_INET)
        return;
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = a->u.v4.sin_port};
    v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
    memcpy(v6.sin6_addr.s6_addr + 12, &a->u.v4.sin_addr, 4);
    memset(a, 0, sizeof *a);
    a->u.v6 = v6;
}

void addr_network(struct addr *a) {
    addr_unmap(a);
    addr_set_port(a, 0);
    if (a->u.sa.sa_family == AF_INET6)
        memset(a->u.v6.sin6_addr.s6_addr + NETWORK_BYTES, 0, sizeof a->u.v6.sin6_addr - NETWORK_BYTES);
}

bool addr_is_set(const struct addr *a) {
    return a->u.sa.sa_family != AF_UNSPEC;
}

bool addr_is_loopback(const struct addr *a) {
    if (a->u.sa.sa_family == AF_INET)
        return (ntohl(a->u.v4.sin_addr.s_addr) >> 24) == 127;
    return a->u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->u.v6.sin6_addr);
}

struct prefix {
    uint8_t bytes[12];
    unsigned bits;
};

static bool in_prefixes(const uint8_t *ip, const struct prefix *p, size_t count) {
    for (size_t i = 0; i < count; i++) {
        unsigned whole = p[i].bits / 8, rest = p[i].bits % 8;
        uint8_t mask = (uint8_t)(0xff00U >> rest);
        if (memcmp(ip, p[i].bytes, whole) == 0 && (rest == 0 || (ip[whole] & mask) == p[i].bytes[whole]))
            return true;
    }
    return false;
}

static bool ipv4_is_public(const uint8_t *ip) {
    static const struct prefix special[] = {{{0}, 8},
                                            {{10}, 8},
                                            {{100, 64}, 10},
                                            {{127}, 8},
                                            {{169, 254}, 16},
                                            {{172, 16}, 12},
                                            {{192, 0, 0}, 24},
                                            {{192, 0, 2}, 24},
                                            {{192, 168}, 16},
                                            {{192, 88, 99}, 24},
                                            {{198, 18}, 15},
                                            {{198, 51, 100}, 24},
                                            {{203, 0, 113}, 24},
                                            {{224}, 4},
                                            {{240}, 4}};
    return !in_prefixes(ip, special, sizeof special / sizeof *special);
}

bool addr_is_public(const struct addr *a) {
    /* Within 2000::/3, all of which is public else: Teredo, ORCHID and benchmarks, documentation. */
    static const struct prefix special[] = {
        {{0x20, 0x01, 0}, 23}, {{0x20, 0x01, 0x0d, 0xb8}, 32}, {{0x3f, 0xff, 0}, 20}};
    static const struct prefix global = {{0x20}, 3}, nat64 = {{0, 0x64, 0xff, 0x9b}, 96},
                               six_to_four = {{0x20, 0x02}, 16};
    struct addr plain = *a;
    addr_unmap(&plain);
    if (plain.u.sa.sa_family == AF_INET)
        return ipv4_is_public((const uint8_t *)&plain.u.v4.sin_addr);
    const uint8_t *ip = plain.u.v6.sin6_addr.s6_addr;
    if (plain.u.sa.sa_family != AF_INET6)
        return false;
    if (in_prefixes(ip, &nat64, 1))
        return ipv4_is_public(ip + 12);
    if (in_prefixes(ip, &six_to_four, 1))
        return ipv4_is_public(ip + 2);
    return in_prefixes(ip, &global, 1) && !in_prefixes(ip, special, sizeof special / sizeof *special);
}

bool addr_eq(const struct addr *a, const struct addr *b) {
    if (a->u.sa.sa_family != b->u.sa.sa_family)
        return false;
    if (a->u.sa.sa_family == AF_INET)
        return a->u.v4.sin_port == b->u.v4.sin_port && a->u.v4.sin_addr.s_addr == b->u.v4.sin_addr.s_addr;
    if (a->u.sa.sa_family == AF_INET6)
        return a->u.v6.sin6_port == b->u.v6.sin6_port &&
               memcmp(&a->u.v6.sin6_addr, &b->u.v6.sin6_addr, sizeof a->u.v6.sin6_addr) == 0;
    return true;
}

/* FNV-1a, started from the seed, with a final mix so that the low bits are usable. */
static uint32_t hash_bytes(uint32_t h, const void *p, size_t len) {
    const uint8_t *b = p;
    for (size_t i = 0; i < len; i++)
        h = (h ^ b[i]) * 16777619U;
    return h;
}

uint32_t addr_hash(const struct addr *a, uint32_t seed) {
    uint32_t h = 2166136261U ^ seed;
    if (a->u.sa.sa_family == AF_INET) {
        h = hash_bytes(h, &a->u.v4.sin_port, 2);
        h = hash_bytes(h, &a->u.v4.sin_addr, 4);
    } else if (a->u.sa.sa_family == AF_INET6) {
        h = hash_bytes(h, &a->u.v6.sin6_port, 2);
        h = hash_bytes(h, &a->u.v6.sin6_addr, 16);
    }
    h ^= h >> 16;
    h *= 0x7feb352dU;
    return h ^ h >> 15;
}

uint16_t addr_port(const struct addr *a) {
    return ntohs(a->u.sa.sa_family == AF_INET6 ? a->u.v6.sin6_port : a->u.v4.sin_port);
}

void addr_set_port(struct addr *a, uint16_t port) {
    if (a->u.sa.sa_family == AF_INET6)
        a->u.v6.sin6_port = htons(port);
    else
        a->u.v4.sin_port = htons(port);
}

socklen_t addr_len(const struct addr *a) {
    if (a->u.sa.sa_family == AF_INET)
        return sizeof a->u.v4;
    return a->u.sa.sa_family == AF_INET6 ? sizeof a->u.v6 : 0;
}

char *addr_ip(char out[static ADDR_STR_BYTES], const struct addr *a) {
    out[0] = 0;
    if (a->u.sa.sa_family == AF_INET)
        inet_ntop(AF_INET, &a->u.v4.sin_addr, out, ADDR_STR_BYTES);
    else if (a->u.sa.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &a->u.v6.sin6_addr, out, ADDR_STR_BYTES);
    return out;
}

char *addr_str(char out[static ADDR_STR_BYTES], const struct addr *a) {
    char ip[ADDR_STR_BYTES];
    addr_ip(ip, a);
    snprintf(out, ADDR_STR_BYTES, a->u.sa.sa_family == AF_INET6 ? "[%.46s]:%u" : "%.46s:%u", ip, addr_port(a));
    return out;
}
