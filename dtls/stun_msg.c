/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/stun_msg.h"

#include "base/err.h"
#include "dtls/hmac_sha1.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <string.h>

#define MAGIC_COOKIE           0x2112A442U
#define ATTR_HEADER            4
#define INTEGRITY_BYTES        20          /* HMAC-SHA1 */
#define FINGERPRINT_XOR        0x5354554eU /* RFC 8489 14.7 */
#define FAMILY_IPV4            1
#define FAMILY_IPV6            2
#define COMPREHENSION_OPTIONAL 0x8000

enum attr {
    ATTR_USERNAME = 0x0006,
    ATTR_MESSAGE_INTEGRITY = 0x0008,
    ATTR_ERROR_CODE = 0x0009,
    ATTR_UNKNOWN_ATTRIBUTES = 0x000a,
    ATTR_XOR_MAPPED_ADDRESS = 0x0020,
    ATTR_PRIORITY = 0x0024,
    ATTR_USE_CANDIDATE = 0x0025,
    ATTR_FINGERPRINT = 0x8028,
    ATTR_ICE_CONTROLLED = 0x8029,
    ATTR_ICE_CONTROLLING = 0x802a
};

static uint16_t get16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p) {
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint64_t get64(const uint8_t *p) {
    return (uint64_t)get32(p) << 32 | get32(p + 4);
}

static void put16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v) {
    put16(p, (uint16_t)(v >> 16));
    put16(p + 2, (uint16_t)v);
}

static void put64(uint8_t *p, uint64_t v) {
    put32(p, (uint32_t)(v >> 32));
    put32(p + 4, (uint32_t)v);
}

