/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hpke.h"

#include "base/aead.h"
#include "base/err.h"
#include "base/secret.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

#define HASH_BYTES 32
/* "HPKE-v1", a suite's id, a label, and the longest input: the context of the KEM or the info. */
#define LABELED_MAX_BYTES 128

/* RFC 9180 7.1-7.3: KEM 0x0020, KDF 0x0001, AEAD 0x0003. */
static const uint8_t kem_suite[] = {'K', 'E', 'M', 0x00, 0x20};
static const uint8_t hpke_suite[] = {'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, 0x03};

/* RFC 9180 4: who derives, and from what. */
struct labeled {
    const uint8_t *suite;
    size_t suite_len;
    const char *label;
    const uint8_t *input;
    size_t input_len;
};

static size_t append(uint8_t *to, size_t at, const void *p, size_t len) {
    if (len)
        memcpy(to + at, p, len);
    return at + len;
}

/* One half of HKDF (RFC 5869): extract has a salt, expand has an info. */
struct hkdf {
    int mode;
    const uint8_t *key, *salt;
    size_t key_len;
    const uint8_t *info;
    size_t info_len;
};

static int hkdf_run(uint8_t *out, size_t len, const struct hkdf *h) {
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    OSSL_PARAM params[6], *p = params;
    int mode = h->mode;
    *p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    *p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0);
    *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)h->key, h->key_len);
    if (h->salt)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)h->salt, HASH_BYTES);
    if (h->info)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)h->info, h->info_len);
    *p = OSSL_PARAM_construct_end();
    int err = ctx && EVP_KDF_derive(ctx, out, len, params) == 1 ? 0 : E_CRYPTO;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return err;
}

/* Returns the length, at most LABELED_MAX_BYTES: the callers' inputs are bounded. */
static size_t write_labeled(uint8_t out[static LABELED_MAX_BYTES], size_t at, const struct labeled *l) {
    at = append(out, at, "HPKE-v1", 7);
    at = append(out, at, l->suite, l->suite_len);
    at = append(out, at, l->label, strlen(l->label));
    return append(out, at, l->input, l->input_len);
}

/* LabeledExtract. salt: HASH_BYTES; an empty one is as many zeros (RFC 5869 2.2). */
static int extract(uint8_t out[static HASH_BYTES], const uint8_t salt[static HASH_BYTES], const struct labeled *l) {
    uint8_t ikm[LABELED_MAX_BYTES];
    struct hkdf h = {.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .key = ikm, .salt = salt};
    h.key_len = write_labeled(ikm, 0, l);
    int err = hkdf_run(out, HASH_BYTES, &h);
    secret_wipe(ikm, sizeof ikm);
    return err;
}

/* LabeledExpand: the length goes before the rest. */
static int expand(uint8_t *out, size_t len, const uint8_t prk[static HASH_BYTES], const struct labeled *l) {
    uint8_t info[LABELED_MAX_BYTES] = {0, (uint8_t)len};
    struct hkdf h = {.mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY, .key = prk, .key_len = HASH_BYTES, .info = info};
    h.info_len = write_labeled(info, 2, l);
    return hkdf_run(out, len, &h);
}

static const uint8_t no_salt[HASH_BYTES];

/* X25519 (RFC 7748). OpenSSL refuses an all-zero result, as RFC 9180 7.1.4 wants it. */
static int dh(uint8_t out[static HPKE_KEY_BYTES], const uint8_t *private_key, const uint8_t *public_key) {
    EVP_PKEY *mine = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, HPKE_KEY_BYTES);
    EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public_key, HPKE_KEY_BYTES);
    EVP_PKEY_CTX *ctx = mine && theirs ? EVP_PKEY_CTX_new(mine, NULL) : NULL;
    size_t len = HPKE_KEY_BYTES;
    int err = E_CRYPTO;
    if (ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, theirs) == 1 &&
        EVP_PKEY_derive(ctx, out, &len) == 1 && len == HPKE_KEY_BYTES)
        err = 0;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(mine);
    EVP_PKEY_free(theirs);
    return err;
}

static int public_of(uint8_t out[static HPKE_KEY_BYTES], const uint8_t *private_key) {
    EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, HPKE_KEY_BYTES);
    size_t len = HPKE_KEY_BYTES;
    int err = k && EVP_PKEY_get_raw_public_key(k, out, &len) == 1 ? 0 : E_CRYPTO;
    EVP_PKEY_free(k);
    return err;
}

/* RFC 9180 4.1, ExtractAndExpand: what both sides make of the Diffie-Hellman result. */
static int shared_secret(uint8_t out[static HASH_BYTES], const uint8_t *dh_result, const uint8_t *enc,
                         const uint8_t *recipient) {
    uint8_t context[2 * HPKE_KEY_BYTES], prk[HASH_BYTES];
    append(context, append(context, 0, enc, HPKE_KEY_BYTES), recipient, HPKE_KEY_BYTES);
    struct labeled l = {kem_suite, sizeof kem_suite, "eae_prk", dh_result, HPKE_KEY_BYTES};
    int err = extract(prk, no_salt, &l);
    l = (struct labeled){kem_suite, sizeof kem_suite, "shared_secret", context, sizeof context};
    if (err == 0)
        err = expand(out, HASH_BYTES, prk, &l);
    secret_wipe(prk, sizeof prk);
    return err;
}

