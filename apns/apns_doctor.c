/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_doctor.h"

#include "apns/apns_jwt.h"
#include "apns/apns_proxy.h"
#include "apns/apns_reason.h"
#include "apns/apns_session.h"
#include "apns/apns_trust.h"
#include "base/addr.h"
#include "base/clock.h"
#include "base/secret.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP_MAX_S   10
#define READ_BYTES   16384
#define NOBODY_CHARS 64 /* a device token that no device has: all zeros */

struct doctor {
    const struct apns_doctor_config *cfg;
    const struct apns_credential_config *cred;
    EVP_PKEY *key;
    struct addrinfo *addresses;
    int fd;
    struct apns_proxy proxy;
    SSL_CTX *ctx;
    int64_t expires_s; /* the certificate's end, Unix time */
    SSL *ssl;
    struct apns_session *session;
    char authorization[APNS_JWT_BYTES + 8], nobody[NOBODY_CHARS + 1], topic[APNS_TOPIC_MAX_CHARS + 1],
        apns_id[UUID_BYTES];
    bool answered, lost;
    int status;
    char reason[64], goaway[128];
};

/* Steps: each returns 0 and what it found, or an error and the mend. */

static int step_key(struct doctor *d, struct err_text *et) {
    int err = apns_key_parse(&d->key, d->cred->key_pem, d->cred->key_pem_len, et);
    if (err != 0)
        return err;
    return err_say(et, 0, "an EC key on P-256; key id %s, team %s", d->cred->key_id, d->cred->team_id);
}

static int step_certificate(struct doctor *d, struct err_text *et) {
    char until[48] = "";
    struct tm tm;
    int err = apns_trust_new(&d->ctx, &d->expires_s, d->cred, et);
    if (err != 0)
        return err;
    time_t end = (time_t)d->expires_s;
    if (gmtime_r(&end, &tm))
        strftime(until, sizeof until, "%Y-%m-%d", &tm);
    if (d->expires_s <= (int64_t)(clock_wall_ms() / 1000))
        return err_say(et, E_EXPIRED, "the certificate has expired on %s: get a new one from the developer account",
                       until);
    return err_say(et, 0, "a certificate with its key, valid until %s", until);
}

static int step_dns(struct doctor *d, struct err_text *et) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    char port[8], text[ADDR_STR_BYTES], list[256] = "";
    unsigned count = 0;
    const char *host = d->proxy.host ? d->proxy.host : d->cred->host;
    uint16_t to = d->proxy.host ? d->proxy.port : d->cred->port;
    snprintf(port, sizeof port, "%u", to);
    int code = getaddrinfo(host, port, &hints, &d->addresses);
    if (code != 0)
        return err_say(et, E_IO, "%s: %s; check apns.%s, and this machine's name server", host, gai_strerror(code),
                       d->proxy.host ? "proxy" : "host");
    for (const struct addrinfo *a = d->addresses; a; a = a->ai_next, count++) {
        struct addr at;
        addr_from_sockaddr(&at, a->ai_addr);
        size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", addr_str(text, &at));
    }
    return err_say(et, 0, "%s has %u address%s: %s", host, count, count == 1 ? "" : "es", list);
}

static int dial(const struct addrinfo *a) {
    struct timeval limit = {.tv_sec = STEP_MAX_S};
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* Bounds connect, too. */
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why == EINPROGRESS ? ETIMEDOUT : why;
    return -1;
}

static int step_tcp(struct doctor *d, struct err_text *et) {
    char text[ADDR_STR_BYTES] = "";
    int why = 0;
    for (const struct addrinfo *a = d->addresses; a; a = a->ai_next) {
        struct addr at;
        uint64_t started_us = clock_mono_us();
        addr_from_sockaddr(&at, a->ai_addr);
        addr_str(text, &at);
        d->fd = dial(a);
        if (d->fd >= 0)
            return err_say(et, 0, "connected to %s in %.1f ms", text, (double)(clock_mono_us() - started_us) / 1000);
        why = errno;
    }
    if (d->proxy.host)
        return err_say(et, E_IO, "%s: %s; is the proxy up, and its port %u the right one?", text, strerror(why),
                       d->proxy.port);
    return err_say(et, E_IO, "%s: %s; is TCP to port %u let out by the firewall? Apple serves 443 and 2197", text,
                   strerror(why), d->cred->port);
}

