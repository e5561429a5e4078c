/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/sim/sim_tls.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

/* Apple's extensions: marks of the two environments, and the lists of topics (facts of certificate authentication). */
#define OID_SANDBOX    "1.2.840.113635.100.6.3.1"
#define OID_PRODUCTION "1.2.840.113635.100.6.3.2"
#define OID_TOPICS     "1.2.840.113635.100.6.3.4"
#define OID_TOPICS_ALL "1.2.840.113635.100.6.3.6"
#define DER_UTF8       0x0c

/* APNs speaks HTTP/2 only: a client that does not offer h2 is turned away in the handshake. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned in_len, void *arg) {
    static const unsigned char h2[] = "\x02h2";
    (void)ssl;
    (void)arg;
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, h2, 3, in, in_len) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

int sim_tls_context(SSL_CTX **out, const struct sim *s, struct err_text *et) {
    SSL_CTX *ctx = *out = SSL_CTX_new(TLS_server_method());
    if (!ctx)
        return err_say(et, E_NOMEM, "out of memory");
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"apns", 4);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, s->cfg.certificate_file) != 1)
        return err_say(et, E_IO, "--cert: %s: no certificate in PEM that can be read", s->cfg.certificate_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, s->cfg.key_file, SSL_FILETYPE_PEM) != 1)
        return err_say(et, E_IO, "--key: %s: no private key in PEM that belongs to the certificate", s->cfg.key_file);
    if (s->cfg.client_ca_file && SSL_CTX_load_verify_file(ctx, s->cfg.client_ca_file) != 1)
        return err_say(et, E_IO, "--client-ca: %s: no certificate in PEM that can be read", s->cfg.client_ca_file);
    return 0;
}

/* Every certificate is let in; what APNs thinks of it is said in HTTP. */
static int on_verify(int ok, X509_STORE_CTX *store) {
    (void)ok;
    (void)store;
    return 1;
}

SSL *sim_tls_session(const struct sim *s, SSL_CTX *ctx) {
    SSL *ssl = SSL_new(ctx);
    if (!ssl)
        return NULL;
    if (s->b.tls == SIM_TLS_1_2)
        SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
    if (s->b.tls == SIM_TLS_1_3)
        SSL_set_min_proto_version(ssl, TLS1_3_VERSION);
    if (s->b.client_certificates)
        SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
    SSL_set_accept_state(ssl);
    return ssl;
}

/* One DER value: its tag, content and length; returns what is behind it, or NULL. */
static const unsigned char *der_next(const unsigned char *p, const unsigned char *end, int *tag,
                                     const unsigned char **content, size_t *len) {
    if (end - p < 2)
        return NULL;
    *tag = *p++;
    *len = *p++;
    if (*len & 0x80) {
        size_t bytes = *len & 0x7f;
        if (bytes == 0 || bytes > 2 || (size_t)(end - p) < bytes)
            return NULL;
        for (*len = 0; bytes > 0; bytes--)
            *len = *len << 8 | *p++;
    }
    if ((size_t)(end - p) < *len)
        return NULL;
    *content = p;
    return p + *len;
}

void sim_tls_topics(struct sim_certificate *out, const unsigned char *der, size_t len) {
    const unsigned char *content, *at, *end;
    size_t n;
    int tag;
    if (!der_next(der, der + len, &tag, &at, &n) || tag != 0x30)
        return;
    for (end = at + n; (at = der_next(at, end, &tag, &content, &n));) {
        if (tag != DER_UTF8 || n >= SIM_BUNDLE_BYTES || out->topic_count == SIM_TOPICS_MAX)
            continue;
        snprintf(out->topics[out->topic_count++], SIM_BUNDLE_BYTES, "%.*s", (int)n, (const char *)content);
    }
}

static void take_extension(struct sim_certificate *out, X509_EXTENSION *e) {
    char oid[64];
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(e);
    OBJ_obj2txt(oid, sizeof oid, X509_EXTENSION_get_object(e), 1);
    if (strcmp(oid, OID_SANDBOX) == 0)
        out->sandbox = true;
    else if (strcmp(oid, OID_PRODUCTION) == 0)
        out->production = true;
    else if (strcmp(oid, OID_TOPICS) == 0 || strcmp(oid, OID_TOPICS_ALL) == 0)
        sim_tls_topics(out, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
}

bool sim_tls_certificate(struct sim_certificate *out, const struct sim *s, const SSL *ssl) {
    X509 *x = SSL_get0_peer_certificate(ssl);
    memset(out, 0, sizeof *out);
    if (!x)
        return false;
    out->trusted = !s->cfg.client_ca_file || SSL_get_verify_result(ssl) == X509_V_OK;
    X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_userId, out->bundle_id, sizeof out->bundle_id);
    for (int i = 0; i < X509_get_ext_count(x); i++)
        take_extension(out, X509_get_ext(x, i));
    if (!out->sandbox && !out->production)
        out->sandbox = out->production = true;
    return true;
}