struct schedule {
    uint8_t key[HASH_BYTES], nonce[AEAD_NONCE_BYTES];
};

/* RFC 9180 5.1, KeySchedule in mode_base: no PSK. The first and only message has the base nonce. */
static int key_schedule(struct schedule *s, const uint8_t shared[static HASH_BYTES], const char *info) {
    uint8_t context[1 + 2 * HASH_BYTES] = {0}, secret[HASH_BYTES];
    size_t info_len = strlen(info);
    if (info_len > HPKE_INFO_MAX_BYTES)
        return E_CRYPTO;
    struct labeled l = {hpke_suite, sizeof hpke_suite, "psk_id_hash", NULL, 0};
    int err = extract(context + 1, no_salt, &l);
    l = (struct labeled){hpke_suite, sizeof hpke_suite, "info_hash", (const uint8_t *)info, info_len};
    if (err == 0)
        err = extract(context + 1 + HASH_BYTES, no_salt, &l);
    l = (struct labeled){hpke_suite, sizeof hpke_suite, "secret", NULL, 0};
    if (err == 0)
        err = extract(secret, shared, &l);
    l = (struct labeled){hpke_suite, sizeof hpke_suite, "key", context, sizeof context};
    if (err == 0)
        err = expand(s->key, sizeof s->key, secret, &l);
    l.label = "base_nonce";
    if (err == 0)
        err = expand(s->nonce, sizeof s->nonce, secret, &l);
    secret_wipe(secret, sizeof secret);
    return err;
}

/* Both sides come to the same schedule: the sender by its one-time key, the recipient by its own. */
struct parties {
    const uint8_t *mine, *theirs;   /* a private and a public key */
    const uint8_t *enc, *recipient; /* the public keys that the context names */
};

static int agree(struct schedule *s, const struct parties *p, const char *info) {
    uint8_t dh_result[HPKE_KEY_BYTES], shared[HASH_BYTES];
    int err = dh(dh_result, p->mine, p->theirs);
    if (err == 0)
        err = shared_secret(shared, dh_result, p->enc, p->recipient);
    if (err == 0)
        err = key_schedule(s, shared, info);
    secret_wipe(dh_result, sizeof dh_result);
    secret_wipe(shared, sizeof shared);
    return err;
}

int hpke_key_new(uint8_t private_key[static HPKE_KEY_BYTES], uint8_t public_key[static HPKE_KEY_BYTES]) {
    EVP_PKEY *k = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    size_t private_len = HPKE_KEY_BYTES, public_len = HPKE_KEY_BYTES;
    int err = k && EVP_PKEY_get_raw_private_key(k, private_key, &private_len) == 1 &&
                      EVP_PKEY_get_raw_public_key(k, public_key, &public_len) == 1
                  ? 0
                  : E_CRYPTO;
    EVP_PKEY_free(k);
    return err;
}

int hpke_seal(uint8_t *out, const uint8_t public_key[static HPKE_KEY_BYTES], const struct hpke_about *about,
              const uint8_t *p, size_t len) {
    uint8_t one_time[HPKE_KEY_BYTES], *enc = out, *text = out + HPKE_KEY_BYTES;
    struct schedule s;
    int err = 0;
    if (about->one_time) {
        memcpy(one_time, about->one_time, sizeof one_time);
        err = public_of(enc, one_time);
    } else {
        err = hpke_key_new(one_time, enc);
    }
    if (err == 0)
        err = agree(&s, &(struct parties){one_time, public_key, enc, public_key}, about->info);
    if (err == 0)
        err = aead_close(&(struct aead){AEAD_CHACHA20_POLY1305, s.key, s.nonce, about->aad, strlen(about->aad)}, text,
                         p, len, text + len);
    secret_wipe(one_time, sizeof one_time);
    secret_wipe(&s, sizeof s);
    return err;
}

int hpke_open(uint8_t *out, const uint8_t private_key[static HPKE_KEY_BYTES], const struct hpke_about *about,
              const uint8_t *p, size_t len) {
    uint8_t recipient[HPKE_KEY_BYTES];
    struct schedule s;
    if (len < HPKE_OVERHEAD_BYTES)
        return E_AUTH;
    size_t text_len = len - HPKE_OVERHEAD_BYTES;
    int err = public_of(recipient, private_key);
    if (err == 0)
        err = agree(&s, &(struct parties){private_key, p, p, recipient}, about->info);
    if (err == 0)
        err = aead_open(&(struct aead){AEAD_CHACHA20_POLY1305, s.key, s.nonce, about->aad, strlen(about->aad)}, out,
                        p + HPKE_KEY_BYTES, text_len, p + len - AEAD_TAG_BYTES);
    secret_wipe(&s, sizeof s);
    if (err == 0)
        return 0;
    memset(out, 0, text_len); /* what the cipher had written before the tag was looked at */
    return E_AUTH;
}
