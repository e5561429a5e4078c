/* SPDX-License-Identifier: Apache-2.0 */
/* Protected packets against published ones, and against a reference made of OpenSSL's ciphers alone, which is itself
 * checked against the vectors of RFC 3711 and RFC 7714. */
#include "base/bytes.h"
#include "base/err.h"
#include "dtls/rtp_crypt.h"
#include "tests/vectors/srtp.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PACKET_BYTES 256
#define RTP_HEADER   12
#define GCM_TAG      16
#define CM_TAG       10
#define SSRC         0xcafebabeU

enum { LABEL_CIPHER, LABEL_AUTH, LABEL_SALT };

struct packet {
    uint8_t p[PACKET_BYTES];
    size_t len;
};

static struct packet hex(const char *s) {
    struct packet out;
    int n = hex_decode(out.p, sizeof out.p, s);
    assert_true(n >= 0);
    out.len = (size_t)n;
    return out;
}

static void assert_bytes(const struct packet *got, const char *want_hex) {
    char text[2 * PACKET_BYTES + 1];
    assert_string_equal(hex_encode(text, got->p, got->len), want_hex);
}

/* The reference: key derivation (RFC 3711 4.3), AES-CM with HMAC-SHA1-80 (4.1.1, 4.2), AES-GCM (RFC 7714 8, 9). */

static void ctr(uint8_t *out, const uint8_t *in, size_t len, const uint8_t *key, size_t key_len,
                const uint8_t iv[static 16]) {
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0;
    assert_int_equal(EVP_EncryptInit_ex(c, key_len == 32 ? EVP_aes_256_ctr() : EVP_aes_128_ctr(), NULL, key, iv), 1);
    assert_int_equal(EVP_EncryptUpdate(c, out, &n, in, (int)len), 1);
    EVP_CIPHER_CTX_free(c);
}

static void derive(uint8_t *out, size_t len, const uint8_t *master, size_t key_len, size_t salt_len, uint8_t label) {
    static const uint8_t zeros[64];
    uint8_t iv[16] = {0};
    memcpy(iv, master + key_len, salt_len); /* a salt of 12 bytes counts as padded on the right, RFC 7714 11 */
    iv[7] ^= label;
    ctr(out, zeros, len, master, key_len, iv);
}

static void gcm(struct packet *out, size_t aad_len, const uint8_t *key, size_t key_len, const uint8_t iv[static 12]) {
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0;
    assert_int_equal(EVP_EncryptInit_ex(c, key_len == 32 ? EVP_aes_256_gcm() : EVP_aes_128_gcm(), NULL, key, iv), 1);
    assert_int_equal(EVP_EncryptUpdate(c, NULL, &n, out->p, (int)aad_len), 1);
    assert_int_equal(EVP_EncryptUpdate(c, out->p + aad_len, &n, out->p + aad_len, (int)(out->len - aad_len)), 1);
    assert_int_equal(EVP_EncryptFinal_ex(c, out->p + out->len, &n), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, GCM_TAG, out->p + out->len), 1);
    out->len += GCM_TAG;
    EVP_CIPHER_CTX_free(c);
}

/* IV of a packet: the salt, xored with SSRC, ROC and sequence number. */
static void packet_iv(uint8_t *iv, const uint8_t *p, uint32_t roc, size_t ssrc_at) {
    for (size_t i = 0; i < 4; i++) {
        iv[ssrc_at + i] ^= p[8 + i];
        iv[ssrc_at + 4 + i] ^= (uint8_t)(roc >> (24 - 8 * i));
    }
    iv[ssrc_at + 8] ^= p[2];
    iv[ssrc_at + 9] ^= p[3];
}

static void reference_gcm(struct packet *k, const uint8_t *master, size_t key_len, uint32_t roc) {
    uint8_t key[32], iv[12];
    derive(key, key_len, master, key_len, 12, LABEL_CIPHER);
    derive(iv, sizeof iv, master, key_len, 12, LABEL_SALT);
    packet_iv(iv, k->p, roc, 2);
    gcm(k, RTP_HEADER, key, key_len, iv);
}

