/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/dtls_identity.h"

#include "base/bytes.h"
#include "base/secret.h"
#include "dtls/dtls_identity_priv.h"
#include "dtls/dtls_provider.h"
#include "dtls/media_keys.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S      86400L
#define VALID_DAYS 30
#define DTLS_1_3   0xfefc /* RFC 9147; OpenSSL 3.0 has no name for it */
/* A peer's chain of certificates, and what is kept of it while fragments are missing: three of 4,096-bit RSA take 5,000
 * bytes. */
#define CHAIN_MAX_BYTES  16384
#define DEFAULT_PROFILES "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80"

struct dtls_identity {
    SSL_CTX *ctx;
    char fingerprint[DTLS_FINGERPRINT_BYTES];
};

SSL_CTX *dtls_identity_ctx(const struct dtls_identity *i) {
    return i->ctx;
}

const char *dtls_identity_fingerprint(const struct dtls_identity *i) {
    return i->fingerprint;
}

static X509 *make_certificate(EVP_PKEY *key) {
    uint64_t serial;
    X509 *cert = X509_new_ex(dtls_provider_libctx(), NULL);
    X509_NAME *name = cert ? X509_get_subject_name(cert) : NULL;
    random_bytes(&serial, sizeof serial);
    if (name && X509_set_version(cert, X509_VERSION_3) &&
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1 | 1) &&
        X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_S) &&
        X509_gmtime_adj(X509_getm_notAfter(cert), (VALID_DAYS - 1) * DAY_S) && X509_set_pubkey(cert, key) &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"WebRTC", -1, -1, 0) &&
        X509_set_issuer_name(cert, name) && X509_sign(cert, key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

static bool set_fingerprint(struct dtls_identity *i, const X509 *cert) {
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!X509_digest(cert, EVP_sha256(), digest, &len))
        return false;
    int at = snprintf(i->fingerprint, sizeof i->fingerprint, "sha-256 ");
    for (unsigned k = 0; k < len; k++)
        at += snprintf(i->fingerprint + at, sizeof i->fingerprint - (size_t)at, "%s%02X", k ? ":" : "", digest[k]);
    return true;
}

/* ML-KEM where the library has it (it takes DTLS 1.3, too). The last two are there for peers whose certificates are on
 * them. OpenSSL's macro takes no const. */
static const char *set_groups(SSL_CTX *ctx) {
    static char with_ml_kem[] = "X25519MLKEM768:X25519:P-256:P-384:P-521", without[] = "X25519:P-256:P-384:P-521";
    if (SSL_CTX_set1_groups_list(ctx, with_ml_kem) == 1)
        return with_ml_kem;
    ERR_clear_error();
    return SSL_CTX_set1_groups_list(ctx, without) == 1 ? without : NULL;
}

void dtls_abilities(struct dtls_abilities *a) {
    SSL_CTX *ctx = SSL_CTX_new(DTLS_method());
    snprintf(a->openssl, sizeof a->openssl, "%s", OpenSSL_version(OPENSSL_VERSION));
    a->groups = ctx ? set_groups(ctx) : NULL;
    a->versions = ctx && SSL_CTX_set_min_proto_version(ctx, DTLS_1_3) == 1 ? "1.3 1.2" : "1.2";
    if (!a->groups)
        a->groups = "";
    SSL_CTX_free(ctx);
    ERR_clear_error();
}

static bool configure(SSL_CTX *ctx, const char *profiles) {
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, dtls_session_verify, NULL);
    /* Certificates are self-signed and pinned by fingerprint; what is read ahead stays in its datagram. */
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_max_cert_list(ctx, CHAIN_MAX_BYTES);
    SSL_CTX_set_cookie_generate_cb(ctx, dtls_session_make_cookie);
    SSL_CTX_set_cookie_verify_cb(ctx, dtls_session_check_cookie);
    return SSL_CTX_set_min_proto_version(ctx, DTLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES") == 1 &&
           set_groups(ctx) && SSL_CTX_set_tlsext_use_srtp(ctx, profiles) == 0; /* this one returns 0 on success */
}

static const char *last_reason(void) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "out of memory";
}

static int generate(SSL_CTX *ctx, struct err_text *et) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(dtls_provider_libctx(), NULL, "EC", "P-256");
    X509 *cert = key ? make_certificate(key) : NULL;
    int err = 0;
    if (!cert || SSL_CTX_use_certificate(ctx, cert) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1)
        err = err_say(et, E_CRYPTO, "the DTLS identity could not be made: %s", last_reason());
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}

