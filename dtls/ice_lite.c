/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/ice_lite.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "dtls/stun_msg.h"

#include <string.h>

void ice_lite_init(struct ice_lite *il) {
    random_alnum(il->ufrag, ICE_UFRAG_BYTES - 1);
    random_alnum(il->pwd, ICE_PWD_BYTES - 1);
    random_bytes(&il->tie_breaker, sizeof il->tie_breaker);
}

void ice_lite_restart(struct ice_lite *il, const struct ice_lite *next) {
    if (!il->old_ufrag[0]) {
        memcpy(il->old_ufrag, il->ufrag, sizeof il->old_ufrag);
        memcpy(il->old_pwd, il->pwd, sizeof il->old_pwd);
    }
    memcpy(il->ufrag, next->ufrag, sizeof il->ufrag);
    memcpy(il->pwd, next->pwd, sizeof il->pwd);
    memcpy(il->remote_ufrag, next->remote_ufrag, sizeof il->remote_ufrag);
}

/* RFC 8445 7.2.2: "our fragment:their fragment". */
static bool username_is(const struct stun_msg *m, const char *our, const char *their) {
    size_t ours = strlen(our), theirs = strlen(their);
    if (ours == 0 || m->username_len < ours + 1 || memcmp(m->username, our, ours) != 0 || m->username[ours] != ':')
        return false;
    return theirs == 0 || (m->username_len == ours + 1 + theirs && memcmp(m->username + ours + 1, their, theirs) == 0);
}

/* The password that this check has to be made with, or NULL. */
static const char *password_for(const struct ice_lite *il, const struct stun_msg *m) {
    if (username_is(m, il->ufrag, il->remote_ufrag))
        return il->pwd;
    return username_is(m, il->old_ufrag, "") ? il->old_pwd : NULL;
}

static int reply_error(const char *pwd, const struct stun_msg *m, int code, const char *reason, uint8_t *reply,
                       size_t cap, struct ice_result *res) {
    struct stun_build b = {
        .type = STUN_BINDING_ERROR,
        .txid = m->txid,
        .error_code = code,
        .error_reason = reason,
        .unknown = m->unknown_required,
        .unknown_count = code == 420 ? m->unknown_count : 0,
        .pwd = pwd,
    };
    res->reply_len = stun_msg_encode(reply, cap, &b);
    if (res->reply_len < 0)
        res->reply_len = 0;
    return code == 420 ? E_UNSUPPORTED : E_CONFLICT;
}

/* RFC 8445 7.3.2 for lite agents: the nominated pair is the selected one, the latest wins. The first nomination of a
 * restarted session ends the one before it (RFC 8445 9). Returns whether the path is a new one. */
static bool nominate(struct ice_lite *il, const struct addr *src, bool with_new) {
    bool restarted = with_new && il->old_ufrag[0];
    if (restarted) {
        secret_wipe(il->old_ufrag, sizeof il->old_ufrag);
        secret_wipe(il->old_pwd, sizeof il->old_pwd);
    }
    bool changed = restarted || !addr_eq(&il->selected, src);
    il->selected = *src;
    return changed;
}

int ice_lite_input(struct ice_lite *il, const uint8_t *dg, size_t len, const struct addr *src, uint64_t now_ms,
                   uint8_t *reply, size_t reply_cap, struct ice_result *res) {
    struct stun_msg m;
    memset(res, 0, sizeof *res);
    if (stun_msg_parse(&m, dg, len) != 0)
        return E_MALFORMED;
    if (m.type != STUN_BINDING_REQUEST)
        return E_MALFORMED;
    const char *pwd = password_for(il, &m);
    if (!pwd || stun_msg_check(&m, pwd) != 0)
        return E_AUTH;
    if (m.unknown_count)
        return reply_error(pwd, &m, 420, "Unknown Attribute", reply, reply_cap, res);
    /* RFC 8445 7.3.1.1: a lite agent is always controlled; 487 makes the peer take the controlling role. */
    if (m.ice_controlled)
        return reply_error(pwd, &m, 487, "Role Conflict", reply, reply_cap, res);
    res->authenticated = true;
    struct stun_build b = {.type = STUN_BINDING_SUCCESS, .txid = m.txid, .mapped = src, .pwd = pwd};
    res->reply_len = stun_msg_encode(reply, reply_cap, &b);
    if (m.use_candidate)
        res->selected_changed = nominate(il, src, pwd == il->pwd);
    if (addr_eq(&il->selected, src))
        il->last_check_ms = now_ms;
    if (res->reply_len < 0) {
        int err = res->reply_len;
        res->reply_len = 0;
        return err;
    }
    return 0;
}

int ice_lite_peek_ufrag(char *out, size_t cap, const uint8_t *dg, size_t len) {
    struct stun_msg m;
    if (stun_msg_parse(&m, dg, len) != 0 || m.username_len == 0)
        return E_MALFORMED;
    const char *colon = memchr(m.username, ':', m.username_len);
    size_t n = colon ? (size_t)(colon - m.username) : 0;
    if (n == 0 || n >= cap || memchr(m.username, 0, n))
        return E_MALFORMED;
    memcpy(out, m.username, n);
    out[n] = 0;
    return (int)n;
}