static void reference_cm(struct packet *k, const uint8_t *master, uint32_t roc) {
    uint8_t key[16], auth[20], iv[16] = {0}, digest[20];
    const uint8_t roc_bytes[] = {(uint8_t)(roc >> 24), (uint8_t)(roc >> 16), (uint8_t)(roc >> 8), (uint8_t)roc};
    unsigned n = sizeof digest;
    derive(key, sizeof key, master, 16, 14, LABEL_CIPHER);
    derive(auth, sizeof auth, master, 16, 14, LABEL_AUTH);
    derive(iv, 14, master, 16, 14, LABEL_SALT);
    packet_iv(iv, k->p, roc, 4);
    ctr(k->p + RTP_HEADER, k->p + RTP_HEADER, k->len - RTP_HEADER, key, sizeof key, iv);
    memcpy(k->p + k->len, roc_bytes, sizeof roc_bytes);
    assert_non_null(HMAC(EVP_sha1(), auth, sizeof auth, k->p, k->len + sizeof roc_bytes, digest, &n));
    memcpy(k->p + k->len, digest, CM_TAG);
    k->len += CM_TAG;
}

static void reference(struct packet *k, const struct media_keys *keys, uint32_t roc) {
    if (keys->profile == MEDIA_PROFILE_AES128_CM_SHA1_80)
        reference_cm(k, keys->tx, roc);
    else
        reference_gcm(k, keys->tx, media_profile_info(keys->profile)->key_bytes, roc);
}

static void the_reference_derives_the_keys_of_rfc_3711_b3(void **state) {
    struct packet master = hex(RFC3711_MASTER_KEY RFC3711_MASTER_SALT), out;
    (void)state;
    derive(out.p, out.len = 16, master.p, 16, 14, LABEL_CIPHER);
    assert_bytes(&out, RFC3711_CIPHER_KEY);
    derive(out.p, out.len = 20, master.p, 16, 14, LABEL_AUTH);
    assert_bytes(&out, RFC3711_AUTH_KEY);
    derive(out.p, out.len = 14, master.p, 16, 14, LABEL_SALT);
    assert_bytes(&out, RFC3711_SALT);
}

static void the_reference_makes_the_keystream_of_rfc_3711_b2(void **state) {
    struct packet key = hex(RFC3711_STREAM_KEY), iv = hex(RFC3711_STREAM_SALT "0000"), out = {{0}, 32};
    (void)state;
    ctr(out.p, out.p, out.len, key.p, key.len, iv.p);
    assert_bytes(&out, RFC3711_STREAM);
}

static void the_reference_seals_the_packets_of_rfc_7714_16(void **state) {
    struct packet salt = hex(RFC7714_SALT), key = hex(RFC7714_KEY_128), long_key = hex(RFC7714_KEY_256);
    struct packet a = hex(RFC7714_HEADER RFC7714_PAYLOAD), b = a;
    (void)state;
    packet_iv(salt.p, a.p, 0, 2);
    gcm(&a, RTP_HEADER, key.p, key.len, salt.p);
    assert_bytes(&a, RFC7714_HEADER RFC7714_SEALED_128);
    gcm(&b, RTP_HEADER, long_key.p, long_key.len, salt.p);
    assert_bytes(&b, RFC7714_HEADER RFC7714_SEALED_256);
}

/* One leg, and the leg of its peer. */
struct pair {
    struct media_keys keys, peer_keys;
    struct rtp_crypt *here, *there;
};

static void pair_open(struct pair *w) {
    const struct media_profile_info *info = media_profile_info(w->keys.profile);
    w->peer_keys.profile = w->keys.profile;
    memcpy(w->peer_keys.rx, w->keys.tx, info->key_bytes + info->salt_bytes);
    memcpy(w->peer_keys.tx, w->keys.rx, info->key_bytes + info->salt_bytes);
    assert_int_equal(rtp_crypt_new(&w->here, &w->keys), 0);
    assert_int_equal(rtp_crypt_new(&w->there, &w->peer_keys), 0);
}

static struct pair pair_new(enum media_profile profile) {
    struct pair w;
    memset(&w, 0, sizeof w);
    media_keys_random(&w.keys, profile);
    pair_open(&w);
    return w;
}

static void pair_free(struct pair *w) {
    w->here = rtp_crypt_free(w->here);
    w->there = rtp_crypt_free(w->there);
    assert_null(w->here);
}