/* CRC-32 of ITU-T V.42, by four bits. */
static uint32_t crc32_of(const uint8_t *p, size_t len) {
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                       0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = 0xffffffffU;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

/* RFC 8489 14.5: the HMAC covers the message up to the attribute, with the header's length counting it. */
static int integrity(uint8_t out[static INTEGRITY_BYTES], const uint8_t *msg, size_t attr_at, const char *pwd) {
    struct hmac_sha1 h;
    uint8_t head[4];
    if (attr_at > STUN_MSG_MAX_BYTES)
        return E_MALFORMED;
    memcpy(head, msg, sizeof head);
    put16(head + 2, (uint16_t)(attr_at + ATTR_HEADER + INTEGRITY_BYTES - STUN_HEADER_BYTES));
    hmac_sha1_key(&h, (const uint8_t *)pwd, strlen(pwd));
    hmac_sha1_update(&h, head, sizeof head);
    hmac_sha1_update(&h, msg + sizeof head, attr_at - sizeof head);
    hmac_sha1_end(&h, out);
    hmac_sha1_wipe(&h);
    return 0;
}

bool stun_msg_is_stun(const uint8_t *p, size_t len) {
    return len >= STUN_HEADER_BYTES && p[0] <= 3 && get32(p + 4) == MAGIC_COOKIE && (len & 3) == 0 &&
           get16(p + 2) == len - STUN_HEADER_BYTES;
}

/* RFC 8489 14.2. */
static int parse_xor_mapped(struct stun_msg *m, const uint8_t *v, size_t len) {
    uint8_t ip[16];
    if (len < 8 || (v[1] == FAMILY_IPV6 && len < 20) || (v[1] != FAMILY_IPV4 && v[1] != FAMILY_IPV6))
        return E_MALFORMED;
    uint16_t port = get16(v + 2) ^ (uint16_t)(MAGIC_COOKIE >> 16);
    for (size_t i = 0; i < (v[1] == FAMILY_IPV6 ? 16U : 4U); i++)
        ip[i] = v[4 + i] ^ m->raw[4 + i]; /* cookie and transaction id lie behind each other */
    memset(&m->mapped, 0, sizeof m->mapped);
    if (v[1] == FAMILY_IPV4) {
        m->mapped.u.v4.sin_family = AF_INET;
        memcpy(&m->mapped.u.v4.sin_addr, ip, 4);
    } else {
        m->mapped.u.v6.sin6_family = AF_INET6;
        memcpy(&m->mapped.u.v6.sin6_addr, ip, 16);
    }
    addr_set_port(&m->mapped, port);
    return 0;
}

static int parse_fingerprint(struct stun_msg *m, const uint8_t *attr, size_t len, size_t at) {
    if (len != 4 || get32(attr + ATTR_HEADER) != (crc32_of(m->raw, at) ^ FINGERPRINT_XOR))
        return E_MALFORMED;
    m->has_fingerprint = true;
    return 0;
}

static int parse_attr(struct stun_msg *m, uint16_t type, const uint8_t *attr, size_t len, size_t at) {
    const uint8_t *v = attr + ATTR_HEADER;
    switch (type) {
    case ATTR_USERNAME:
        if (len > STUN_USERNAME_MAX_BYTES)
            return E_MALFORMED;
        m->username = (const char *)v;
        m->username_len = len;
        return 0;
    case ATTR_MESSAGE_INTEGRITY:
        m->integrity_at = at;
        return len == INTEGRITY_BYTES ? 0 : E_MALFORMED;
    case ATTR_ERROR_CODE:
        if (len < 4)
            return E_MALFORMED;
        m->error_code = (v[2] & 7) * 100 + v[3];
        return 0;
    case ATTR_XOR_MAPPED_ADDRESS:
        return parse_xor_mapped(m, v, len);
    case ATTR_PRIORITY:
        m->has_priority = true;
        m->priority = len == 4 ? get32(v) : 0;
        return len == 4 ? 0 : E_MALFORMED;
    case ATTR_USE_CANDIDATE:
        m->use_candidate = true;
        return len == 0 ? 0 : E_MALFORMED;
    case ATTR_ICE_CONTROLLED:
    case ATTR_ICE_CONTROLLING:
        *(type == ATTR_ICE_CONTROLLED ? &m->ice_controlled : &m->ice_controlling) = true;
        m->tie_breaker = len == 8 ? get64(v) : 0;
        return len == 8 ? 0 : E_MALFORMED;
    default:
        if (type < COMPREHENSION_OPTIONAL && type != ATTR_UNKNOWN_ATTRIBUTES &&
            m->unknown_count < sizeof m->unknown_required / sizeof *m->unknown_required)
            m->unknown_required[m->unknown_count++] = type;
        return 0;
    }
}

int stun_msg_parse(struct stun_msg *m, const uint8_t *p, size_t len) {
    if (!stun_msg_is_stun(p, len) || len > STUN_MSG_MAX_BYTES)
        return E_MALFORMED;
    memset(m, 0, sizeof *m);
    m->raw = p;
    m->raw_len = len;
    m->type = get16(p);
    m->txid = p + 8;
    for (size_t at = STUN_HEADER_BYTES; at < len;) {
        if (len - at < ATTR_HEADER)
            return E_MALFORMED;
        uint16_t type = get16(p + at);
        size_t n = get16(p + at + 2), padded = (n + 3) & ~(size_t)3;
        if (padded > len - at - ATTR_HEADER)
            return E_MALFORMED;
        if (type == ATTR_FINGERPRINT) /* the last attribute, RFC 8489 14.7 */
            return at + ATTR_HEADER + padded == len ? parse_fingerprint(m, p + at, n, at) : E_MALFORMED;
        /* What follows MESSAGE-INTEGRITY is not protected and must be ignored (14.5). */
        if (!m->integrity_at && parse_attr(m, type, p + at, n, at) != 0)
            return E_MALFORMED;
        at += ATTR_HEADER + padded;
    }
    return 0;
}

int stun_msg_check(const struct stun_msg *m, const char *pwd) {
    uint8_t expected[INTEGRITY_BYTES];
    if (!m->integrity_at || integrity(expected, m->raw, m->integrity_at, pwd) != 0)
        return E_AUTH;
    return CRYPTO_memcmp(expected, m->raw + m->integrity_at + ATTR_HEADER, sizeof expected) == 0 ? 0 : E_AUTH;
}

/* A message being written. */
struct writer {
    uint8_t *p;
    size_t len, cap;
    bool full;
};

static uint8_t *add_attr(struct writer *w, uint16_t type, size_t len) {
    size_t padded = (len + 3) & ~(size_t)3;
    if (w->full || ATTR_HEADER + padded > w->cap - w->len) {
        w->full = true;
        return NULL;
    }
    uint8_t *attr = w->p + w->len;
    put16(attr, type);
    put16(attr + 2, (uint16_t)len);
    memset(attr + ATTR_HEADER, 0, padded);
    w->len += ATTR_HEADER + padded;
    return attr + ATTR_HEADER;
}

static void add_bytes(struct writer *w, uint16_t type, const void *p, size_t len) {
    uint8_t *v = add_attr(w, type, len);
    if (v && len)
        memcpy(v, p, len);
}

static void add_u32(struct writer *w, uint16_t type, uint32_t value) {
    uint8_t *v = add_attr(w, type, 4);
    if (v)
        put32(v, value);
}

static void add_u64(struct writer *w, uint16_t type, uint64_t value) {
    uint8_t *v = add_attr(w, type, 8);
    if (v)
        put64(v, value);
}

static void add_xor_mapped(struct writer *w, const struct addr *a) {
    bool v6 = a->u.sa.sa_family == AF_INET6;
    const uint8_t *ip = v6 ? a->u.v6.sin6_addr.s6_addr : (const uint8_t *)&a->u.v4.sin_addr;
    uint8_t *v = add_attr(w, ATTR_XOR_MAPPED_ADDRESS, v6 ? 20 : 8);
    if (!v)
        return;
    v[1] = v6 ? FAMILY_IPV6 : FAMILY_IPV4;
    put16(v + 2, addr_port(a) ^ (uint16_t)(MAGIC_COOKIE >> 16));
    for (size_t i = 0; i < (v6 ? 16U : 4U); i++)
        v[4 + i] = ip[i] ^ w->p[4 + i];
}

static void add_error(struct writer *w, int code, const char *reason) {
    size_t len = reason ? strlen(reason) : 0;
    uint8_t *v = add_attr(w, ATTR_ERROR_CODE, 4 + len);
    if (!v)
        return;
    v[2] = (uint8_t)(code / 100);
    v[3] = (uint8_t)(code % 100);
    if (len)
        memcpy(v + 4, reason, len);
}

static int seal(struct writer *w, const char *pwd) {
    size_t at = w->len;
    int err = 0;
    if (pwd) {
        uint8_t *v = add_attr(w, ATTR_MESSAGE_INTEGRITY, INTEGRITY_BYTES);
        err = v ? integrity(v, w->p, at, pwd) : E_FULL;
    }
    at = w->len;
    uint8_t *v = add_attr(w, ATTR_FINGERPRINT, 4);
    if (!v)
        return E_FULL;
    put16(w->p + 2, (uint16_t)(w->len - STUN_HEADER_BYTES));
    put32(v, crc32_of(w->p, at) ^ FINGERPRINT_XOR);
    return err;
}

int stun_msg_encode(uint8_t *out, size_t cap, const struct stun_build *b) {
    struct writer w = {out, STUN_HEADER_BYTES, cap < STUN_MSG_MAX_BYTES ? cap : STUN_MSG_MAX_BYTES, false};
    if (cap < STUN_HEADER_BYTES)
        return E_FULL;
    put16(out, b->type);
    put32(out + 4, MAGIC_COOKIE);
    memcpy(out + 8, b->txid, STUN_TXID_BYTES);
    if (b->error_code)
        add_error(&w, b->error_code, b->error_reason);
    if (b->unknown_count) {
        uint8_t *v = add_attr(&w, ATTR_UNKNOWN_ATTRIBUTES, b->unknown_count * 2);
        for (size_t i = 0; v && i < b->unknown_count; i++)
            put16(v + 2 * i, b->unknown[i]);
    }
    if (b->username)
        add_bytes(&w, ATTR_USERNAME, b->username, strlen(b->username));
    if (b->mapped)
        add_xor_mapped(&w, b->mapped);
    if (b->has_priority)
        add_u32(&w, ATTR_PRIORITY, b->priority);
    if (b->use_candidate)
        add_bytes(&w, ATTR_USE_CANDIDATE, NULL, 0);
    if (b->ice_controlling || b->ice_controlled)
        add_u64(&w, b->ice_controlling ? ATTR_ICE_CONTROLLING : ATTR_ICE_CONTROLLED, b->tie_breaker);
    int err = w.full ? E_FULL : seal(&w, b->pwd);
    return err == 0 ? (int)w.len : err;
}
