/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/dtls_session.h"

#include "base/err.h"
#include "base/secret.h"
#include "dtls/dtls_bio.h"
#include "dtls/dtls_identity_priv.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#define HANDSHAKE_MAX_MS      15000
#define RETRANSMIT_MIN_US     50000U
#define RETRANSMIT_DEFAULT_US 100000U
#define RETRANSMIT_MAX_US     1000000U              /* at 30 % of loss each way, 15 s must hold enough of them */
#define RETRANSMIT_UNHEARD_US 4000000U              /* to somebody who may not be there, or have no answer yet */
#define EARLY_US              15000U                /* OpenSSL's timer goes off so much before its time */
#define EXPORTER_LABEL        "EXTRACTOR-dtls_srtp" /* RFC 5764 4.2 */

struct dtls_session {
    SSL *ssl;
    BIO *bio; /* owned by ssl */
    struct dtls_ops ops;
    void *arg;
    struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAX];
    size_t fingerprint_count;
    bool (*judge)(const struct dtls_certificate *c, void *arg);
    uint64_t started_ms;
    unsigned first_timeout_us;
    unsigned unheard, unheard_max; /* flights sent before anything came */
    bool heard;
    int alert;                /* -1: none */
    struct dtls_guard *guard; /* while it listens */
    struct addr from;
    uint64_t now_ms;
    bool cookie_good;
    bool verified, connected, over;
};

static const EVP_MD *digest_by_name(const char *name) {
    return strcmp(name, "sha-256") == 0   ? EVP_sha256()
           : strcmp(name, "sha-384") == 0 ? EVP_sha384()
           : strcmp(name, "sha-512") == 0 ? EVP_sha512()
                                          : NULL;
}

struct dtls_certificate {
    const X509 *x509;
};

bool dtls_certificate_matches(const struct dtls_certificate *c, const struct sdp_fingerprint *fp, size_t count) {
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    for (size_t i = 0; i < count; i++) {
        const EVP_MD *md = digest_by_name(fp[i].hash);
        if (md && X509_digest(c->x509, md, digest, &len) && len == fp[i].len &&
            secret_eq_bytes(digest, fp[i].value, len))
            return true;
    }
    return false;
}

