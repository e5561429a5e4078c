/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/dtls_identity.h"

#include "base/bytes.h"
#include "dtls/dtls_identity_priv.h"
#include "dtls/media_keys.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S            86400L
#define VALID_DAYS       30
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
    X509 *cert = X509_new();
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

static bool configure(SSL_CTX *ctx, const char *profiles) {
    char groups[] = "X25519:P-256"; /* OpenSSL's macro takes no const */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, dtls_session_verify, NULL);
    /* Certificates are self-signed and pinned by fingerprint; what is read ahead stays in its datagram. */
    SSL_CTX_set_read_ahead(ctx, 1);
    return SSL_CTX_set_min_proto_version(ctx, DTLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES") == 1 &&
           SSL_CTX_set1_groups_list(ctx, groups) == 1 &&
           SSL_CTX_set_tlsext_use_srtp(ctx, profiles) == 0; /* this one returns 0 on success */
}

int dtls_identity_new_profiles(struct dtls_identity **ip, const char *srtp_profiles, struct err_text *et) {
    struct dtls_identity *i = calloc(1, sizeof *i);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? make_certificate(key) : NULL;
    int err = E_CRYPTO;
    if (i && cert && (i->ctx = SSL_CTX_new(DTLS_method())) && configure(i->ctx, srtp_profiles) &&
        SSL_CTX_use_certificate(i->ctx, cert) == 1 && SSL_CTX_use_PrivateKey(i->ctx, key) == 1 &&
        set_fingerprint(i, cert)) {
        *ip = i;
        i = NULL;
        err = 0;
    }
    if (err != 0)
        err_say(et, err, "the DTLS identity could not be made: %s", ERR_reason_error_string(ERR_peek_last_error()));
    ERR_clear_error();
    X509_free(cert);
    EVP_PKEY_free(key);
    dtls_identity_free(i);
    return err;
}

int dtls_identity_new(struct dtls_identity **ip, struct err_text *et) {
    return dtls_identity_new_profiles(ip, DEFAULT_PROFILES, et);
}

struct dtls_identity *dtls_identity_free(struct dtls_identity *i) {
    if (i)
        SSL_CTX_free(i->ctx);
    free(i);
    return NULL;
}
