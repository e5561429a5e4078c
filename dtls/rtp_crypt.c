/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/rtp_crypt.h"

#include "base/secret.h"
#include "dtls/rtp_cipher.h"
#include "dtls/srtcp.h"

#include <pthread.h>
#include <srtp2/srtp.h>
#include <stdlib.h>
#include <string.h>

#define REPLAY_WINDOW_PKTS 1024 /* video bursts reorder further than libsrtp's default of 128 */

_Static_assert(SRTCP_TRAILER_BYTES <= RTP_CRYPT_TRAILER_BYTES, "room for what srtcp_protect adds");

struct rtp_crypt {
    srtp_t rx, tx;
    struct srtcp rtcp; /* that is sent */
};

/* libsrtp's own start and end are process-wide and not counted. */
static pthread_mutex_t users_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;

static int start_library(struct err_text *et) {
    if (srtp_init() != srtp_err_status_ok)
        return err_say(et, E_CRYPTO, "SRTP: libsrtp fails its own tests and does not start");
    int err = rtp_cipher_plug(et);
    if (err != 0)
        srtp_shutdown();
    return err;
}

int rtp_crypt_init(struct err_text *et) {
    pthread_mutex_lock(&users_lock);
    int err = users > 0 ? 0 : start_library(et);
    users += err == 0;
    pthread_mutex_unlock(&users_lock);
    return err;
}

void rtp_crypt_shutdown(void) {
    pthread_mutex_lock(&users_lock);
    if (--users == 0)
        srtp_shutdown();
    pthread_mutex_unlock(&users_lock);
}

/* key receives the master key, which libsrtp copies; the caller wipes it. */
static int fill_policy(srtp_policy_t *policy, uint8_t key[static MEDIA_MASTER_MAX_BYTES], enum media_profile profile,
                       const uint8_t *master) {
    memset(policy, 0, sizeof *policy);
    switch (profile) {
    case MEDIA_PROFILE_AEAD_AES_128_GCM:
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy->rtp);
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy->rtcp);
        break;
    case MEDIA_PROFILE_AEAD_AES_256_GCM:
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy->rtp);
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy->rtcp);
        break;
    case MEDIA_PROFILE_AES128_CM_SHA1_80:
        srtp_crypto_policy_set_rtp_default(&policy->rtp);
        srtp_crypto_policy_set_rtcp_default(&policy->rtcp);
        break;
    default:
        return E_INVAL;
    }
    memcpy(key, master, MEDIA_MASTER_MAX_BYTES);
    policy->key = key;
    policy->window_size = REPLAY_WINDOW_PKTS;
    /* A relay passes retransmissions of the application on as they are. */
    policy->allow_repeat_tx = 1;
    return 0;
}

static int make(srtp_t *session, enum media_profile profile, const uint8_t *master, srtp_ssrc_type_t direction) {
    srtp_policy_t policy;
    uint8_t key[MEDIA_MASTER_MAX_BYTES];
    srtp_err_status_t status = srtp_err_status_fail;
    if (fill_policy(&policy, key, profile, master) == 0) {
        policy.ssrc.type = direction;
        status = srtp_create(session, &policy);
    }
    secret_wipe(key, sizeof key);
    return status == srtp_err_status_ok ? 0 : status == srtp_err_status_alloc_fail ? E_NOMEM : E_CRYPTO;
}

int rtp_crypt_new(struct rtp_crypt **cp, const struct media_keys *keys) {
    struct rtp_crypt *c = calloc(1, sizeof *c);
    if (!c)
        return E_NOMEM;
    int err = make(&c->rx, keys->profile, keys->rx, ssrc_any_inbound);
    if (err == 0)
        err = make(&c->tx, keys->profile, keys->tx, ssrc_any_outbound);
    if (err == 0)
        err = srtcp_init(&c->rtcp, keys->profile, keys->tx);
    if (err != 0) {
        rtp_crypt_free(c);
        return err;
    }
    *cp = c;
    return 0;
}

/* libsrtp makes a stream from its template at the first packet; a counter can only be set on one that is there. It
 * forgets what was set (0: nothing) at a packet that is half the circle away from the latest, and else estimates all
 * later ones by it, past the next roll-over. */
static int set_roc(srtp_t session, enum media_profile profile, const uint8_t *master, uint32_t ssrc, uint32_t roc) {
    srtp_policy_t policy;
    uint8_t key[MEDIA_MASTER_MAX_BYTES];
    srtp_err_status_t status = srtp_set_stream_roc(session, ssrc, roc);
    if (status == srtp_err_status_bad_param && roc == 0)
        return 0;
    if (status == srtp_err_status_bad_param && fill_policy(&policy, key, profile, master) == 0) {
        policy.ssrc.type = ssrc_specific;
        policy.ssrc.value = ssrc;
        status = srtp_add_stream(session, &policy);
        if (status == srtp_err_status_ok)
            status = srtp_set_stream_roc(session, ssrc, roc);
    }
    secret_wipe(key, sizeof key);
    return status == srtp_err_status_ok ? 0 : E_CRYPTO;
}

int rtp_crypt_set_rx_roc(struct rtp_crypt *c, const struct media_keys *keys, uint32_t ssrc, uint32_t roc) {
    return set_roc(c->rx, keys->profile, keys->rx, ssrc, roc);
}

int rtp_crypt_set_tx_roc(struct rtp_crypt *c, const struct media_keys *keys, uint32_t ssrc, uint32_t roc) {
    return set_roc(c->tx, keys->profile, keys->tx, ssrc, roc);
}

void rtp_crypt_set_rtcp(struct rtp_crypt *c, uint32_t next, uint32_t limit) {
    c->rtcp.next = next;
    c->rtcp.limit = limit;
}

uint32_t rtp_crypt_rtcp_next(const struct rtp_crypt *c) {
    return c->rtcp.next;
}

struct rtp_crypt *rtp_crypt_free(struct rtp_crypt *c) {
    if (!c)
        return NULL;
    if (c->rx)
        srtp_dealloc(c->rx);
    if (c->tx)
        srtp_dealloc(c->tx);
    srtcp_wipe(&c->rtcp);
    free(c);
    return NULL;
}

static int err_of(srtp_err_status_t status) {
    switch (status) {
    case srtp_err_status_ok:
        return 0;
    case srtp_err_status_auth_fail:
    case srtp_err_status_replay_fail:
    case srtp_err_status_replay_old:
        return E_AUTH;
    case srtp_err_status_bad_param:
    case srtp_err_status_parse_err:
        return E_MALFORMED;
    default:
        return E_CRYPTO;
    }
}

int rtp_crypt_protect(struct rtp_crypt *c, uint8_t *p, size_t *len, bool rtcp) {
    if (rtcp)
        return srtcp_protect(&c->rtcp, p, len);
    int n = (int)*len;
    srtp_err_status_t status = srtp_protect(c->tx, p, &n);
    if (status == srtp_err_status_ok)
        *len = (size_t)n;
    return err_of(status);
}

int rtp_crypt_unprotect(struct rtp_crypt *c, uint8_t *p, size_t *len, bool rtcp) {
    int n = (int)*len;
    srtp_err_status_t status = rtcp ? srtp_unprotect_rtcp(c->rx, p, &n) : srtp_unprotect(c->rx, p, &n);
    if (status == srtp_err_status_ok)
        *len = (size_t)n;
    return err_of(status);
}
