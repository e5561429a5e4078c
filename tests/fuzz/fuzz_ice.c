/* SPDX-License-Identifier: Apache-2.0 */
/* A datagram to an ICE-lite agent. The input's attributes are sealed with the agent's password in half of the runs, so
 * that what lies behind the authentication is reached. */
#include "base/err.h"
#include "dtls/ice_lite.h"
#include "dtls/stun_msg.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define INTEGRITY_BYTES 24 /* the attribute with its header */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ice_lite agent = {.ufrag = "abcdefgh", .pwd = "passwordpasswordpasswordpassword"};

static void check(bool ok) {
    if (!ok)
        abort();
}

static void feed(const uint8_t *dg, size_t len, bool sealed) {
    struct ice_lite il = agent;
    struct ice_result res;
    struct addr src;
    uint8_t reply[STUN_MSG_MAX_BYTES];
    char ufrag[ICE_UFRAG_BYTES];
    addr_parse(&src, "192.0.2.1", 4000);
    ice_lite_peek_ufrag(ufrag, sizeof ufrag, dg, len);
    int err = ice_lite_input(&il, dg, len, &src, 1, reply, sizeof reply, &res);
    check(res.reply_len >= 0 && res.reply_len <= (int)sizeof reply);
    check(err == 0 || !res.authenticated);
    check(sealed || !res.authenticated);
    check(res.authenticated || (!res.selected_changed && !addr_is_set(&il.selected)));
    if (err == E_AUTH || err == E_MALFORMED)
        check(res.reply_len == 0);
    if (res.reply_len) {
        struct stun_msg m;
        check(stun_msg_parse(&m, reply, (size_t)res.reply_len) == 0);
        check(stun_msg_check(&m, agent.pwd) == 0);
    }
}

/* Header and user name are written here; data are the attributes behind them. */
static void feed_sealed(const uint8_t *data, size_t size) {
    static const uint8_t head[] = {0,   1,   0,   0,   0x21, 0x12, 0xa4, 0x42, 1,   2,   3,   4,
                                   5,   6,   7,   8,   9,    10,   11,   12,   0,   6,   0,   12,
                                   'a', 'b', 'c', 'd', 'e',  'f',  'g',  'h',  ':', 'x', 'y', 'z'};
    uint8_t dg[STUN_MSG_MAX_BYTES];
    unsigned n = 20;
    size &= ~(size_t)3;
    if (size > sizeof dg - sizeof head - INTEGRITY_BYTES)
        return;
    memcpy(dg, head, sizeof head);
    memcpy(dg + sizeof head, data, size);
    size_t at = sizeof head + size, len = at + INTEGRITY_BYTES;
    dg[2] = (uint8_t)((len - STUN_HEADER_BYTES) >> 8);
    dg[3] = (uint8_t)(len - STUN_HEADER_BYTES);
    memcpy(dg + at, "\x00\x08\x00\x14", 4);
    HMAC(EVP_sha1(), agent.pwd, (int)strlen(agent.pwd), dg, at, dg + at + 4, &n);
    feed(dg, len, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0 && data[0] & 0x80)
        feed_sealed(data + 1, size - 1);
    else
        feed(data, size, false);
    return 0;
}
