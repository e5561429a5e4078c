/* SPDX-License-Identifier: Apache-2.0 */
/* The certificate of the server. libwebsockets reads the files when it starts; each handshake then asks here, so that
 * another certificate, of another kind too, takes nothing but another pointer. */
#include "base/httpd_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

/* All of it is in a context that no connection is made from. */
struct httpd_certificate {
    SSL_CTX *ctx;
};

/* A key with a passphrase must fail, not ask at the terminal. */
static int no_password(char *out, int cap, int writing, void *arg) {
    (void)out;
    (void)cap;
    (void)writing;
    (void)arg;
    return -1;
}

static int check_readable(const char *file, struct err_text *et) {
    FILE *f = fopen(file, "re");
    if (!f)
        return err_say(et, E_IO, "%s: %s", file, strerror(errno));
    fclose(f);
    return 0;
}

static int read_files(SSL_CTX *ctx, const char *certificate_file, const char *key_file, struct err_text *et) {
    int err = check_readable(certificate_file, et);
    if (err == 0)
        err = check_readable(key_file, et);
    if (err != 0)
        return err;
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    if (SSL_CTX_use_certificate_chain_file(ctx, certificate_file) != 1)
        return err_say(et, E_CRYPTO, "%s: holds no certificate in PEM that can be used", certificate_file);
    /* It is compared with the certificate as it is taken: another one's is told from none at all. */
    if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1)
        return ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH ||
                       ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_TYPE_MISMATCH
                   ? err_say(et, E_CRYPTO, "%s: not the key of the certificate in %s", key_file, certificate_file)
                   : err_say(et, E_CRYPTO, "%s: holds no private key in PEM, without a passphrase, that can be used",
                             key_file);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return err_say(et, E_CRYPTO, "%s: not the key of the certificate in %s", key_file, certificate_file);
    return 0;
}

int httpd_certificate_read(struct httpd_certificate **cp, const char *certificate_file, const char *key_file,
                           struct err_text *et) {
    struct httpd_certificate *c = calloc(1, sizeof *c);
    *cp = NULL;
    if (!c || !(c->ctx = SSL_CTX_new(TLS_server_method()))) {
        free(c);
        return err_say(et, E_NOMEM, "out of memory");
    }
    ERR_clear_error();
    int err = read_files(c->ctx, certificate_file, key_file, et);
    ERR_clear_error();
    if (err != 0)
        c = httpd_certificate_free(c);
    *cp = c;
    return err;
}

struct httpd_certificate *httpd_certificate_free(struct httpd_certificate *c) {
    if (c)
        SSL_CTX_free(c->ctx);
    free(c);
    return NULL;
}

bool httpd_certificate_use(struct httpd *h, struct httpd_certificate *c) {
    bool other = X509_cmp(SSL_CTX_get0_certificate(h->certificate->ctx), SSL_CTX_get0_certificate(c->ctx)) != 0;
    httpd_certificate_free(h->certificate);
    h->certificate = c;
    return other;
}

/* In each handshake. The connection has its own reference to what it is given. */
static int on_certificate_wanted(SSL *ssl, void *arg) {
    const struct httpd *h = arg;
    SSL_CTX *ctx = h->certificate->ctx;
    STACK_OF(X509) *chain = NULL;
    SSL_certs_clear(ssl); /* it may hold one of another kind, which a client could prefer */
    return SSL_CTX_get0_chain_certs(ctx, &chain) == 1 &&
           SSL_use_cert_and_key(ssl, SSL_CTX_get0_certificate(ctx), SSL_CTX_get0_privatekey(ctx), chain, 1) == 1;
}

void httpd_tls_attach(struct httpd *h, void *ssl_ctx) {
    SSL_CTX_set_cert_cb(ssl_ctx, on_certificate_wanted, h);
}