static int load_key(SSL_CTX *ctx, const char *file, struct err_text *et) {
    char *text = NULL;
    size_t len = 0;
    int err = secret_file_read(&text, &len, file, et);
    if (err != 0)
        return err;
    BIO *bio = BIO_new_mem_buf(text, (int)len);
    char password[] = ""; /* else OpenSSL asks for it on the terminal */
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, password) : NULL;
    if (!key)
        err = err_say(et, E_INVAL, "%s has no private key in PEM without a password: %s", file, last_reason());
    else if (X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1)
        err = err_say(et, E_INVAL, "%s does not go with the certificate: %s", file, last_reason());
    EVP_PKEY_free(key);
    BIO_free(bio);
    secret_free(text, len);
    return err;
}

static int load(SSL_CTX *ctx, const struct dtls_identity_params *p, struct err_text *et) {
    if (SSL_CTX_use_certificate_chain_file(ctx, p->certificate_file) != 1)
        return err_say(et, E_INVAL, "%s has no certificate in PEM that can be used: %s", p->certificate_file,
                       last_reason());
    return load_key(ctx, p->key_file, et);
}

static int load_pem(SSL_CTX *ctx, const struct dtls_identity_params *p, struct err_text *et) {
    char password[] = "";
    BIO *bio = BIO_new_mem_buf(p->pem, (int)p->pem_len);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, password) : NULL;
    X509 *cert = key ? PEM_read_bio_X509(bio, NULL, NULL, password) : NULL;
    int err = 0;
    if (!cert || SSL_CTX_use_certificate(ctx, cert) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1)
        err = err_say(et, E_INVAL, "a DTLS identity could not be read: %s", last_reason());
    X509_free(cert);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return err;
}

int dtls_identity_pem(const struct dtls_identity *i, char **pem, size_t *len) {
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem()); /* wipes what it held */
    if (!bio)
        return E_NOMEM;
    int err = PEM_write_bio_PrivateKey(bio, SSL_CTX_get0_privatekey(i->ctx), NULL, NULL, 0, NULL, NULL) == 1 &&
                      PEM_write_bio_X509(bio, SSL_CTX_get0_certificate(i->ctx)) == 1
                  ? 0
                  : E_CRYPTO;
    long n = BIO_get_mem_data(bio, &text);
    if (err == 0) {
        *len = (size_t)n;
        *pem = malloc(*len + 1);
        if (*pem) {
            memcpy(*pem, text, *len);
            (*pem)[*len] = 0;
        }
        err = *pem ? 0 : E_NOMEM;
    }
    BIO_free(bio);
    ERR_clear_error();
    return err;
}

static int fill(struct dtls_identity *i, const struct dtls_identity_params *p, struct err_text *et) {
    i->ctx = SSL_CTX_new_ex(dtls_provider_libctx(), NULL, DTLS_method());
    if (!i->ctx || !configure(i->ctx, p->srtp_profiles ? p->srtp_profiles : DEFAULT_PROFILES))
        return err_say(et, E_CRYPTO, "the DTLS identity could not be made: %s", last_reason());
    int err = p->pem ? load_pem(i->ctx, p, et) : p->certificate_file ? load(i->ctx, p, et) : generate(i->ctx, et);
    if (err == 0 && !set_fingerprint(i, SSL_CTX_get0_certificate(i->ctx)))
        err = err_say(et, E_CRYPTO, "the certificate's fingerprint could not be made: %s", last_reason());
    return err;
}

int dtls_identity_make(struct dtls_identity **ip, const struct dtls_identity_params *p, struct err_text *et) {
    struct dtls_identity *i = calloc(1, sizeof *i);
    if (!i)
        return err_say(et, E_NOMEM, "out of memory");
    int err = fill(i, p, et);
    ERR_clear_error();
    *ip = err == 0 ? i : dtls_identity_free(i);
    return err;
}

int dtls_identity_new_profiles(struct dtls_identity **ip, const char *srtp_profiles, struct err_text *et) {
    struct dtls_identity_params p = {.srtp_profiles = srtp_profiles};
    return dtls_identity_make(ip, &p, et);
}

int dtls_identity_new(struct dtls_identity **ip, struct err_text *et) {
    return dtls_identity_new_profiles(ip, NULL, et);
}

struct dtls_identity *dtls_identity_free(struct dtls_identity *i) {
    if (i)
        SSL_CTX_free(i->ctx);
    free(i);
    return NULL;
}