static struct packet rtp(uint32_t ssrc, uint16_t seq) {
    struct packet k = {{0x80, 111, (uint8_t)(seq >> 8), (uint8_t)seq, 0, 0, 0, 1, (uint8_t)(ssrc >> 24),
                        (uint8_t)(ssrc >> 16), (uint8_t)(ssrc >> 8), (uint8_t)ssrc},
                       RTP_HEADER + 40};
    for (size_t i = RTP_HEADER; i < k.len; i++)
        k.p[i] = (uint8_t)(i * 7);
    return k;
}

static void assert_same(const struct packet *a, const struct packet *b) {
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->p, b->p, a->len);
}

static const enum media_profile profiles[] = {MEDIA_PROFILE_AES128_CM_SHA1_80, MEDIA_PROFILE_AEAD_AES_128_GCM,
                                              MEDIA_PROFILE_AEAD_AES_256_GCM};
#define PROFILES (sizeof profiles / sizeof *profiles)

static void check_published(enum media_profile profile, const char *master, const char *srtp, const char *srtcp) {
    struct pair w;
    struct packet key = hex(master), media = hex(LIBSRTP_RTP), control = hex(LIBSRTP_RTCP);
    memset(&w, 0, sizeof w);
    w.keys.profile = profile;
    memcpy(w.keys.tx, key.p, key.len);
    memcpy(w.keys.rx, key.p, key.len);
    pair_open(&w);
    assert_int_equal(rtp_crypt_protect(w.here, media.p, &media.len, false), 0);
    assert_bytes(&media, srtp);
    assert_int_equal(rtp_crypt_protect(w.here, control.p, &control.len, true), 0);
    assert_bytes(&control, srtcp);
    assert_int_equal(rtp_crypt_unprotect(w.there, media.p, &media.len, false), 0);
    assert_bytes(&media, LIBSRTP_RTP);
    assert_int_equal(rtp_crypt_unprotect(w.there, control.p, &control.len, true), 0);
    assert_bytes(&control, LIBSRTP_RTCP);
    pair_free(&w);
}

static void the_published_packets_of_aes_cm_come_out(void **state) {
    (void)state;
    check_published(MEDIA_PROFILE_AES128_CM_SHA1_80, LIBSRTP_CM_KEY, LIBSRTP_CM_SRTP, LIBSRTP_CM_SRTCP);
}

static void the_published_packets_of_aes_gcm_come_out(void **state) {
    (void)state;
    check_published(MEDIA_PROFILE_AEAD_AES_128_GCM, LIBSRTP_GCM_KEY, LIBSRTP_GCM_SRTP, LIBSRTP_GCM_SRTCP);
}

static void every_profile_protects_as_the_reference_does(void **state) {
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        struct pair w = pair_new(profiles[i]);
        struct packet k = rtp(SSRC, 4711), want = k;
        assert_int_equal(rtp_crypt_protect(w.here, k.p, &k.len, false), 0);
        reference(&want, &w.keys, 0);
        assert_same(&k, &want);
        pair_free(&w);
    }
}

static void the_roll_over_counter_goes_into_every_packet(void **state) {
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        struct pair w = pair_new(profiles[i]);
        struct packet before = rtp(SSRC, 65535), after = rtp(SSRC, 0), want = after;
        assert_int_equal(rtp_crypt_protect(w.here, before.p, &before.len, false), 0);
        assert_int_equal(rtp_crypt_protect(w.here, after.p, &after.len, false), 0);
        reference(&want, &w.keys, 1);
        assert_same(&after, &want);
        assert_int_equal(rtp_crypt_unprotect(w.there, before.p, &before.len, false), 0);
        assert_int_equal(rtp_crypt_unprotect(w.there, after.p, &after.len, false), 0);
        pair_free(&w);
    }
}

static void both_directions_have_keys_of_their_own(void **state) {
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        struct pair w = pair_new(profiles[i]);
        struct packet out = rtp(SSRC, 1), back = rtp(SSRC, 1), plain = out;
        assert_int_equal(rtp_crypt_protect(w.here, out.p, &out.len, false), 0);
        assert_int_equal(rtp_crypt_protect(w.there, back.p, &back.len, false), 0);
        assert_memory_not_equal(out.p, back.p, out.len);
        assert_int_equal(rtp_crypt_unprotect(w.here, out.p, &out.len, false), E_AUTH);
        assert_int_equal(rtp_crypt_unprotect(w.here, back.p, &back.len, false), 0);
        assert_same(&back, &plain);
        pair_free(&w);
    }
}

