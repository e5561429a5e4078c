/* SPDX-License-Identifier: Apache-2.0 */
#include "base/seal.h"

#include "base/aead.h"
#include "base/bytes.h"
#include "base/secret.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define VERSION    1
#define KEY_DIGITS 64 /* in hex */
#define ID_BYTES   4
#define ID_AT      1
#define NONCE_AT   (ID_AT + ID_BYTES)
#define HEAD_BYTES (NONCE_AT + AEAD_NONCE_BYTES)

struct key {
    uint8_t bytes[AEAD_KEY_BYTES], id[ID_BYTES];
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
    if (n != AEAD_KEY_BYTES)
        return E_INVAL;
    SHA256(k->bytes, AEAD_KEY_BYTES, digest);
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

int seal_close(char **out, const struct seal *s, const void *p, size_t len, const char *about) {
    size_t whole = HEAD_BYTES + len + AEAD_TAG_BYTES;
    uint8_t *raw = malloc(whole);
    char *text = malloc(B64_BYTES(whole));
    int err = !raw || !text ? E_NOMEM : 0;
    if (err == 0) {
        struct aead a = {AEAD_AES_256_GCM, s->keys[0].bytes, raw + NONCE_AT, about, strlen(about)};
        raw[0] = VERSION;
        memcpy(raw + ID_AT, s->keys[0].id, ID_BYTES);
        random_bytes(raw + NONCE_AT, AEAD_NONCE_BYTES);
        err = aead_close(&a, raw + HEAD_BYTES, p, len, raw + HEAD_BYTES + len);
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

static int open_raw(char *plain, size_t *len, const struct seal *s, const uint8_t *raw, size_t n, const char *about) {
    if (n < HEAD_BYTES + AEAD_TAG_BYTES || raw[0] != VERSION)
        return E_MALFORMED;
    const struct key *k = find_key(s, raw + ID_AT);
    if (!k)
        return E_NOTFOUND;
    struct aead a = {AEAD_AES_256_GCM, k->bytes, raw + NONCE_AT, about, strlen(about)};
    *len = n - HEAD_BYTES - AEAD_TAG_BYTES;
    plain[*len] = 0;
    return aead_open(&a, (uint8_t *)plain, raw + HEAD_BYTES, *len, raw + n - AEAD_TAG_BYTES);
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
