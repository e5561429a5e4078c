/* SPDX-License-Identifier: Apache-2.0 */
/* STUN messages as ICE uses them (RFC 8489, RFC 8445 section 7.1).
 *
 *    0                   1                   2                   3
 *   |0 0|  message type (14)        |  length of what follows (16)  |
 *   |                magic cookie 0x2112A442                        |
 *   |                transaction id, 12 bytes                       |
 *   |  attributes: type (16) | length (16) | value, padded to 4     |
 *
 * Thread: any; nothing is kept, nothing is allocated. */
#ifndef DTLS_STUN_MSG_H
#define DTLS_STUN_MSG_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STUN_HEADER_BYTES       20
#define STUN_TXID_BYTES         12
#define STUN_MSG_MAX_BYTES      548 /* RFC 8489 6.1: stays under the IPv4 minimum MTU */
#define STUN_USERNAME_MAX_BYTES 513

enum stun_type {
    STUN_BINDING_REQUEST = 0x0001,
    STUN_BINDING_INDICATION = 0x0011,
    STUN_BINDING_SUCCESS = 0x0101,
    STUN_BINDING_ERROR = 0x0111
};

/* A parsed message; pointers point into the datagram it was parsed from. */
struct stun_msg {
    const uint8_t *raw;
    size_t raw_len;
    uint16_t type;
    const uint8_t *txid; /* STUN_TXID_BYTES */
    const char *username;
    size_t username_len; /* 0: absent */
    bool has_priority, use_candidate, ice_controlling, ice_controlled, has_fingerprint;
    uint32_t priority;
    uint64_t tie_breaker;         /* of ice_controlling or ice_controlled */
    size_t integrity_at;          /* offset of MESSAGE-INTEGRITY's header; 0: absent */
    struct addr mapped;           /* XOR-MAPPED-ADDRESS; unset when absent */
    int error_code;               /* ERROR-CODE; 0 when absent */
    uint16_t unknown_required[8]; /* comprehension-required attributes that we do not know (RFC 8489 6.3.1) */
    size_t unknown_count;
};

/* What to encode. Zeroed fields are left out. */
struct stun_build {
    uint16_t type;
    const uint8_t *txid; /* STUN_TXID_BYTES */
    const char *username;
    const struct addr *mapped;
    bool has_priority, use_candidate, ice_controlling, ice_controlled;
    uint32_t priority;
    uint64_t tie_breaker;
    int error_code;
    const char *error_reason;
    const uint16_t *unknown; /* UNKNOWN-ATTRIBUTES of a 420 */
    size_t unknown_count;
    const char *pwd; /* MESSAGE-INTEGRITY key (short-term); NULL: none. FINGERPRINT is always added */
};

/* Is this datagram STUN: first byte 0..3 (RFC 7983), length, magic cookie. */
bool stun_msg_is_stun(const uint8_t *p, size_t len);
/* Parse, and check FINGERPRINT where present. Returns 0 or E_MALFORMED. */
int stun_msg_parse(struct stun_msg *m, const uint8_t *p, size_t len);
/* MESSAGE-INTEGRITY (HMAC-SHA1) with a short-term password, constant-time. Returns 0 or E_AUTH. */
int stun_msg_check(const struct stun_msg *m, const char *pwd);
/* Returns the length written, or E_FULL, E_INVAL, E_CRYPTO. */
int stun_msg_encode(uint8_t *out, size_t cap, const struct stun_build *b);

#endif
