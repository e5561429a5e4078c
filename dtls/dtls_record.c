/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/dtls_record.h"

#include "base/aead.h"
#include "base/err.h"
#include "base/secret.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <string.h>

#define EPOCH          1 /* there is no renegotiation */
#define EXPLICIT_BYTES 8
#define AAD_BYTES      13
#define RANDOM_BYTES   32UL
#define SEQ_MAX        ((1ULL << 48) - 1)
#define WINDOW_BITS    64

struct dtls_record_suite {
    int nid; /* SSL_CIPHER_get_cipher_nid */
    enum aead_cipher cipher;
    size_t key_bytes, iv_bytes, explicit_bytes;
};

static const struct dtls_record_suite suites[] = {
    {NID_aes_128_gcm, AEAD_AES_128_GCM, 16, 4, EXPLICIT_BYTES},
    {NID_aes_256_gcm, AEAD_AES_256_GCM, 32, 4, EXPLICIT_BYTES},
    {NID_chacha20_poly1305, AEAD_CHACHA20_POLY1305, 32, AEAD_NONCE_BYTES, 0},
};

static uint64_t get_be(const uint8_t *p, size_t bytes) {
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n = n << 8 | p[i];
    return n;
}

static void put_be(uint8_t *p, size_t bytes, uint64_t n) {
    for (size_t i = bytes; i > 0; i--, n >>= 8)
        p[i - 1] = (uint8_t)n;
}

size_t dtls_record_length(const uint8_t *p, size_t len) {
    if (len < DTLS_RECORD_HEADER_BYTES)
        return len;
    size_t whole = DTLS_RECORD_HEADER_BYTES + (size_t)get_be(p + 11, 2);
    return whole < len ? whole : len;
}

static bool header_ok(const uint8_t *p, size_t len) {
    return len >= DTLS_RECORD_HEADER_BYTES && get_be(p + 1, 2) == DTLS1_2_VERSION && get_be(p + 3, 2) == EPOCH &&
           get_be(p + 11, 2) == len - DTLS_RECORD_HEADER_BYTES;
}

/* RFC 5288 3: salt and the explicit part. RFC 7905 2: the sequence number, xored with the IV. */
static void make_nonce(const struct dtls_record_suite *suite, const struct dtls_record_keys *k, const uint8_t *header,
                       uint8_t nonce[static AEAD_NONCE_BYTES]) {
    memcpy(nonce, k->iv, suite->iv_bytes);
    if (suite->explicit_bytes) {
        memcpy(nonce + suite->iv_bytes, header + DTLS_RECORD_HEADER_BYTES, EXPLICIT_BYTES);
        return;
    }
    for (size_t i = 0; i < 8; i++)
        nonce[AEAD_NONCE_BYTES - 8 + i] ^= header[3 + i];
}

/* RFC 5246 6.2.3.3: sequence number (with the epoch), type, version, length of the text. */
static void make_aad(const uint8_t *header, size_t text_len, uint8_t aad[static AAD_BYTES]) {
    memcpy(aad, header + 3, 8);
    memcpy(aad + 8, header, 3);
    put_be(aad + 11, 2, text_len);
}

/* Seal or open in place. text: len bytes behind the header and the explicit nonce, the tag behind it. */
static bool run_aead(const struct dtls_record_suite *suite, const struct dtls_record_keys *k, bool seal,
                     const uint8_t *header, uint8_t *text, size_t len) {
    uint8_t nonce[AEAD_NONCE_BYTES], aad[AAD_BYTES];
    const struct aead a = {suite->cipher, k->key, nonce, aad, sizeof aad};
    make_nonce(suite, k, header, nonce);
    make_aad(header, len, aad);
    return (seal ? aead_close(&a, text, text, len, text + len) : aead_open(&a, text, text, len, text + len)) == 0;
}

/* PRF(master secret, "key expansion", server random + client random) (RFC 5246 6.3). */
static bool key_block(const SSL *ssl, uint8_t *out, size_t len) {
    static const char label[] = "key expansion";
    uint8_t seed[sizeof label - 1 + 2 * RANDOM_BYTES], master[SSL_MAX_MASTER_KEY_LENGTH];
    const EVP_MD *md = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
    size_t master_len = SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof master);
    memcpy(seed, label, sizeof label - 1);
    SSL_get_server_random(ssl, seed + sizeof label - 1, RANDOM_BYTES);
    SSL_get_client_random(ssl, seed + sizeof label - 1 + RANDOM_BYTES, RANDOM_BYTES);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_PRF, NULL);
    EVP_KDF_CTX *c = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    char name[32] = "";
    if (md)
        OPENSSL_strlcpy(name, EVP_MD_get0_name(md), sizeof name);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, name, 0),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master, master_len),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, sizeof seed),
                           OSSL_PARAM_construct_end()};
    bool ok = c && md && EVP_KDF_derive(c, out, len, params) == 1;
    EVP_KDF_CTX_free(c);
    EVP_KDF_free(kdf);
    secret_wipe(master, sizeof master);
    return ok;
}

static const struct dtls_record_suite *suite_by_nid(int nid) {
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++)
        if (suites[i].nid == nid)
            return &suites[i];
    return NULL;
}

static const struct dtls_record_suite *suite_of(const SSL *ssl) {
    return suite_by_nid(SSL_version(ssl) == DTLS1_2_VERSION ? SSL_CIPHER_get_cipher_nid(SSL_get_current_cipher(ssl))
                                                            : NID_undef);
}