static void a_changed_byte_fails_the_authentication(void **state) {
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        struct pair w = pair_new(profiles[i]);
        struct packet k = rtp(SSRC, 1);
        assert_int_equal(rtp_crypt_protect(w.here, k.p, &k.len, false), 0);
        for (size_t at = 1; at < k.len; at++) {
            struct packet copy = k;
            copy.p[at] ^= 1;
            assert_int_equal(rtp_crypt_unprotect(w.there, copy.p, &copy.len, false), E_AUTH);
            assert_int_equal(copy.len, k.len);
        }
        assert_int_equal(rtp_crypt_unprotect(w.there, k.p, &k.len, false), 0);
        pair_free(&w);
    }
}

static void a_packet_is_taken_once(void **state) {
    struct pair w = pair_new(MEDIA_PROFILE_AEAD_AES_128_GCM);
    struct packet k = rtp(SSRC, 1), again;
    (void)state;
    assert_int_equal(rtp_crypt_protect(w.here, k.p, &k.len, false), 0);
    again = k;
    assert_int_equal(rtp_crypt_unprotect(w.there, k.p, &k.len, false), 0);
    assert_int_equal(rtp_crypt_unprotect(w.there, again.p, &again.len, false), E_AUTH);
    pair_free(&w);
}

static void a_burst_may_come_in_any_order(void **state) {
    enum { BURST = 900 }; /* video: further than libsrtp's own window of 128 */
    struct pair w = pair_new(MEDIA_PROFILE_AES128_CM_SHA1_80);
    struct packet first = rtp(SSRC, 100), k;
    (void)state;
    assert_int_equal(rtp_crypt_protect(w.here, first.p, &first.len, false), 0);
    for (unsigned i = 1; i < BURST; i++) {
        k = rtp(SSRC, (uint16_t)(100 + i));
        assert_int_equal(rtp_crypt_protect(w.here, k.p, &k.len, false), 0);
        assert_int_equal(rtp_crypt_unprotect(w.there, k.p, &k.len, false), 0);
    }
    assert_int_equal(rtp_crypt_unprotect(w.there, first.p, &first.len, false), 0);
    pair_free(&w);
}

static void the_same_packet_may_be_sent_twice(void **state) {
    struct pair w = pair_new(MEDIA_PROFILE_AEAD_AES_128_GCM);
    struct packet a = rtp(SSRC, 1), b = a;
    (void)state;
    assert_int_equal(rtp_crypt_protect(w.here, a.p, &a.len, false), 0);
    assert_int_equal(rtp_crypt_protect(w.here, b.p, &b.len, false), 0);
    assert_same(&a, &b);
    pair_free(&w);
}

/* The handoff of a stream that has rolled over already. */
static void a_receiver_can_start_at_a_known_counter(void **state) {
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        struct pair w = pair_new(profiles[i]);
        struct packet k = rtp(SSRC, 500), plain = k, cold;
        reference(&k, &w.keys, 3);
        cold = k;
        assert_int_equal(rtp_crypt_unprotect(w.there, cold.p, &cold.len, false), E_AUTH);
        w.there = rtp_crypt_free(w.there);
        assert_int_equal(rtp_crypt_new(&w.there, &w.peer_keys), 0);
        assert_int_equal(rtp_crypt_set_rx_roc(w.there, &w.peer_keys, SSRC, 3), 0);
        assert_int_equal(rtp_crypt_unprotect(w.there, k.p, &k.len, false), 0);
        assert_same(&k, &plain);
        pair_free(&w);
    }
}

static void a_known_counter_of_one_ssrc_leaves_the_others_at_zero(void **state) {
    struct pair w = pair_new(MEDIA_PROFILE_AEAD_AES_128_GCM);
    struct packet k = rtp(SSRC + 1, 500), plain = k;
    (void)state;
    assert_int_equal(rtp_crypt_set_rx_roc(w.there, &w.peer_keys, SSRC, 3), 0);
    reference(&k, &w.keys, 0);
    assert_int_equal(rtp_crypt_unprotect(w.there, k.p, &k.len, false), 0);
    assert_same(&k, &plain);
    pair_free(&w);
}

