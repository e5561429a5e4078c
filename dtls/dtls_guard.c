/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/dtls_guard.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/token_bucket.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_BYTES   32
#define SECRET_LIFE_MS 60000
#define COOKIE_LIFE_MS 15000 /* as long as a handshake may take */
#define TIME_BYTES     4
#define BUCKETS        4096 /* 32 KB */

/* RFC 6347 4.1 and 4.2.2 */
#define RECORD_BYTES     13
#define HANDSHAKE_BYTES  12
#define HELLO_MIN_BYTES  (RECORD_BYTES + HANDSHAKE_BYTES + 2 + 32 + 1 + 1)
#define VERIFY_BYTES     (RECORD_BYTES + HANDSHAKE_BYTES + 2 + 1 + DTLS_COOKIE_BYTES)
#define TYPE_HANDSHAKE   22
#define TYPE_CLIENTHELLO 1

_Static_assert(VERIFY_BYTES <= HELLO_MIN_BYTES, "an answer to a stranger is never longer than what came");

/* A session border controller sets up a hundred calls in a second, two datagrams each. */
static const struct token_rate budget = {.per_s = 400, .burst = 400};

struct dtls_guard {
    uint8_t secret[SECRET_BYTES], previous[SECRET_BYTES];
    uint64_t secret_ms;
    uint32_t seed;
    struct token_bucket buckets[BUCKETS];
};

int dtls_guard_new(struct dtls_guard **gp, uint64_t now_ms) {
    struct dtls_guard *g = calloc(1, sizeof *g);
    if (!g)
        return E_NOMEM;
    random_bytes(g->secret, sizeof g->secret);
    random_bytes(g->previous, sizeof g->previous);
    random_bytes(&g->seed, sizeof g->seed);
    g->secret_ms = now_ms;
    *gp = g;
    return 0;
}

struct dtls_guard *dtls_guard_free(struct dtls_guard *g) {
    if (g)
        secret_wipe(g, sizeof *g);
    free(g);
    return NULL;
}

bool dtls_guard_allows(struct dtls_guard *g, const struct addr *who, uint64_t now_ms) {
    struct addr network = *who;
    addr_network(&network);
    return token_bucket_take(&g->buckets[addr_hash(&network, g->seed) % BUCKETS], budget, now_ms);
}

static void renew(struct dtls_guard *g, uint64_t now_ms) {
    if (now_ms - g->secret_ms < SECRET_LIFE_MS)
        return;
    if (now_ms - g->secret_ms < 2ULL * SECRET_LIFE_MS)
        memcpy(g->previous, g->secret, sizeof g->previous);
    else
        random_bytes(g->previous, sizeof g->previous);
    random_bytes(g->secret, sizeof g->secret);
    g->secret_ms = now_ms;
}

static void mac(uint8_t out[static EVP_MAX_MD_SIZE], const uint8_t *secret, const uint8_t *time,
                const struct addr *who) {
    uint8_t text[TIME_BYTES + sizeof(struct in6_addr) + 3] = {0};
    uint16_t port = addr_port(who);
    memcpy(text, time, TIME_BYTES);
    if (who->u.sa.sa_family == AF_INET6)
        memcpy(text + TIME_BYTES, &who->u.v6.sin6_addr, sizeof who->u.v6.sin6_addr);
    else
        memcpy(text + TIME_BYTES, &who->u.v4.sin_addr, sizeof who->u.v4.sin_addr);
    text[sizeof text - 3] = (uint8_t)who->u.sa.sa_family;
    text[sizeof text - 2] = (uint8_t)(port >> 8);
    text[sizeof text - 1] = (uint8_t)port;
    /* Without memory for it the result stays what it was: random, so that no cookie matches. */
    random_bytes(out, DTLS_COOKIE_BYTES);
    HMAC(EVP_sha256(), secret, SECRET_BYTES, text, sizeof text, out, NULL);
}

void dtls_guard_cookie(struct dtls_guard *g, uint8_t out[static DTLS_COOKIE_BYTES], const struct addr *who,
                       uint64_t now_ms) {
    uint8_t digest[EVP_MAX_MD_SIZE];
    renew(g, now_ms);
    for (int i = 0; i < TIME_BYTES; i++)
        out[i] = (uint8_t)(now_ms >> (8 * (TIME_BYTES - 1 - i)));
    mac(digest, g->secret, out, who);
    memcpy(out + TIME_BYTES, digest, DTLS_COOKIE_BYTES - TIME_BYTES);
}

int dtls_guard_check(struct dtls_guard *g, const uint8_t *cookie, size_t len, const struct addr *who, uint64_t now_ms) {
    const uint8_t *secrets[] = {g->secret, g->previous};
    uint8_t digest[EVP_MAX_MD_SIZE];
    uint32_t made_ms = 0;
    renew(g, now_ms);
    if (len != DTLS_COOKIE_BYTES)
        return E_AUTH;
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        mac(digest, secrets[i], cookie, who);
        if (!secret_eq_bytes(digest, cookie + TIME_BYTES, DTLS_COOKIE_BYTES - TIME_BYTES))
            continue;
        for (int k = 0; k < TIME_BYTES; k++)
            made_ms = made_ms << 8 | cookie[k];
        uint32_t age_ms = (uint32_t)now_ms - made_ms;
        return age_ms <= COOKIE_LIFE_MS ? (int)age_ms : E_EXPIRED;
    }
    return E_AUTH;
}

bool dtls_guard_is_hello(const uint8_t *p, size_t len) {
    if (len < HELLO_MIN_BYTES || p[0] != TYPE_HANDSHAKE || p[1] != 0xfe || p[RECORD_BYTES] != TYPE_CLIENTHELLO)
        return false;
    bool first_epoch = p[3] == 0 && p[4] == 0;
    size_t record = (size_t)p[11] << 8 | p[12], body = (size_t)p[14] << 16 | (size_t)p[15] << 8 | p[16],
           offset = (size_t)p[19] << 16 | (size_t)p[20] << 8 | p[21],
           fragment = (size_t)p[22] << 16 | (size_t)p[23] << 8 | p[24];
    return first_epoch && record <= len - RECORD_BYTES && offset == 0 && fragment == body &&
           record >= HANDSHAKE_BYTES + body;
}