int dtls_session_verify(X509_STORE_CTX *store, void *arg) {
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct dtls_session *s = SSL_get_app_data(ssl);
    const struct dtls_certificate cert = {X509_STORE_CTX_get0_cert(store)};
    (void)arg;
    s->verified = cert.x509 && (s->judge ? s->judge(&cert, s->arg)
                                         : dtls_certificate_matches(&cert, s->fingerprints, s->fingerprint_count));
    X509_STORE_CTX_set_error(store, s->verified ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
    return s->verified;
}

int dtls_session_make_cookie(SSL *ssl, unsigned char *out, unsigned *len) {
    struct dtls_session *s = SSL_get_app_data(ssl);
    if (!s->guard)
        return 0;
    dtls_guard_cookie(s->guard, out, &s->from, s->now_ms);
    *len = DTLS_COOKIE_BYTES;
    return 1;
}

static void learn_rtt(struct dtls_session *s, uint64_t rtt_ms) {
    uint64_t us = rtt_ms * 2000;
    s->first_timeout_us = us < RETRANSMIT_MIN_US   ? RETRANSMIT_MIN_US
                          : us > RETRANSMIT_MAX_US ? RETRANSMIT_MAX_US
                                                   : (unsigned)us;
}

int dtls_session_check_cookie(SSL *ssl, const unsigned char *cookie, unsigned len) {
    struct dtls_session *s = SSL_get_app_data(ssl);
    int age_ms;
    if (s->cookie_good) /* OpenSSL asks again when it reads the same ClientHello for good */
        return 1;
    if (!s->guard || (age_ms = dtls_guard_check(s->guard, cookie, len, &s->from, s->now_ms)) < 0)
        return 0;
    s->cookie_good = true;
    learn_rtt(s, (uint64_t)age_ms);
    return 1;
}

static void on_info(const SSL *ssl, int where, int value) {
    struct dtls_session *s = SSL_get_app_data(ssl);
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
        s->alert = value & 0xff;
}

static void on_bio_send(const uint8_t *dg, size_t len, void *arg) {
    struct dtls_session *s = arg;
    s->ops.send(dg, len, s->arg);
}

static unsigned next_timeout_us(SSL *ssl, unsigned previous_us) {
    const struct dtls_session *s = SSL_get_app_data(ssl);
    unsigned most_us = s->unheard_max && !s->heard ? RETRANSMIT_UNHEARD_US : RETRANSMIT_MAX_US;
    unsigned next_us = previous_us == 0 ? s->first_timeout_us : (previous_us - EARLY_US) * 2;
    return (next_us < most_us ? next_us : most_us) + EARLY_US;
}

int dtls_session_new(struct dtls_session **sp, struct dtls_identity *id, const struct dtls_params *p,
                     const struct dtls_ops *ops, void *arg) {
    struct dtls_session *s = calloc(1, sizeof *s);
    if (!s)
        return E_NOMEM;
    s->ops = *ops;
    s->arg = arg;
    s->fingerprint_count = p->fingerprint_count < SDP_FINGERPRINTS_MAX ? p->fingerprint_count : SDP_FINGERPRINTS_MAX;
    if (s->fingerprint_count)
        memcpy(s->fingerprints, p->fingerprints, s->fingerprint_count * sizeof *s->fingerprints);
    s->judge = p->judge;
    s->unheard_max = p->unheard_max;
    s->alert = -1;
    s->first_timeout_us = RETRANSMIT_DEFAULT_US;
    if (p->rtt_ms)
        learn_rtt(s, p->rtt_ms);
    s->ssl = SSL_new(dtls_identity_ctx(id));
    s->bio = s->ssl ? dtls_bio_new(on_bio_send, s, DTLS_MTU_BYTES) : NULL;
    if (!s->bio) {
        dtls_session_free(s);
        return E_NOMEM;
    }
    SSL_set_app_data(s->ssl, s);
    SSL_set_bio(s->ssl, s->bio, s->bio);
    SSL_set_mtu(s->ssl, DTLS_MTU_BYTES);
    DTLS_set_timer_cb(s->ssl, next_timeout_us);
    SSL_set_info_callback(s->ssl, on_info);
    if (p->client)
        SSL_set_connect_state(s->ssl);
    else
        SSL_set_accept_state(s->ssl);
    *sp = s;
    return 0;
}

struct dtls_session *dtls_session_free(struct dtls_session *s) {
    if (s && s->ssl && s->connected && !s->over)
        SSL_shutdown(s->ssl);
    return dtls_session_forget(s);
}

struct dtls_session *dtls_session_forget(struct dtls_session *s) {
    if (!s)
        return NULL;
    SSL_free(s->ssl);
    ERR_clear_error();
    secret_wipe(s, sizeof *s);
    free(s);
    return NULL;
}

static void finish(struct dtls_session *s, int err) {
    if (s->over)
        return;
    s->over = true;
    s->ops.closed(err, s->arg);
}

/* Key material by the exporter: client key, server key, client salt, server salt (RFC 5764 4.2). */
static int export_keys(struct dtls_session *s, struct media_keys *keys) {
    const SRTP_PROTECTION_PROFILE *chosen = SSL_get_selected_srtp_profile(s->ssl);
    const struct media_profile_info *info = chosen ? media_profile_info((enum media_profile)chosen->id) : NULL;
    uint8_t material[2 * MEDIA_MASTER_MAX_BYTES];
    memset(keys, 0, sizeof *keys);
    if (!info)
        return E_CRYPTO;
    size_t key = info->key_bytes, salt = info->salt_bytes;
    if (SSL_export_keying_material(s->ssl, material, 2 * (key + salt), EXPORTER_LABEL, strlen(EXPORTER_LABEL), NULL, 0,
                                   0) != 1)
        return E_CRYPTO;
    uint8_t *client = SSL_is_server(s->ssl) ? keys->rx : keys->tx,
            *server = SSL_is_server(s->ssl) ? keys->tx : keys->rx;
    keys->profile = info->profile;
    memcpy(client, material, key);
    memcpy(server, material + key, key);
    memcpy(client + key, material + 2 * key, salt);
    memcpy(server + key, material + 2 * key + salt, salt);
    secret_wipe(material, sizeof material);
    return 0;
}

static void connected(struct dtls_session *s) {
    struct media_keys keys;
    int err = s->verified ? export_keys(s, &keys) : E_AUTH;
    if (err == 0) {
        s->connected = true;
        s->ops.connected(&keys, s->arg);
    } else {
        finish(s, err);
    }
    media_keys_wipe(&keys);
}

/* After a call into OpenSSL that returned ret: does the association go on? */
static void judge(struct dtls_session *s, int ret) {
    int err = SSL_get_error(s->ssl, ret);
    if (err == SSL_ERROR_ZERO_RETURN)
        finish(s, s->connected ? 0 : E_CLOSED);
    else if (err == SSL_ERROR_SSL || err == SSL_ERROR_SYSCALL)
        finish(s, !s->connected && SSL_get_verify_result(s->ssl) == X509_V_ERR_CERT_REJECTED ? E_AUTH : E_CRYPTO);
    ERR_clear_error();
}

static void advance(struct dtls_session *s) {
    uint8_t data[DTLS_MTU_BYTES + 64];
    ERR_clear_error();
    if (!s->connected) {
        int ret = SSL_do_handshake(s->ssl);
        if (ret != 1) {
            judge(s, ret);
            return;
        }
        connected(s);
    }
    while (s->connected && !s->over) {
        int n = SSL_read(s->ssl, data, sizeof data);
        if (n <= 0) {
            judge(s, n);
            return;
        }
        if (s->ops.data)
            s->ops.data(data, (size_t)n, s->arg);
    }
}

int dtls_session_start(struct dtls_session *s, uint64_t now_ms) {
    s->started_ms = now_ms;
    if (!SSL_is_server(s->ssl)) {
        s->unheard = 1;
        advance(s);
    }
    return s->over ? E_CLOSED : 0;
}

int dtls_session_listen(struct dtls_session *s, struct dtls_guard *g, const struct addr *from, const uint8_t *dg,
                        size_t len, uint64_t now_ms) {
    if (s->over)
        return E_CLOSED;
    BIO_ADDR *unused = BIO_ADDR_new();
    if (!unused)
        return E_NOMEM;
    s->guard = g;
    s->from = *from;
    s->now_ms = now_ms;
    s->cookie_good = false;
    ERR_clear_error();
    dtls_bio_put(s->bio, dg, len);
    int ret = DTLSv1_listen(s->ssl, unused);
    dtls_bio_put(s->bio, NULL, 0);
    BIO_ADDR_free(unused);
    s->guard = NULL;
    ERR_clear_error();
    if (ret != 1 || !s->cookie_good)
        return 0;
    s->started_ms = now_ms;
    s->heard = true;
    advance(s);
    return 1;
}

void dtls_session_move(struct dtls_session *s, const struct dtls_ops *ops, void *arg) {
    s->ops = *ops;
    s->arg = arg;
}

bool dtls_session_is_of(const struct dtls_session *s, const struct dtls_identity *id) {
    return SSL_get_SSL_CTX(s->ssl) == dtls_identity_ctx(id);
}

int dtls_session_input(struct dtls_session *s, const uint8_t *dg, size_t len, uint64_t now_ms) {
    if (s->over)
        return E_CLOSED;
    if (s->started_ms == 0)
        s->started_ms = now_ms;
    if (len == 0) /* OpenSSL would take it for the end of a stream */
        return 0;
    /* Karn's rule: after a retransmission nobody knows which of the flights this answers. */
    if (!s->heard && s->unheard == 1 && !SSL_is_server(s->ssl))
        learn_rtt(s, now_ms - s->started_ms);
    s->heard = true;
    dtls_bio_put(s->bio, dg, len);
    advance(s);
    dtls_bio_put(s->bio, NULL, 0);
    return 0;
}

void dtls_session_tick(struct dtls_session *s, uint64_t now_ms) {
    if (s->over || s->connected || s->started_ms == 0)
        return;
    if (now_ms - s->started_ms > HANDSHAKE_MAX_MS) {
        finish(s, E_TIMEOUT);
        return;
    }
    if (!s->heard && s->unheard_max && s->unheard >= s->unheard_max) {
        struct timeval left;
        if (DTLSv1_get_timeout(s->ssl, &left) && left.tv_sec == 0 && left.tv_usec == 0)
            finish(s, E_TIMEOUT);
        return;
    }
    int ret = DTLSv1_handle_timeout(s->ssl);
    if (ret < 0)
        judge(s, -1);
    else if (ret > 0)
        s->unheard++;
}

int dtls_session_write(struct dtls_session *s, const uint8_t *p, size_t len) {
    if (s->over)
        return E_CLOSED;
    if (!s->connected)
        return E_STATE;
    if (len == 0 || len > DTLS_get_data_mtu(s->ssl)) /* the record's header and tag take their part of the MTU */
        return E_FULL;
    ERR_clear_error();
    int n = SSL_write(s->ssl, p, (int)len);
    if (n <= 0) {
        judge(s, n);
        return s->over ? E_CLOSED : E_FULL;
    }
    return 0;
}

bool dtls_session_connected(const struct dtls_session *s) {
    return s->connected && !s->over;
}

int dtls_session_alert(const struct dtls_session *s) {
    return s->alert;
}

const char *dtls_alert_name(int alert) {
    return SSL_alert_desc_string_long(alert);
}
