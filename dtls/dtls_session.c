/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/dtls_session.h"

#include "base/err.h"
#include "base/secret.h"
#include "dtls/dtls_bio.h"
#include "dtls/dtls_identity_priv.h"
#include "dtls/dtls_record.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#define HANDSHAKE_MAX_MS        15000
#define RETRANSMIT_MIN_US       50000U
#define RETRANSMIT_DEFAULT_US   100000U
#define RETRANSMIT_FIRST_MAX_US 3000000U
/* OpenSSL gives up at the thirteenth retransmission of a flight: twelve of them shall fill the 15 s. */
#define RETRANSMIT_MAX_US     2000000U
#define RETRANSMIT_UNHEARD_US 4000000U              /* to somebody who may not be there, or have no answer yet */
#define EARLY_US              15000U                /* OpenSSL's timer goes off so much before its time */
#define EXPORTER_LABEL        "EXTRACTOR-dtls_srtp" /* RFC 5764 4.2 */

#define ALERT_WARNING           1
#define ALERT_CLOSE_NOTIFY      0
#define ALERT_NO_RENEGOTIATION  100
#define HANDSHAKE_HELLO_REQUEST 0
#define HANDSHAKE_CLIENT_HELLO  1
#define HANDSHAKE_FINISHED      20

/* What only a handshake needs. */
struct handshake {
    struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAX];
    size_t fingerprint_count;
    bool (*judge)(const struct dtls_certificate *c, void *arg);
    uint64_t started_ms;
    unsigned first_timeout_us;
    unsigned unheard, unheard_max; /* flights sent before anything came */
    bool heard;
    struct dtls_guard *guard; /* while it listens */
    struct addr from;
    uint64_t now_ms;
    bool cookie_good, verified;
};