/* Both know the stream: what is set is what they have, or nearly. */
static void a_counter_that_is_set_while_packets_flow_holds_until_0_is_set(void **state) {
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        struct pair w = pair_new(profiles[i]);
        uint32_t index = 0;
        for (; index < 4 * 0x10000; index += 0x1000) {
            struct packet k = rtp(SSRC, (uint16_t)index), plain = k, want = k;
            if (index == 0x10000 || index == 0x13000) {
                assert_int_equal(rtp_crypt_set_rx_roc(w.there, &w.peer_keys, SSRC, 1), 0);
                assert_int_equal(rtp_crypt_set_tx_roc(w.here, &w.keys, SSRC, 1), 0);
            }
            reference(&want, &w.keys, index >> 16);
            assert_int_equal(rtp_crypt_protect(w.here, k.p, &k.len, false), 0);
            assert_same(&k, &want);
            assert_int_equal(rtp_crypt_unprotect(w.there, k.p, &k.len, false), 0);
            assert_same(&k, &plain);
            assert_int_equal(rtp_crypt_set_rx_roc(w.there, &w.peer_keys, SSRC, 0), 0);
            assert_int_equal(rtp_crypt_set_tx_roc(w.here, &w.keys, SSRC, 0), 0);
        }
        pair_free(&w);
    }
}

static void what_is_too_short_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        struct pair w = pair_new(profiles[i]);
        for (size_t len = 0; len < RTP_HEADER + CM_TAG; len++) {
            struct packet k = rtp(SSRC, 1), control = hex(LIBSRTP_RTCP);
            k.len = control.len = len;
            assert_int_not_equal(rtp_crypt_unprotect(w.there, k.p, &k.len, false), 0);
            assert_int_not_equal(rtp_crypt_unprotect(w.there, control.p, &control.len, true), 0);
        }
        pair_free(&w);
    }
}

static void a_profile_that_is_none_is_refused(void **state) {
    struct media_keys k = {.profile = MEDIA_PROFILE_NONE};
    struct rtp_crypt *c = NULL;
    (void)state;
    assert_int_equal(rtp_crypt_new(&c, &k), E_CRYPTO);
    assert_null(c);
}

static int start(void **state) {
    (void)state;
    return rtp_crypt_init(NULL);
}

static int stop(void **state) {
    (void)state;
    rtp_crypt_shutdown();
    return 0;
}

static struct packet rtcp(uint32_t ssrc, size_t len) {
    struct packet k = {{0x81, 206, 0, (uint8_t)(len / 4 - 1), (uint8_t)(ssrc >> 24), (uint8_t)(ssrc >> 16),
                        (uint8_t)(ssrc >> 8), (uint8_t)ssrc},
                       len};
    for (size_t i = 8; i < len; i++)
        k.p[i] = (uint8_t)(i * 3);
    return k;
}

/* The index: the last four bytes in GCM, before the tag in CM. */
static uint32_t index_of(const struct packet *k, enum media_profile profile) {
    const uint8_t *p = k->p + k->len - (profile == MEDIA_PROFILE_AES128_CM_SHA1_80 ? 4 + CM_TAG : 4);
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* libsrtp is the reader. */
static void srtcp_of_any_length_is_understood(void **state) {
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        struct pair w = pair_new(profiles[i]);
        for (size_t len = 8; len <= 64; len += 4) {
            struct packet k = rtcp(SSRC, len), plain = k;
            assert_int_equal(rtp_crypt_protect(w.here, k.p, &k.len, true), 0);
            assert_int_equal(rtp_crypt_unprotect(w.there, k.p, &k.len, true), 0);
            assert_same(&k, &plain);
        }
        pair_free(&w);
    }
}

static void srtcp_indices_begin_where_they_are_told_and_end_at_their_limit(void **state) {
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        struct pair w = pair_new(profiles[i]);
        struct packet k = rtcp(SSRC, 12), other = rtcp(SSRC + 1, 12), more = k, after = k, early = k;
        assert_int_equal(rtp_crypt_protect(w.here, early.p, &early.len, true), 0);
        assert_int_equal(index_of(&early, profiles[i]), 0x80000001U);
        rtp_crypt_set_rtcp(w.here, 1U << 20, (1U << 20) + 2);
        assert_int_equal(rtp_crypt_protect(w.here, k.p, &k.len, true), 0);
        assert_int_equal(index_of(&k, profiles[i]), 0x80000000U | 1U << 20);
        assert_int_equal(rtp_crypt_protect(w.here, other.p, &other.len, true), 0);
        assert_int_equal(rtp_crypt_protect(w.here, more.p, &more.len, true), E_FULL);
        assert_int_equal(rtp_crypt_rtcp_next(w.here), (1U << 20) + 2);
        rtp_crypt_set_rtcp(w.here, (1U << 20) + 2, 1U << 21);
        assert_int_equal(rtp_crypt_protect(w.here, after.p, &after.len, true), 0);
        assert_int_equal(rtp_crypt_unprotect(w.there, k.p, &k.len, true), 0);
        assert_int_equal(rtp_crypt_unprotect(w.there, other.p, &other.len, true), 0);
        assert_int_equal(rtp_crypt_unprotect(w.there, after.p, &after.len, true), 0);
        pair_free(&w);
    }
}

