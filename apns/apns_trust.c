/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_trust.h"

#include "base/addr.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
    STACK_OF(X509) * chain; /* those between it and the root; may be NULL */
};

static void identity_free(struct identity *id) {
    EVP_PKEY_free(id->key);
    X509_free(id->certificate);
    sk_X509_pop_free(id->chain, X509_free);
}

/* Without a password an encrypted key must fail, not ask at the terminal. */
static int on_password(char *out, int cap, int writing, void *arg) {
    const char *password = arg;
    size_t len = password ? strlen(password) : 0;
    (void)writing;
    if (!password || len > (size_t)cap)
        return -1;
    memcpy(out, password, len);
    return (int)len;
}

static void read_pem(struct identity *id, const struct apns_credential_config *cfg) {
    void *password = (void *)(uintptr_t)cfg->certificate_password;
    BIO *bio = BIO_new_mem_buf(cfg->certificate, (int)cfg->certificate_len);
    X509 *x;
    if (!bio)
        return;
    id->certificate = PEM_read_bio_X509(bio, NULL, on_password, password);
    id->chain = sk_X509_new_null();
    while (id->chain && (x = PEM_read_bio_X509(bio, NULL, on_password, password)))
        if (sk_X509_push(id->chain, x) == 0)
            X509_free(x);
    BIO_free(bio);
    if ((bio = BIO_new_mem_buf(cfg->certificate, (int)cfg->certificate_len)))
        id->key = PEM_read_bio_PrivateKey(bio, NULL, on_password, password);
    BIO_free(bio);
}

static void read_pkcs12(struct identity *id, const struct apns_credential_config *cfg) {
    const unsigned char *at = (const unsigned char *)cfg->certificate;
    PKCS12 *p12 = d2i_PKCS12(NULL, &at, (long)cfg->certificate_len);
    if (p12)
        PKCS12_parse(p12, cfg->certificate_password ? cfg->certificate_password : "", &id->key, &id->certificate,
                     &id->chain);
    PKCS12_free(p12);
}

static int64_t ends_at(const X509 *x) {
    int days = 0, seconds = 0;
    ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x));
    return (int64_t)time(NULL) + (int64_t)days * 86400 + seconds;
}

static int use_certificate(SSL_CTX *ctx, int64_t *expires_s, const struct apns_credential_config *cfg,
                           struct err_text *et) {
    struct identity id = {0};
    int err = 0;
    if (memmem(cfg->certificate, cfg->certificate_len, "-----BEGIN", 10))
        read_pem(&id, cfg);
    else
        read_pkcs12(&id, cfg);
    if (!id.certificate || !id.key)
        err = err_say(et, E_CRYPTO,
                      "certificate: no %s found; PEM with certificate and key is meant, or PKCS#12, with the right "
                      "password",
                      id.certificate ? "private key" : "certificate");
    else if (SSL_CTX_use_certificate(ctx, id.certificate) != 1 || SSL_CTX_use_PrivateKey(ctx, id.key) != 1 ||
             SSL_CTX_check_private_key(ctx) != 1)
        err = err_say(et, E_CRYPTO, "certificate: certificate and key do not belong together");
    else if (id.chain && sk_X509_num(id.chain) > 0 && SSL_CTX_set1_chain(ctx, id.chain) != 1)
        err = err_say(et, E_CRYPTO, "certificate: its chain cannot be used");
    else
        *expires_s = ends_at(id.certificate);
    identity_free(&id);
    return err;
}

int apns_trust_new(SSL_CTX **ctxp, int64_t *expires_s, const struct apns_credential_config *cfg, struct err_text *et) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int err = 0;
    *expires_s = 0;
    if (!ctx)
        return err_say(et, E_NOMEM, "out of memory");
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    int ok = cfg->ca_file ? SSL_CTX_load_verify_file(ctx, cfg->ca_file) : SSL_CTX_set_default_verify_paths(ctx);
    if (ok != 1)
        err = err_say(et, E_IO, "ca_file: %s holds no CA certificate in PEM that can be read",
                      cfg->ca_file ? cfg->ca_file : "the system's store");
    else if (cfg->certificate)
        err = use_certificate(ctx, expires_s, cfg, et);
    ERR_clear_error();
    if (err != 0) {
        SSL_CTX_free(ctx);
        ctx = NULL;
    }
    *ctxp = ctx;
    return err;
}

int apns_trust_expect(SSL *ssl, const char *host) {
    struct addr numeric;
    static const unsigned char alpn[] = "\x02h2";
    if (SSL_set_alpn_protos(ssl, alpn, sizeof alpn - 1) != 0)
        return E_NOMEM;
    if (addr_parse(&numeric, host, 0) == 0)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1 ? 0 : E_NOMEM;
    /* SSL_set_tlsext_host_name, without its cast that takes the const away. */
    void *sni = (void *)(uintptr_t)host;
    bool named = SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, sni) == 1;
    return named && SSL_set1_host(ssl, host) == 1 ? 0 : E_NOMEM;
}
