/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/peer_endpoint.h"

#include "base/bytes.h"
#include "base/err.h"
#include "dtls/dtls_session.h"
#include "dtls/rtp.h"
#include "dtls/rtp_crypt.h"
#include "dtls/stun_msg.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK_EVERY_MS   50
#define CONSENT_EVERY_MS 4000
#define DGRAM_BYTES      1600

struct peer_endpoint {
    int fd;
    struct addr local, remote, candidates[PEER_CANDIDATES_MAX];
    size_t candidate_count, candidate_next;
    char local_ufrag[64], local_pwd[64], remote_ufrag[257], remote_pwd[257];
    uint64_t tie_breaker, next_check_ms;
    uint8_t txid[STUN_TXID_BYTES];
    bool plain, check_open, path_up;
    enum peer_dtls role;
    struct dtls_identity *identity;
    struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAX];
    size_t fingerprint_count;
    struct dtls_session *dtls;
    struct media_keys keys;
    struct rtp_crypt *crypt;
    uint64_t refused_pkts;
    struct peer_endpoint_ops ops;
    void *arg;
};

static void send_to_remote(struct peer_endpoint *e, const uint8_t *p, size_t len) {
    ssize_t ignored = sendto(e->fd, p, len, MSG_DONTWAIT, &e->remote.u.sa, addr_len(&e->remote));
    (void)ignored;
}

void peer_endpoint_send_raw(struct peer_endpoint *e, const uint8_t *p, size_t len) {
    send_to_remote(e, p, len);
}

static void on_dtls_send(const uint8_t *dg, size_t len, void *arg) {
    send_to_remote(arg, dg, len);
}

static void use_keys(struct peer_endpoint *e, const struct media_keys *keys) {
    e->keys = *keys;
    if (rtp_crypt_new(&e->crypt, keys) == 0 && e->ops.keys_up)
        e->ops.keys_up(keys->profile, e->arg);
}

static void on_dtls_connected(const struct media_keys *keys, void *arg) {
    use_keys(arg, keys);
}

static void on_dtls_data(const uint8_t *p, size_t len, void *arg) {
    struct peer_endpoint *e = arg;
    if (e->ops.data)
        e->ops.data(p, len, e->arg);
}

static void on_dtls_closed(int err, void *arg) {
    struct peer_endpoint *e = arg;
    if (e->ops.closed)
        e->ops.closed(err, e->arg);
}

static const struct dtls_ops dtls_ops = {on_dtls_send, on_dtls_connected, on_dtls_data, on_dtls_closed};

static int start_dtls(struct peer_endpoint *e, uint64_t now_ms) {
    struct dtls_params params = {.client = e->role == PEER_DTLS_CLIENT,
                                 .fingerprints = e->fingerprints,
                                 .fingerprint_count = e->fingerprint_count};
    int err = dtls_session_new(&e->dtls, e->identity, &params, &dtls_ops, e);
    return err == 0 ? dtls_session_start(e->dtls, now_ms) : err;
}

static int note_local(struct peer_endpoint *e) {
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    if (getsockname(e->fd, (struct sockaddr *)&bound, &len) != 0)
        return E_IO;
    addr_from_sockaddr(&e->local, (struct sockaddr *)&bound);
    return 0;
}