static void the_last_srtcp_index_is_the_last_packet(void **state) {
    struct pair w = pair_new(MEDIA_PROFILE_AEAD_AES_128_GCM);
    struct packet last = rtcp(SSRC, 12), none = last;
    (void)state;
    rtp_crypt_set_rtcp(w.here, 0x7ffffffe, 0x7fffffff);
    assert_int_equal(rtp_crypt_protect(w.here, last.p, &last.len, true), 0);
    assert_int_equal(rtp_crypt_protect(w.here, none.p, &none.len, true), E_FULL);
    pair_free(&w);
}

static void a_sender_can_start_at_a_known_counter(void **state) {
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        struct pair w = pair_new(profiles[i]);
        struct packet k = rtp(SSRC, 500), want = k, other = rtp(SSRC + 1, 7), other_want = other,
                      wrapped = rtp(SSRC, 2);
        assert_int_equal(rtp_crypt_set_tx_roc(w.here, &w.keys, SSRC, 3), 0);
        assert_int_equal(rtp_crypt_set_tx_roc(w.here, &w.keys, SSRC, 3), 0);
        assert_int_equal(rtp_crypt_protect(w.here, k.p, &k.len, false), 0);
        reference(&want, &w.keys, 3);
        assert_same(&k, &want);
        assert_int_equal(rtp_crypt_protect(w.here, other.p, &other.len, false), 0);
        reference(&other_want, &w.keys, 0);
        assert_same(&other, &other_want);
        struct packet high = rtp(SSRC, 33000), higher = rtp(SSRC, 65000), wrapped_want = wrapped;
        assert_int_equal(rtp_crypt_protect(w.here, high.p, &high.len, false), 0);
        assert_int_equal(rtp_crypt_protect(w.here, higher.p, &higher.len, false), 0);
        assert_int_equal(rtp_crypt_protect(w.here, wrapped.p, &wrapped.len, false), 0);
        reference(&wrapped_want, &w.keys, 4);
        assert_same(&wrapped, &wrapped_want);
        pair_free(&w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_derives_the_keys_of_rfc_3711_b3),
        cmocka_unit_test(the_reference_makes_the_keystream_of_rfc_3711_b2),
        cmocka_unit_test(the_reference_seals_the_packets_of_rfc_7714_16),
        cmocka_unit_test(the_published_packets_of_aes_cm_come_out),
        cmocka_unit_test(the_published_packets_of_aes_gcm_come_out),
        cmocka_unit_test(every_profile_protects_as_the_reference_does),
        cmocka_unit_test(the_roll_over_counter_goes_into_every_packet),
        cmocka_unit_test(both_directions_have_keys_of_their_own),
        cmocka_unit_test(a_changed_byte_fails_the_authentication),
        cmocka_unit_test(a_packet_is_taken_once),
        cmocka_unit_test(a_burst_may_come_in_any_order),
        cmocka_unit_test(the_same_packet_may_be_sent_twice),
        cmocka_unit_test(a_receiver_can_start_at_a_known_counter),
        cmocka_unit_test(a_known_counter_of_one_ssrc_leaves_the_others_at_zero),
        cmocka_unit_test(a_sender_can_start_at_a_known_counter),
        cmocka_unit_test(srtcp_of_any_length_is_understood),
        cmocka_unit_test(srtcp_indices_begin_where_they_are_told_and_end_at_their_limit),
        cmocka_unit_test(the_last_srtcp_index_is_the_last_packet),
        cmocka_unit_test(a_counter_that_is_set_while_packets_flow_holds_until_0_is_set),
        cmocka_unit_test(what_is_too_short_is_refused),
        cmocka_unit_test(a_profile_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
