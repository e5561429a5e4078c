/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/dtls_provider.h"

#include <openssl/core_dispatch.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define KEYS_MAX     12
#define DECODERS_MAX 8

/* Certificates are of the first four kinds; HMAC, TLS1-PRF and HKDF are key types inside OpenSSL. */
static const char *const key_types[] = {"EC", "RSA", "RSA-PSS", "ED25519", "X25519", "HMAC", "TLS1-PRF", "HKDF"};
static const char *const certificate_types[] = {"EC", "RSA", "RSA-PSS", "ED25519"};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static OSSL_PROVIDER *whole;
static OSSL_LIB_CTX *libctx; /* NULL: nothing is narrowed */
static OSSL_ALGORITHM keys[KEYS_MAX + 1], decoders[DECODERS_MAX + 1];

/* Its first name: "EC:id-ecPublicKey:1.2.840.10045.2.1". */
static bool is_one_of(const OSSL_ALGORITHM *a, const char *const *names, size_t count) {
    size_t len = strcspn(a->algorithm_names, ":");
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == len && strncasecmp(a->algorithm_names, names[i], len) == 0)
            return true;
    return false;
}

static bool is_key(const OSSL_ALGORITHM *a) {
    return is_one_of(a, key_types, sizeof key_types / sizeof *key_types);
}

static bool is_decoder(const OSSL_ALGORITHM *a) {
    return is_one_of(a, certificate_types, sizeof certificate_types / sizeof *certificate_types) &&
           strstr(a->property_definition, "input=der") &&
           strstr(a->property_definition, "structure=SubjectPublicKeyInfo");
}

static bool narrow(OSSL_ALGORITHM *out, size_t max, int operation, bool (*wanted)(const OSSL_ALGORITHM *a)) {
    int no_cache;
    size_t n = 0;
    const OSSL_ALGORITHM *a = OSSL_PROVIDER_query_operation(whole, operation, &no_cache);
    for (; a && a->algorithm_names; a++) {
        if (wanted(a) && n == max)
            return false;
        if (wanted(a))
            out[n++] = *a;
    }
    return n > 0;
}

static const OSSL_ALGORITHM *query(void *provctx, int operation, int *no_cache) {
    (void)provctx;
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT:
        return keys;
    case OSSL_OP_DECODER:
        return decoders;
    case OSSL_OP_STORE:
        return NULL;
    default:
        return OSSL_PROVIDER_query_operation(whole, operation, no_cache);
    }
}

/* TLS groups. */
static int capabilities(void *provctx, const char *capability, OSSL_CALLBACK *cb, void *arg) {
    (void)provctx;
    return OSSL_PROVIDER_get_capabilities(whole, capability, cb, arg);
}

static int narrowed_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                         void **provctx) {
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
        {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))capabilities},
        {0, NULL},
    };
    (void)handle;
    (void)in;
    *out = functions;
    *provctx = OSSL_PROVIDER_get0_provider_ctx(whole); /* its algorithms are made with it */
    return 1;
}

static bool is_wanted(void) {
    return OPENSSL_version_major() == 3 && OPENSSL_version_minor() < 2 && OSSL_PROVIDER_available(NULL, "default") &&
           !EVP_default_properties_is_fips_enabled(NULL);
}

/* What is made here stays, as OpenSSL's own context does. */
static void prepare(void) {
    whole = is_wanted() ? OSSL_PROVIDER_load(NULL, "default") : NULL;
    OSSL_LIB_CTX *ctx = whole ? OSSL_LIB_CTX_new() : NULL;
    if (ctx && narrow(keys, KEYS_MAX, OSSL_OP_KEYMGMT, is_key) &&
        narrow(decoders, DECODERS_MAX, OSSL_OP_DECODER, is_decoder) &&
        OSSL_PROVIDER_add_builtin(ctx, "narrowed", narrowed_init) && OSSL_PROVIDER_load(ctx, "narrowed"))
        libctx = ctx;
    else
        OSSL_LIB_CTX_free(ctx);
    ERR_clear_error();
}

OSSL_LIB_CTX *dtls_provider_libctx(void) {
    pthread_once(&once, prepare);
    return libctx;
}