static int open_socket(struct peer_endpoint *e) {
    bool v6 = e->remote.u.sa.sa_family == AF_INET6, anywhere = false;
    struct addr any;
    for (size_t i = 0; i < e->candidate_count; i++)
        anywhere |= !addr_is_loopback(&e->candidates[i]);
    addr_parse(&any, v6 ? (anywhere ? "::" : "::1") : (anywhere ? "0.0.0.0" : "127.0.0.1"), 0);
    e->fd = socket(any.u.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (e->fd < 0 || bind(e->fd, &any.u.sa, addr_len(&any)) != 0)
        return E_IO;
    return note_local(e);
}

void peer_endpoint_set_remote(struct peer_endpoint *e, const struct peer_endpoint_params *p) {
    e->remote = p->remote;
    e->candidate_count = 0;
    if (addr_is_set(&p->remote))
        e->candidates[e->candidate_count++] = p->remote;
    for (size_t i = 0; i < p->more_count && e->candidate_count < PEER_CANDIDATES_MAX; i++)
        if (p->more[i].u.sa.sa_family == p->remote.u.sa.sa_family)
            e->candidates[e->candidate_count++] = p->more[i];
    snprintf(e->remote_ufrag, sizeof e->remote_ufrag, "%s", p->remote_ufrag ? p->remote_ufrag : "");
    snprintf(e->remote_pwd, sizeof e->remote_pwd, "%s", p->remote_pwd ? p->remote_pwd : "");
    e->role = p->dtls;
    e->fingerprint_count = p->fingerprint_count;
    if (p->fingerprint_count)
        memcpy(e->fingerprints, p->fingerprints, p->fingerprint_count * sizeof *p->fingerprints);
}

int peer_endpoint_new(struct peer_endpoint **ep, const struct peer_endpoint_params *p,
                      const struct peer_endpoint_ops *ops, void *arg) {
    struct peer_endpoint *e = calloc(1, sizeof *e);
    if (!e || rtp_crypt_init(NULL) != 0) {
        free(e);
        return E_NOMEM;
    }
    e->fd = -1;
    e->ops = *ops;
    e->arg = arg;
    e->identity = p->identity;
    random_bytes(&e->tie_breaker, sizeof e->tie_breaker);
    snprintf(e->local_ufrag, sizeof e->local_ufrag, "%s", p->local_ufrag ? p->local_ufrag : "");
    snprintf(e->local_pwd, sizeof e->local_pwd, "%s", p->local_pwd ? p->local_pwd : "");
    peer_endpoint_set_remote(e, p);
    e->plain = p->plain;
    if (p->fd > 0)
        e->fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
    int err = p->fd > 0 ? note_local(e) : open_socket(e);
    if (err != 0) {
        peer_endpoint_free(e);
        return err;
    }
    if (p->keys)
        use_keys(e, p->keys);
    *ep = e;
    return 0;
}

struct peer_endpoint *peer_endpoint_free(struct peer_endpoint *e) {
    if (!e)
        return NULL;
    dtls_session_free(e->dtls);
    rtp_crypt_free(e->crypt);
    media_keys_wipe(&e->keys);
    if (e->fd >= 0)
        close(e->fd);
    rtp_crypt_shutdown();
    free(e);
    return NULL;
}

static void check_again(struct peer_endpoint *e) {
    e->path_up = e->check_open = false;
    e->next_check_ms = 0;
}

int peer_endpoint_move(struct peer_endpoint *e) {
    int old = e->fd;
    int err = open_socket(e); /* before the old one is closed: another port */
    close(old);
    check_again(e);
    return err;
}

void peer_endpoint_restart(struct peer_endpoint *e, const char *local_ufrag, const char *remote_ufrag,
                           const char *remote_pwd) {
    snprintf(e->local_ufrag, sizeof e->local_ufrag, "%s", local_ufrag);
    snprintf(e->remote_ufrag, sizeof e->remote_ufrag, "%s", remote_ufrag);
    snprintf(e->remote_pwd, sizeof e->remote_pwd, "%s", remote_pwd);
    check_again(e);
}

int peer_endpoint_fd(const struct peer_endpoint *e) {
    return e->fd;
}

struct addr peer_endpoint_local(const struct peer_endpoint *e) {
    return e->local;
}

static void send_check(struct peer_endpoint *e) {
    uint8_t out[STUN_MSG_MAX_BYTES];
    char username[STUN_USERNAME_MAX_BYTES];
    snprintf(username, sizeof username, "%s:%s", e->remote_ufrag, e->local_ufrag);
    if (!e->path_up)
        e->remote = e->candidates[e->candidate_next++ % e->candidate_count];
    /* RFC 8489 6.2.1: a request is repeated in the same transaction, so that a late response still counts. */
    if (!e->check_open)
        random_bytes(e->txid, sizeof e->txid);
    e->check_open = true;
    struct stun_build b = {
        .type = STUN_BINDING_REQUEST,
        .txid = e->txid,
        .username = username,
        .has_priority = true,
        .priority = 1853824767,
        .use_candidate = true,
        .ice_controlling = true,
        .tie_breaker = e->tie_breaker,
        .pwd = e->remote_pwd,
    };
    int len = stun_msg_encode(out, sizeof out, &b);
    if (len > 0)
        send_to_remote(e, out, (size_t)len);
}

static void take_stun(struct peer_endpoint *e, const uint8_t *p, size_t len, const struct addr *src, uint64_t now_ms) {
    struct stun_msg m;
    uint8_t out[STUN_MSG_MAX_BYTES];
    if (stun_msg_parse(&m, p, len) != 0)
        return;
    if (m.type == STUN_BINDING_REQUEST && stun_msg_check(&m, e->local_pwd) == 0) {
        struct stun_build b = {.type = STUN_BINDING_SUCCESS, .txid = m.txid, .mapped = src, .pwd = e->local_pwd};
        int n = stun_msg_encode(out, sizeof out, &b);
        if (n > 0)
            send_to_remote(e, out, (size_t)n);
        return;
    }
    if (m.type != STUN_BINDING_SUCCESS || !e->check_open || memcmp(m.txid, e->txid, sizeof e->txid) != 0 ||
        stun_msg_check(&m, e->remote_pwd) != 0)
        return;
    e->check_open = false;
    e->next_check_ms = now_ms + CONSENT_EVERY_MS;
    if (e->path_up)
        return;
    e->path_up = true;
    e->remote = *src; /* not always the candidate that was tried last */
    if (e->ops.path_up)
        e->ops.path_up(e->arg);
    if (e->role == PEER_DTLS_CLIENT && !e->dtls)
        start_dtls(e, now_ms);
}

static void take_rtp(struct peer_endpoint *e, uint8_t *p, size_t len) {
    bool rtcp = rtp_is_rtcp(p, len);
    void (*take)(const uint8_t *, size_t, void *) = rtcp ? e->ops.rtcp : e->ops.rtp;
    if (!e->crypt)
        return;
    if (rtp_crypt_unprotect(e->crypt, p, &len, rtcp) != 0)
        e->refused_pkts++;
    else if (take)
        take(p, len, e->arg);
}

uint64_t peer_endpoint_refused(const struct peer_endpoint *e) {
    return e->refused_pkts;
}

void peer_endpoint_on_readable(struct peer_endpoint *e, uint64_t now_ms) {
    uint8_t p[DGRAM_BYTES];
    for (int i = 0; i < 64; i++) {
        struct sockaddr_storage from;
        struct addr src;
        socklen_t from_len = sizeof from;
        ssize_t n = recvfrom(e->fd, p, sizeof p, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
        if (n <= 0)
            return;
        addr_from_sockaddr(&src, (struct sockaddr *)&from);
        size_t len = (size_t)n;
        if (p[0] <= 3) {
            take_stun(e, p, len, &src, now_ms);
        } else if (p[0] >= 20 && p[0] <= 63 && e->role != PEER_DTLS_NONE) {
            if (!e->dtls && e->role == PEER_DTLS_SERVER)
                start_dtls(e, now_ms);
            if (e->dtls)
                dtls_session_input(e->dtls, p, len, now_ms);
        } else if (rtp_is_rtp_or_rtcp(p, len)) {
            take_rtp(e, p, len);
        }
    }
}

/* Without ICE the path is there as soon as the other side's address is known. */
static void begin_plain(struct peer_endpoint *e, uint64_t now_ms) {
    e->path_up = true;
    if (e->ops.path_up)
        e->ops.path_up(e->arg);
    if (e->role == PEER_DTLS_CLIENT)
        start_dtls(e, now_ms);
}

void peer_endpoint_tick(struct peer_endpoint *e, uint64_t now_ms) {
    if (e->plain && !e->path_up && addr_is_set(&e->remote))
        begin_plain(e, now_ms);
    if (!e->plain && addr_is_set(&e->remote) && e->remote_ufrag[0] && now_ms >= e->next_check_ms) {
        send_check(e);
        e->next_check_ms = now_ms + CHECK_EVERY_MS;
    }
    if (e->dtls)
        dtls_session_tick(e->dtls, now_ms);
}

int peer_endpoint_send_rtp(struct peer_endpoint *e, const uint8_t *p, size_t len) {
    uint8_t out[DGRAM_BYTES];
    if (!e->crypt || !e->path_up || len + RTP_CRYPT_TRAILER_BYTES > sizeof out)
        return E_STATE;
    memcpy(out, p, len);
    int err = rtp_crypt_protect(e->crypt, out, &len, rtp_is_rtcp(p, len));
    if (err == 0)
        send_to_remote(e, out, len);
    return err;
}

int peer_endpoint_send_data(struct peer_endpoint *e, const uint8_t *p, size_t len) {
    return e->dtls ? dtls_session_write(e->dtls, p, len) : E_STATE;
}

void peer_endpoint_set_rx_roc(struct peer_endpoint *e, uint32_t ssrc, uint32_t roc) {
    if (e->crypt && roc > 0)
        rtp_crypt_set_rx_roc(e->crypt, &e->keys, ssrc, roc);
}
