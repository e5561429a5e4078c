/* SPDX-License-Identifier: Apache-2.0 */
/* UDP/TCP transport addresses, IPv4 and IPv6. Plain value; zeroed means "none". Thread: any. */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } u;
};

#define ADDR_NAME_BYTES 256 /* a DNS name (RFC 1035 2.3.4: 255 with lengths) and the NUL */
#define ADDR_STR_BYTES  64  /* "[v6%scope]:65535" and the NUL */

/* Numeric address, no DNS; "[::1]" and "::1" both. Returns 0 or E_MALFORMED. */
int addr_parse(struct addr *a, const char *ip, uint16_t port);
/* "1.2.3.4:80", "[::1]:80"; a missing port is E_MALFORMED. */
int addr_parse_hostport(struct addr *a, const char *s);
/* "host:port" taken apart; the host is a name or an address, an IPv6 address stands in brackets and comes without them.
 * Returns 0, or E_MALFORMED: no host, or one longer than cap, no port from 0 to 65535, no brackets. */
int addr_split_hostport(char *host, size_t cap, uint16_t *port, const char *s);
void addr_from_sockaddr(struct addr *a, const struct sockaddr *sa);
/* An IPv4-mapped IPv6 address becomes plain IPv4; others stay. */
void addr_unmap(struct addr *a);
/* Plain IPv4 becomes an IPv4-mapped IPv6 address, as a socket of both families has it; others stay. */
void addr_map(struct addr *a);
/* What one subscriber has: an IPv4 address, or an IPv6 /64 (RFC 4291 2.5.4), without a port; a mapped address counts as
 * plain IPv4. For budgets: whoever has one address of it has them all. */
void addr_network(struct addr *a);
bool addr_is_set(const struct addr *a);
bool addr_is_loopback(const struct addr *a);
/* A unicast address of the internet at large. Not: loopback, private and shared networks, link-local (where clouds have
 * their metadata), unique local, and what else the IANA registries of special-purpose addresses (RFC 6890) keep off it;
 * nor IPv6 addresses in which such an IPv4 address is. */
bool addr_is_public(const struct addr *a);
bool addr_eq(const struct addr *a, const struct addr *b); /* family, address and port */
uint32_t addr_hash(const struct addr *a, uint32_t seed);
uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);
socklen_t addr_len(const struct addr *a); /* of the sockaddr; 0 when not set */
/* "1.2.3.4:80" or "[::1]:80". Returns out. */
char *addr_str(char out[static ADDR_STR_BYTES], const struct addr *a);
/* Address only, without port and brackets. Returns out. */
char *addr_ip(char out[static ADDR_STR_BYTES], const struct addr *a);

#endif