/* RFC 5246 6.3: the client's key, the server's key, the client's IV, the server's IV; AEAD has no MAC keys. */
static bool derive(struct dtls_record *r, const SSL *ssl) {
    uint8_t block[2 * sizeof(struct dtls_record_keys)];
    struct dtls_record_keys *client = SSL_is_server(ssl) ? &r->rx : &r->tx,
                            *server = SSL_is_server(ssl) ? &r->tx : &r->rx;
    size_t key = r->suite->key_bytes, iv = r->suite->iv_bytes;
    bool ok = key_block(ssl, block, 2 * (key + iv));
    if (ok) {
        memcpy(client->key, block, key);
        memcpy(server->key, block + key, key);
        memcpy(client->iv, block + 2 * key, iv);
        memcpy(server->iv, block + 2 * key + iv, iv);
    }
    secret_wipe(block, sizeof block);
    return ok;
}

/* Undo what OpenSSL sealed: the keys are right. */
static bool opens(const struct dtls_record *r, const uint8_t *sent, size_t len) {
    uint8_t copy[DTLS_RECORD_OVERHEAD_BYTES + 256];
    size_t head = DTLS_RECORD_HEADER_BYTES + r->suite->explicit_bytes;
    if (len > sizeof copy || len < head + AEAD_TAG_BYTES || !header_ok(sent, len))
        return false;
    memcpy(copy, sent, len);
    bool ok = run_aead(r->suite, &r->tx, false, copy, copy + head, len - head - AEAD_TAG_BYTES);
    secret_wipe(copy, sizeof copy);
    return ok;
}

int dtls_record_take(struct dtls_record *r, const SSL *ssl, const uint8_t *sent, size_t sent_len) {
    memset(r, 0, sizeof *r);
    r->suite = suite_of(ssl);
    if (!r->suite)
        return E_UNSUPPORTED;
    if (!derive(r, ssl) || !opens(r, sent, sent_len)) {
        dtls_record_wipe(r);
        return E_CRYPTO;
    }
    /* OpenSSL counts its explicit nonces up from a random start: going on from there, none comes twice. */
    r->tx_seq = get_be(sent + 5, 6) + 1;
    r->tx_nonce = get_be(sent + DTLS_RECORD_HEADER_BYTES, EXPLICIT_BYTES) + 1;
    r->tx_limit = SEQ_MAX + 1;
    return 0;
}

/* Sequence numbers and nonces go up together: those that are left out are left out of both. */
void dtls_record_save(const struct dtls_record *r, struct dtls_record_state *state, uint64_t from) {
    *state = (struct dtls_record_state){.cipher = r->suite->nid,
                                        .rx = r->rx,
                                        .tx = r->tx,
                                        .tx_seq = from,
                                        .tx_nonce = r->tx_nonce + (from - r->tx_seq),
                                        .rx_highest = r->rx_highest,
                                        .rx_window = r->rx_window};
}

int dtls_record_restore(struct dtls_record *r, const struct dtls_record_state *state) {
    memset(r, 0, sizeof *r);
    r->suite = suite_by_nid(state->cipher);
    if (!r->suite)
        return E_UNSUPPORTED;
    r->rx = state->rx;
    r->tx = state->tx;
    r->tx_seq = r->tx_limit = state->tx_seq;
    r->tx_nonce = state->tx_nonce;
    r->rx_highest = state->rx_highest;
    r->rx_window = state->rx_window;
    return 0;
}

void dtls_record_wipe(struct dtls_record *r) {
    secret_wipe(r, sizeof *r);
}

int dtls_record_seal(struct dtls_record *r, enum dtls_record_type type, const uint8_t *p, size_t len, uint8_t *out,
                     size_t cap) {
    size_t head = DTLS_RECORD_HEADER_BYTES + r->suite->explicit_bytes, whole = head + len + AEAD_TAG_BYTES;
    if (whole > cap)
        return E_FULL;
    if (r->tx_seq >= r->tx_limit || r->tx_seq > SEQ_MAX)
        return E_CLOSED;
    out[0] = (uint8_t)type;
    put_be(out + 1, 2, DTLS1_2_VERSION);
    put_be(out + 3, 2, EPOCH);
    put_be(out + 5, 6, r->tx_seq++);
    put_be(out + 11, 2, whole - DTLS_RECORD_HEADER_BYTES);
    put_be(out + DTLS_RECORD_HEADER_BYTES, r->suite->explicit_bytes, r->tx_nonce++);
    memcpy(out + head, p, len);
    return run_aead(r->suite, &r->tx, true, out, out + head, len) ? (int)whole : E_CRYPTO;
}

static bool is_replay(const struct dtls_record *r, uint64_t seq) {
    if (seq > r->rx_highest)
        return false;
    uint64_t below = r->rx_highest - seq;
    return below >= WINDOW_BITS || (r->rx_window >> below & 1);
}

static void note(struct dtls_record *r, uint64_t seq) {
    if (seq > r->rx_highest) {
        uint64_t step = seq - r->rx_highest;
        r->rx_window = step < WINDOW_BITS ? r->rx_window << step : 0;
        r->rx_highest = seq;
    }
    r->rx_window |= 1ULL << (r->rx_highest - seq);
}

int dtls_record_open(struct dtls_record *r, uint8_t *p, size_t len, const uint8_t **text) {
    size_t head = DTLS_RECORD_HEADER_BYTES + r->suite->explicit_bytes;
    if (!header_ok(p, len) || len < head + AEAD_TAG_BYTES)
        return E_MALFORMED;
    uint64_t seq = get_be(p + 5, 6);
    if (is_replay(r, seq))
        return E_CONFLICT;
    if (!run_aead(r->suite, &r->rx, false, p, p + head, len - head - AEAD_TAG_BYTES))
        return E_AUTH;
    note(r, seq);
    *text = p + head;
    return (int)(len - head - AEAD_TAG_BYTES);
}