struct dtls_session {
    SSL *ssl;                    /* NULL once the association is in `record` */
    BIO *bio;                    /* owned by ssl */
    struct handshake *handshake; /* NULL once connected */
    struct dtls_record record;
    struct dtls_ops ops;
    void *arg;
    int alert; /* -1: none */
    bool server, connected, over;
    bool data_seen; /* OpenSSL has delivered application data */
    /* What OpenSSL sent from its latest ChangeCipherSpec on; longer than DTLS_FLIGHT_BYTES: it does not fit. For a
     * server that is the last flight, which its peer may lose. */
    uint8_t flight[DTLS_FLIGHT_BYTES];
    size_t flight_len;
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
    struct handshake *h = s->handshake;
    const struct dtls_certificate cert = {X509_STORE_CTX_get0_cert(store)};
    (void)arg;
    bool ok =
        h && cert.x509 &&
        (h->judge ? h->judge(&cert, s->arg) : dtls_certificate_matches(&cert, h->fingerprints, h->fingerprint_count));
    if (h)
        h->verified = ok;
    X509_STORE_CTX_set_error(store, ok ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
    return ok;
}

int dtls_session_make_cookie(SSL *ssl, unsigned char *out, unsigned *len) {
    const struct dtls_session *s = SSL_get_app_data(ssl);
    struct handshake *h = s->handshake;
    if (!h || !h->guard)
        return 0;
    dtls_guard_cookie(h->guard, out, &h->from, h->now_ms);
    *len = DTLS_COOKIE_BYTES;
    return 1;
}

static void learn_rtt(struct handshake *h, uint64_t rtt_ms) {
    uint64_t us = rtt_ms * 2000;
    h->first_timeout_us = us < RETRANSMIT_MIN_US         ? RETRANSMIT_MIN_US
                          : us > RETRANSMIT_FIRST_MAX_US ? RETRANSMIT_FIRST_MAX_US
                                                         : (unsigned)us;
}

int dtls_session_check_cookie(SSL *ssl, const unsigned char *cookie, unsigned len) {
    const struct dtls_session *s = SSL_get_app_data(ssl);
    struct handshake *h = s->handshake;
    int age_ms;
    if (h && h->cookie_good) /* OpenSSL asks again when it reads the same ClientHello for good */
        return 1;
    if (!h || !h->guard || (age_ms = dtls_guard_check(h->guard, cookie, len, &h->from, h->now_ms)) < 0)
        return 0;
    h->cookie_good = true;
    learn_rtt(h, (uint64_t)age_ms);
    return 1;
}

static void on_info(const SSL *ssl, int where, int value) {
    struct dtls_session *s = SSL_get_app_data(ssl);
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
        s->alert = value & 0xff;
}

static void keep_flight(struct dtls_session *s, const uint8_t *record, size_t len) {
    if (record[0] == DTLS_RECORD_CCS)
        s->flight_len = 0;
    else if (s->flight_len == 0)
        return;
    if (s->flight_len + len <= sizeof s->flight)
        memcpy(s->flight + s->flight_len, record, len);
    s->flight_len += len;
}

static void on_bio_send(const uint8_t *dg, size_t len, void *arg) {
    struct dtls_session *s = arg;
    for (size_t at = 0, n; at < len; at += n) {
        n = dtls_record_length(dg + at, len - at);
        keep_flight(s, dg + at, n);
    }
    s->ops.send(dg, len, s->arg);
}

static unsigned next_timeout_us(SSL *ssl, unsigned previous_us) {
    const struct dtls_session *s = SSL_get_app_data(ssl);
    const struct handshake *h = s->handshake;
    if (!h)
        return RETRANSMIT_MAX_US;
    unsigned most_us = h->unheard_max && !h->heard ? RETRANSMIT_UNHEARD_US : RETRANSMIT_MAX_US;
    unsigned next_us = previous_us == 0 ? 0 : (previous_us - EARLY_US) * 2;
    next_us = next_us < most_us ? next_us : most_us;
    return (next_us > h->first_timeout_us ? next_us : h->first_timeout_us) + EARLY_US;
}

static struct handshake *handshake_new(const struct dtls_params *p) {
    struct handshake *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->fingerprint_count = p->fingerprint_count < SDP_FINGERPRINTS_MAX ? p->fingerprint_count : SDP_FINGERPRINTS_MAX;
    if (h->fingerprint_count)
        memcpy(h->fingerprints, p->fingerprints, h->fingerprint_count * sizeof *h->fingerprints);
    h->judge = p->judge;
    h->unheard_max = p->unheard_max;
    h->first_timeout_us = RETRANSMIT_DEFAULT_US;
    if (p->rtt_ms)
        learn_rtt(h, p->rtt_ms);
    return h;
}

int dtls_session_new(struct dtls_session **sp, struct dtls_identity *id, const struct dtls_params *p,
                     const struct dtls_ops *ops, void *arg) {
    struct dtls_session *s = calloc(1, sizeof *s);
    if (!s)
        return E_NOMEM;
    s->ops = *ops;
    s->arg = arg;
    s->alert = -1;
    s->server = !p->client;
    s->handshake = handshake_new(p);
    s->ssl = s->handshake ? SSL_new(dtls_identity_ctx(id)) : NULL;
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

static int send_record(struct dtls_session *s, enum dtls_record_type type, const uint8_t *p, size_t len) {
    uint8_t out[DTLS_MTU_BYTES];
    int n = dtls_record_seal(&s->record, type, p, len, out, sizeof out);
    if (n < 0)
        return n;
    s->ops.send(out, (size_t)n, s->arg);
    return 0;
}

static void warn(struct dtls_session *s, uint8_t description) {
    const uint8_t alert[] = {ALERT_WARNING, description};
    send_record(s, DTLS_RECORD_ALERT, alert, sizeof alert);
}

static void send_close_notify(struct dtls_session *s) {
    if (s->ssl)
        SSL_shutdown(s->ssl);
    else
        warn(s, ALERT_CLOSE_NOTIFY);
}

struct dtls_session *dtls_session_free(struct dtls_session *s) {
    if (s && s->connected && !s->over)
        send_close_notify(s);
    return dtls_session_forget(s);
}

struct dtls_session *dtls_session_forget(struct dtls_session *s) {
    if (!s)
        return NULL;
    SSL_free(s->ssl);
    ERR_clear_error();
    free(s->handshake);
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
    uint8_t *client = s->server ? keys->rx : keys->tx, *server = s->server ? keys->tx : keys->rx;
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
    int err = s->handshake && s->handshake->verified ? export_keys(s, &keys) : E_AUTH;
    if (err == 0) {
        s->connected = true;
        s->ops.connected(&keys, s->arg);
    } else {
        finish(s, err);
    }
    media_keys_wipe(&keys);
}

/* RFC 5246 7.2.1: close_notify is answered with one. */
static void peer_closed(struct dtls_session *s) {
    send_close_notify(s);
    finish(s, 0);
}

/* After a call into OpenSSL that returned ret: does the association go on? */
static void judge(struct dtls_session *s, int ret) {
    int err = SSL_get_error(s->ssl, ret);
    if (err == SSL_ERROR_ZERO_RETURN && s->connected)
        peer_closed(s);
    else if (err == SSL_ERROR_ZERO_RETURN)
        finish(s, E_CLOSED);
    else if (err == SSL_ERROR_SSL || err == SSL_ERROR_SYSCALL)
        finish(s, !s->connected && SSL_get_verify_result(s->ssl) == X509_V_ERR_CERT_REJECTED ? E_AUTH : E_CRYPTO);
    ERR_clear_error();
}

/* The last record that OpenSSL has sealed: as a rule our Finished. */
static const uint8_t *last_record(const struct dtls_session *s, size_t *len) {
    size_t at = 0, n;
    while (at + (n = dtls_record_length(s->flight + at, s->flight_len - at)) < s->flight_len)
        at += n;
    *len = s->flight_len - at;
    return s->flight + at;
}

/* Connected: go on without OpenSSL, where that loses nothing. When application data came with the end of the handshake,
 * OpenSSL knows which records it was in, and we do not. */
static void leave_openssl(struct dtls_session *s) {
    size_t len;
    free(s->handshake);
    s->handshake = NULL;
    if (s->data_seen || s->flight_len == 0 || s->flight_len > sizeof s->flight)
        return;
    const uint8_t *sealed = last_record(s, &len);
    if (dtls_record_take(&s->record, s->ssl, sealed, len) == 0) {
        SSL_free(s->ssl);
        s->ssl = NULL;
        s->bio = NULL;
    }
    ERR_clear_error();
}

static void read_data(struct dtls_session *s) {
    uint8_t data[DTLS_MTU_BYTES + 64];
    while (!s->over) {
        int n = SSL_read(s->ssl, data, sizeof data);
        if (n <= 0) {
            judge(s, n);
            return;
        }
        s->data_seen = true;
        if (s->ops.data)
            s->ops.data(data, (size_t)n, s->arg);
    }
}

static void advance(struct dtls_session *s) {
    ERR_clear_error();
    if (s->connected) {
        read_data(s);
        return;
    }
    int ret = SSL_do_handshake(s->ssl);
    if (ret != 1) {
        judge(s, ret);
        return;
    }
    connected(s);
    if (!s->over)
        read_data(s);
    if (!s->over)
        leave_openssl(s);
}

static void take_alert(struct dtls_session *s, const uint8_t *text) {
    s->alert = text[1];
    /* RFC 5246 7.2: the other warnings ask for nothing. */
    if (text[1] == ALERT_CLOSE_NOTIFY)
        peer_closed(s);
    else if (text[0] != ALERT_WARNING)
        finish(s, E_CRYPTO);
}

static void take_handshake(struct dtls_session *s, uint8_t type) {
    if (type == (s->server ? HANDSHAKE_CLIENT_HELLO : HANDSHAKE_HELLO_REQUEST))
        warn(s, ALERT_NO_RENEGOTIATION); /* RFC 5246 7.2.2 */
    else if (type == HANDSHAKE_FINISHED && s->server)
        /* RFC 6347 4.2.4: the client lost our last flight. The same records again, and not new ones: a client that has
         * them knows them for replays. Without resumption the last flight is never a client's. */
        s->ops.send(s->flight, s->flight_len, s->arg);
}

static void take_record(struct dtls_session *s, uint8_t *record, size_t record_len) {
    const uint8_t *text;
    uint8_t type = record[0];
    int len = dtls_record_open(&s->record, record, record_len, &text);
    if (len <= 0)
        return;
    if (type == DTLS_RECORD_DATA && s->ops.data)
        s->ops.data(text, (size_t)len, s->arg);
    else if (type == DTLS_RECORD_ALERT && len == 2)
        take_alert(s, text);
    else if (type == DTLS_RECORD_HANDSHAKE)
        take_handshake(s, text[0]);
}

static void take_records(struct dtls_session *s, const uint8_t *dg, size_t len) {
    uint8_t copy[DTLS_MTU_BYTES + 400]; /* a peer's MTU may be more than ours */
    if (len > sizeof copy)
        return;
    memcpy(copy, dg, len);
    for (size_t at = 0, n; at < len && !s->over; at += n) {
        n = dtls_record_length(copy + at, len - at);
        take_record(s, copy + at, n);
    }
    secret_wipe(copy, len);
}

int dtls_session_start(struct dtls_session *s, uint64_t now_ms) {
    s->handshake->started_ms = now_ms;
    if (!s->server) {
        s->handshake->unheard = 1;
        advance(s);
    }
    return s->over ? E_CLOSED : 0;
}

int dtls_session_listen(struct dtls_session *s, struct dtls_guard *g, const struct addr *from, const uint8_t *dg,
                        size_t len, uint64_t now_ms) {
    struct handshake *h = s->handshake;
    if (s->over || !h)
        return E_CLOSED;
    BIO_ADDR *unused = BIO_ADDR_new();
    if (!unused)
        return E_NOMEM;
    h->guard = g;
    h->from = *from;
    h->now_ms = now_ms;
    h->cookie_good = false;
    ERR_clear_error();
    dtls_bio_put(s->bio, dg, len);
    int ret = DTLSv1_listen(s->ssl, unused);
    dtls_bio_put(s->bio, NULL, 0);
    BIO_ADDR_free(unused);
    h->guard = NULL;
    ERR_clear_error();
    if (ret != 1 || !h->cookie_good)
        return 0;
    h->started_ms = now_ms;
    h->heard = true;
    advance(s);
    return 1;
}

int dtls_session_save(const struct dtls_session *s, struct dtls_session_state *state, uint64_t ahead) {
    if (!s->connected || s->over || s->ssl)
        return E_UNSUPPORTED;
    memset(state, 0, sizeof *state);
    dtls_record_save(&s->record, &state->record, s->record.tx_seq + ahead);
    state->server = s->server;
    state->flight_len = (uint16_t)s->flight_len;
    memcpy(state->flight, s->flight, s->flight_len);
    return 0;
}

int dtls_session_resume(struct dtls_session **sp, const struct dtls_session_state *state, const struct dtls_ops *ops,
                        void *arg) {
    struct dtls_session *s = calloc(1, sizeof *s);
    if (!s)
        return E_NOMEM;
    if (state->flight_len > sizeof s->flight || dtls_record_restore(&s->record, &state->record) != 0) {
        free(s);
        return E_UNSUPPORTED;
    }
    s->ops = *ops;
    s->arg = arg;
    s->alert = -1;
    s->server = state->server;
    s->connected = true;
    s->flight_len = state->flight_len;
    memcpy(s->flight, state->flight, s->flight_len);
    *sp = s;
    return 0;
}

void dtls_session_limit(struct dtls_session *s, uint64_t limit) {
    s->record.tx_limit = limit;
}

uint64_t dtls_session_left(const struct dtls_session *s) {
    if (s->ssl || !s->connected)
        return UINT64_MAX;
    return s->record.tx_limit > s->record.tx_seq ? s->record.tx_limit - s->record.tx_seq : 0;
}

void dtls_session_move(struct dtls_session *s, const struct dtls_ops *ops, void *arg) {
    s->ops = *ops;
    s->arg = arg;
}

bool dtls_session_is_of(const struct dtls_session *s, const struct dtls_identity *id) {
    return s->ssl && SSL_get_SSL_CTX(s->ssl) == dtls_identity_ctx(id);
}

static void note_heard(struct dtls_session *s, uint64_t now_ms) {
    struct handshake *h = s->handshake;
    if (!h)
        return;
    if (h->started_ms == 0)
        h->started_ms = now_ms;
    /* Karn's rule: after a retransmission nobody knows which of the flights this answers. */
    if (!h->heard && h->unheard == 1 && !s->server)
        learn_rtt(h, now_ms - h->started_ms);
    h->heard = true;
}

int dtls_session_input(struct dtls_session *s, const uint8_t *dg, size_t len, uint64_t now_ms) {
    if (s->over)
        return E_CLOSED;
    if (len == 0) /* OpenSSL would take it for the end of a stream */
        return 0;
    if (!s->ssl) {
        take_records(s, dg, len);
        return 0;
    }
    note_heard(s, now_ms);
    dtls_bio_put(s->bio, dg, len);
    advance(s);
    if (s->bio)
        dtls_bio_put(s->bio, NULL, 0);
    return 0;
}

void dtls_session_tick(struct dtls_session *s, uint64_t now_ms) {
    struct handshake *h = s->handshake;
    if (s->over || !h || h->started_ms == 0)
        return;
    if (now_ms - h->started_ms > HANDSHAKE_MAX_MS) {
        finish(s, E_TIMEOUT);
        return;
    }
    if (!h->heard && h->unheard_max && h->unheard >= h->unheard_max) {
        struct timeval left;
        if (DTLSv1_get_timeout(s->ssl, &left) && left.tv_sec == 0 && left.tv_usec == 0)
            finish(s, E_TIMEOUT);
        return;
    }
    int ret = DTLSv1_handle_timeout(s->ssl);
    if (ret < 0)
        judge(s, -1);
    else if (ret > 0)
        h->unheard++;
}

int dtls_session_write(struct dtls_session *s, const uint8_t *p, size_t len) {
    if (s->over)
        return E_CLOSED;
    if (!s->connected)
        return E_STATE;
    if (len == 0)
        return E_FULL;
    if (!s->ssl)
        return send_record(s, DTLS_RECORD_DATA, p, len);
    if (len > DTLS_get_data_mtu(s->ssl)) /* the record's header and tag take their part of the MTU */
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
