/* SPDX-License-Identifier: Apache-2.0 */
#include "base/seal.h"

#include "base/bytes.h"
#include "base/secret.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define VERSION     1
#define KEY_BYTES   32
#define KEY_DIGITS  64 /* in hex */
#define ID_BYTES    4
#define NONCE_BYTES 12
#define TAG_BYTES   16
#define ID_AT       1
#define NONCE_AT    (ID_AT + ID_BYTES)
#define HEAD_BYTES  (NONCE_AT + NONCE_BYTES)

struct key {
    uint8_t bytes[KEY_BYTES], id[ID_BYTES];
};

struct seal {
    struct key keys[SEAL_KEYS_MAX];
    unsigned count;
};

/* Keys */

static int add_key(struct seal *s, const char *hex, size_t len) {
    char text[KEY_DIGITS + 1];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct key *k = &s->keys[s->count];
    if (s->count == SEAL_KEYS_MAX)
        return E_FULL;
    if (len != KEY_DIGITS)
        return E_INVAL;
    memcpy(text, hex, len);
    text[len] = 0;
    int n = hex_decode(k->bytes, sizeof k->bytes, text);
    secret_wipe(text, sizeof text);
    if (n != KEY_BYTES)
        return E_INVAL;
    SHA256(k->bytes, KEY_BYTES, digest);
    memcpy(k->id, digest, ID_BYTES);
    s->count++;
    return 0;
}

static int parse(struct seal *s, const char *p, const char *file, struct err_text *et) {
    unsigned line = 1;
    for (; *p; line++) {
        size_t len = strcspn(p, "\r\n");
        int err = len ? add_key(s, p, len) : 0;
        if (err == E_FULL)
            return err_say(et, err, "%s:%u: at most %d keys", file, line, SEAL_KEYS_MAX);
        if (err != 0)
            return err_say(et, err, "%s:%u: a key is 64 hex digits on a line; `openssl rand -hex 32` prints one", file,
                           line);
        p += len;
        p += *p == '\r';
        p += *p == '\n';
    }
    return s->count ? 0 : err_say(et, E_INVAL, "%s: no key in it; `openssl rand -hex 32` prints one", file);
}

int seal_new(struct seal **sp, const char *file, struct err_text *et) {
    struct seal *s = calloc(1, sizeof *s);
    char *text = NULL;
    size_t len = 0;
    int err = s ? secret_file_read(&text, &len, file, et) : err_say(et, E_NOMEM, "out of memory");
    if (err == 0 && text)
        err = parse(s, text, file, et);
    secret_free(text, len);
    *sp = err == 0 ? s : seal_free(s);
    return err;
}

struct seal *seal_free(struct seal *s) {
    if (s)
        secret_wipe(s, sizeof *s);
    free(s);
    return NULL;
}

/* What one run of the cipher works on. */
struct message {
    const struct key *key;
    uint8_t *nonce, *tag; /* the tag is written when closing and read when opening */
    const char *about;
    const uint8_t *from;
    uint8_t *to;
    size_t len;
};

/* Returns 0, E_AUTH, E_CRYPTO. */
static int run(const struct message *m, bool closing) {
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, err = E_CRYPTO;
    if (!ctx || EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, m->key->bytes, m->nonce, closing) != 1 ||
        EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *)m->about, (int)strlen(m->about)) != 1 ||
        EVP_CipherUpdate(ctx, m->to, &n, m->from, (int)m->len) != 1)
        goto out;
    if (!closing && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, m->tag) != 1)
        goto out;
    if (EVP_CipherFinal_ex(ctx, m->to + n, &n) != 1)
        err = closing ? E_CRYPTO : E_AUTH;
    else if (!closing || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, m->tag) == 1)
        err = 0;
out:
    EVP_CIPHER_CTX_free(ctx);
    return err;
}

int seal_close(char **out, const struct seal *s, const void *p, size_t len, const char *about) {
    size_t whole = HEAD_BYTES + len + TAG_BYTES;
    uint8_t *raw = malloc(whole);
    char *text = malloc(B64_BYTES(whole));
    int err = !raw || !text ? E_NOMEM : 0;
    if (err == 0) {
        struct message m = {&s->keys[0], raw + NONCE_AT, raw + HEAD_BYTES + len, about, p, raw + HEAD_BYTES, len};
        raw[0] = VERSION;
        memcpy(raw + ID_AT, s->keys[0].id, ID_BYTES);
        err = RAND_bytes(m.nonce, NONCE_BYTES) == 1 ? run(&m, true) : E_CRYPTO;
    }
    if (err == 0)
        *out = b64url_encode(text, raw, whole);
    else
        free(text);
    free(raw);
    return err;
}

static const struct key *find_key(const struct seal *s, const uint8_t *id) {
    for (unsigned i = 0; i < s->count; i++)
        if (memcmp(s->keys[i].id, id, ID_BYTES) == 0)
            return &s->keys[i];
    return NULL;
}

static int open_raw(char *plain, size_t *len, const struct seal *s, uint8_t *raw, size_t n, const char *about) {
    if (n < HEAD_BYTES + TAG_BYTES || raw[0] != VERSION)
        return E_MALFORMED;
    struct message m = {.key = find_key(s, raw + ID_AT),
                        .nonce = raw + NONCE_AT,
                        .tag = raw + n - TAG_BYTES,
                        .about = about,
                        .from = raw + HEAD_BYTES,
                        .to = (uint8_t *)plain,
                        .len = n - HEAD_BYTES - TAG_BYTES};
    *len = m.len;
    plain[m.len] = 0;
    return m.key ? run(&m, false) : E_NOTFOUND;
}

int seal_open(char **out, size_t *len, const struct seal *s, const char *text, const char *about) {
    size_t cap = strlen(text);
    uint8_t *raw = malloc(cap + 1);
    char *plain = malloc(cap + 1);
    int err = !raw || !plain ? E_NOMEM : 0;
    int n = err == 0 ? b64url_decode(raw, cap, text, cap) : 0;
    if (err == 0)
        err = n < 0 ? E_MALFORMED : open_raw(plain, len, s, raw, (size_t)n, about);
    free(raw);
    if (err == 0)
        *out = plain;
    else
        secret_free(plain, cap + 1);
    return err;
}