/* Bytes behind the proxy's answer would be lost to TLS; a server of TLS does not speak first, so there are none. */
static int step_proxy(struct doctor *d, struct err_text *et) {
    struct apns_proxy_answer answer = {0};
    char buffer[READ_BYTES];
    size_t used;
    int n = apns_proxy_ask(buffer, sizeof buffer, &d->proxy, d->cred->host, d->cred->port);
    if (n < 0)
        return err_say(et, n, "the request to the proxy is too long");
    ssize_t sent = send(d->fd, buffer, (size_t)n, MSG_NOSIGNAL);
    secret_wipe(buffer, (size_t)n);
    int err = sent == n ? E_AGAIN : err_say(et, E_IO, "the proxy does not listen: %s", strerror(errno));
    while (err == E_AGAIN) {
        ssize_t got = recv(d->fd, buffer, sizeof buffer, 0);
        err = got > 0 ? apns_proxy_read(&answer, buffer, (size_t)got, &used, et)
                      : err_say(et, E_CLOSED, "the proxy does not answer: %s", got ? strerror(errno) : "it hung up");
    }
    return err == 0 ? err_say(et, 0, "the proxy opened a way to %s:%u", d->cred->host, d->cred->port) : err;
}

static const char *mend_of(long verify) {
    switch (verify) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "it is not this server's certificate: check apns.host, or a proxy in between";
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "check this machine's clock";
    default:
        return "for Apple's servers install ca-certificates and leave apns.ca_file out; for others apns.ca_file names "
               "their CA";
    }
}

static void describe(char out[static 256], X509 *cert) {
    char name[96] = "", until[48] = "";
    struct tm tm;
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof name);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1)
        strftime(until, sizeof until, "%Y-%m-%d", &tm);
    snprintf(out, 256, "certificate of %s, valid until %s", name, until);
}

static int step_tls(struct doctor *d, struct err_text *et) {
    char text[256] = "";
    int err = d->ctx ? 0 : apns_trust_new(&d->ctx, &d->expires_s, d->cred, et);
    if (err != 0)
        return err;
    d->ssl = SSL_new(d->ctx);
    if (!d->ssl || SSL_set_fd(d->ssl, d->fd) != 1 || apns_trust_expect(d->ssl, d->cred->host) != 0)
        return err_say(et, E_NOMEM, "out of memory");
    ERR_clear_error();
    if (SSL_connect(d->ssl) != 1) {
        long verify = SSL_get_verify_result(d->ssl);
        const char *why = ERR_reason_error_string(ERR_peek_last_error());
        if (verify != X509_V_OK)
            return err_say(et, E_AUTH, "the server's certificate is refused: %s; %s",
                           X509_verify_cert_error_string(verify), mend_of(verify));
        return err_say(et, E_CRYPTO, "no TLS: %s; is this a server of APNs, and no proxy that opens TLS?",
                       why ? why : "no answer in 10 s");
    }
    X509 *cert = SSL_get1_peer_certificate(d->ssl);
    if (cert)
        describe(text, cert);
    X509_free(cert);
    return err_say(et, 0, "%s, %s", SSL_get_version(d->ssl), text);
}

static int step_alpn(struct doctor *d, struct err_text *et) {
    const unsigned char *alpn = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(d->ssl, &alpn, &len);
    if (len == 2 && memcmp(alpn, "h2", 2) == 0)
        return err_say(et, 0, "HTTP/2 (h2)");
    return err_say(et, E_UNSUPPORTED, "the server does not speak HTTP/2 (no ALPN h2); a proxy that opens TLS does so");
}

/* HTTP/2 over the blocking connection */

static int flush(struct doctor *d) {
    const uint8_t *p;
    ssize_t n;
    while ((n = apns_session_output(d->session, &p)) > 0)
        if (SSL_write(d->ssl, p, (int)n) <= 0)
            return E_IO;
    return n < 0 ? E_CLOSED : 0;
}

static int pump(struct doctor *d, const bool *until) {
    uint8_t in[READ_BYTES];
    uint64_t give_up_ms = clock_mono_ms() + STEP_MAX_S * 1000ULL;
    int err = flush(d);
    while (err == 0 && !*until && !d->lost) {
        int n = clock_mono_ms() < give_up_ms ? SSL_read(d->ssl, in, sizeof in) : 0;
        if (n <= 0)
            return SSL_get_error(d->ssl, n) == SSL_ERROR_WANT_READ ? E_TIMEOUT : E_CLOSED;
        err = apns_session_input(d->session, in, (size_t)n);
        if (err == 0)
            err = flush(d);
        if (until != &d->answered && apns_session_ready(d->session))
            return 0;
    }
    return d->lost ? E_CLOSED : err;
}

static void on_answered(void *tag, const struct apns_answer *a, void *arg) {
    struct doctor *d = arg;
    (void)tag;
    d->answered = true;
    d->status = a->status;
    snprintf(d->reason, sizeof d->reason, "%s", a->reason);
}

static void on_lost(void *tag, bool refused, void *arg) {
    struct doctor *d = arg;
    (void)tag;
    (void)refused;
    d->lost = true;
}

static void on_goaway(const char *reason, void *arg) {
    struct doctor *d = arg;
    snprintf(d->goaway, sizeof d->goaway, "%s", reason);
}

