/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void secret_wipe(void *p, size_t len) {
    OPENSSL_cleanse(p, len);
}

char *secret_free(char *p, size_t len) {
    if (p)
        OPENSSL_cleanse(p, len);
    free(p);
    return NULL;
}

/* Is this a file that a secret may live in? */
static int check_file(int fd, const char *path, size_t *size, struct err_text *et) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_say(et, E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_say(et, E_INVAL, "%s: not a regular file", path);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return err_say(et, E_DENIED, "%s: others can use this secret (mode %04o); run: chmod 600 %s", path,
                       (unsigned)(st.st_mode & 07777), path);
    if (st.st_size <= 0 || st.st_size > SECRET_FILE_MAX_BYTES)
        return err_say(et, E_INVAL, "%s: %lld bytes; a secret has 1 to %d", path, (long long)st.st_size,
                       SECRET_FILE_MAX_BYTES);
    *size = (size_t)st.st_size;
    return 0;
}

int secret_file_read(char **p, size_t *len, const char *path, struct err_text *et) {
    size_t size = 0, got = 0;
    char *bytes = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_say(et, E_IO, "%s: %s%s", path, strerror(errno),
                       errno == EACCES ? "; it must belong to the user that this process runs as" : "");
    int err = check_file(fd, path, &size, et);
    if (err == 0 && !(bytes = calloc(1, size + 1)))
        err = err_say(et, E_NOMEM, "%s: out of memory", path);
    while (err == 0 && got < size) {
        ssize_t n = read(fd, bytes + got, size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            err = err_say(et, E_IO, "%s: %s", path, n < 0 ? strerror(errno) : "cut while it was read");
        else
            got += (size_t)n;
    }
    close(fd);
    if (err != 0) {
        secret_free(bytes, size);
        return err;
    }
    *p = bytes;
    *len = size;
    return 0;
}

bool secret_eq_bytes(const uint8_t *a, const uint8_t *b, size_t len) {
    return CRYPTO_memcmp(a, b, len) == 0;
}

bool secret_eq(const char *a, const char *b) {
    size_t len = strlen(a);
    return strlen(b) == len && CRYPTO_memcmp(a, b, len) == 0;
}

char *secret_hash(char out[static SECRET_HASH_BYTES], const char *s) {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)s, strlen(s), digest);
    return hex_encode(out, digest, sizeof digest);
}

char *secret_token_new(char out[static SECRET_TOKEN_BYTES], const char *prefix) {
    uint8_t bytes[32];
    char text[B64_BYTES(sizeof bytes)];
    random_bytes(bytes, sizeof bytes);
    b64url_encode(text, bytes, sizeof bytes);
    snprintf(out, SECRET_TOKEN_BYTES, "%.2s_%.43s", prefix, text);
    secret_wipe(bytes, sizeof bytes);
    secret_wipe(text, sizeof text);
    return out;
}