static int step_settings(struct doctor *d, struct err_text *et) {
    const struct apns_session_ops ops = {.answered = on_answered, .lost = on_lost, .goaway = on_goaway};
    const bool never = false;
    int err = apns_session_new(&d->session, &ops, d);
    if (err == 0)
        err = pump(d, &never);
    if (err == 0)
        return err_say(et, 0, "the server's SETTINGS are here");
    return err_say(et, err, "the server says nothing that is HTTP/2: %s%s%s", err_str(err), d->goaway[0] ? ", " : "",
                   d->goaway);
}

/* The verdict on authentication, topic and token, by one request. */
static int judge(const struct doctor *d, struct err_text *et) {
    const struct apns_reason *why = apns_reason_find(d->status, d->reason);
    const char *mend = why->mend[0] ? why->mend : "try again later";
    bool real = d->cfg->device_token != NULL;
    if (d->status == 200)
        return err_say(et, 0, "accepted (200), apns-id %s; that is no proof that it arrives", d->apns_id);
    if (!real && strcmp(d->reason, "BadDeviceToken") == 0)
        return err_say(et, 0, "the %s and the topic %s are good (asked about a token that no device has)",
                       d->key ? "key" : "certificate", d->topic);
    if (real && strcmp(d->reason, "BadDeviceToken") == 0)
        mend = "the token is of the other environment (production or sandbox), or no token at all";
    return err_say(et, E_DENIED, "APNs answers %d %s; %s", d->status, d->reason, mend);
}

static int step_push(struct doctor *d, struct err_text *et) {
    static const char payload[] = "{\"aps\":{}}";
    char token[APNS_JWT_BYTES];
    const struct apns_request r = {.authority = d->cred->host,
                                   .token = d->cfg->device_token ? d->cfg->device_token : d->nobody,
                                   .authorization = d->key ? d->authorization : NULL,
                                   .topic = d->topic,
                                   .push_type = "voip",
                                   .priority = "10",
                                   .expiration = "0",
                                   .apns_id = d->apns_id,
                                   .payload = payload,
                                   .payload_len = sizeof payload - 1};
    int err = d->key ? apns_jwt_make(token, d->key, d->cred->team_id, d->cred->key_id, clock_wall_ms() / 1000) : 0;
    if (d->key)
        snprintf(d->authorization, sizeof d->authorization, "bearer %s", err == 0 ? token : "");
    secret_wipe(token, sizeof token);
    if (err == 0)
        err = apns_session_submit(d->session, &r, d);
    if (err == 0)
        err = pump(d, &d->answered);
    if (err == 0)
        return judge(d, et);
    return err_say(et, err, "no answer to the push: %s%s%s; try again, and see the state of Apple's services",
                   err_str(err), d->goaway[0] ? ", " : "", d->goaway);
}

static void release(struct doctor *d) {
    apns_session_free(d->session);
    SSL_free(d->ssl);
    SSL_CTX_free(d->ctx);
    if (d->fd >= 0)
        close(d->fd);
    if (d->addresses)
        freeaddrinfo(d->addresses);
    EVP_PKEY_free(d->key);
    apns_proxy_wipe(&d->proxy);
    secret_wipe(d->authorization, sizeof d->authorization);
    ERR_clear_error();
}

static bool by_key(const struct doctor *d) {
    return !d->cred->certificate;
}

static bool by_certificate(const struct doctor *d) {
    return d->cred->certificate;
}

static bool by_proxy(const struct doctor *d) {
    return d->proxy.host;
}

static bool always(const struct doctor *d) {
    (void)d;
    return true;
}

int apns_doctor(const struct apns_doctor_config *cfg) {
    static const struct {
        const char *name;
        bool (*wanted)(const struct doctor *d);
        int (*run)(struct doctor *d, struct err_text *et);
    } steps[] = {{"key", by_key, step_key},       {"certificate", by_certificate, step_certificate},
                 {"dns", always, step_dns},       {"tcp", always, step_tcp},
                 {"proxy", by_proxy, step_proxy}, {"tls", always, step_tls},
                 {"alpn", always, step_alpn},     {"settings", always, step_settings},
                 {"push", always, step_push}};
    struct doctor d = {.cfg = cfg, .cred = cfg->credential, .fd = -1};
    struct err_text et = {""};
    int err = 0;
    if (d.cred->proxy)
        err = apns_proxy_parse(&d.proxy, d.cred->proxy, d.cred->proxy_user, d.cred->proxy_password, &et);
    if (err != 0)
        cfg->say("proxy", false, et.s, cfg->arg);
    memset(d.nobody, '0', NOBODY_CHARS);
    snprintf(d.topic, sizeof d.topic, "%s.voip", cfg->bundle_id);
    uuid_new(d.apns_id);
    for (size_t i = 0; i < sizeof steps / sizeof *steps && err == 0; i++) {
        if (!steps[i].wanted(&d))
            continue;
        et.s[0] = 0;
        err = steps[i].run(&d, &et);
        cfg->say(steps[i].name, err == 0, et.s, cfg->arg);
    }
    release(&d);
    return err;
}
