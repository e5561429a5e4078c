/* SPDX-License-Identifier: Apache-2.0 */
/* A datagram of a stranger: what listens stays as it was, answers nothing longer than what came, and lets nobody in
 * without a cookie of the guard. */
#include "base/err.h"
#include "dtls/dtls_guard.h"
#include "dtls/dtls_session.h"

#include <stdlib.h>
#include <string.h>

#define COOKIE_AT 60 /* behind the headers, version, random and an empty session id */
#define NOW_MS    1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t sent_bytes;

static void check(bool ok) {
    if (!ok)
        abort();
}

static void on_send(const uint8_t *dg, size_t len, void *arg) {
    (void)dg;
    (void)arg;
    sent_bytes += len;
}

static void on_connected(const struct media_keys *keys, void *arg) {
    (void)keys;
    (void)arg;
    abort();
}

static void on_closed(int err, void *arg) {
    (void)arg;
    check(err != 0);
}

static const struct dtls_ops ops = {on_send, on_connected, NULL, on_closed};
static struct dtls_identity *identity;
static struct dtls_guard *guard;
static struct dtls_session *listener;

static void prepare(void) {
    struct dtls_params p = {.fingerprint_count = 0};
    if (!identity)
        check(dtls_identity_new(&identity, NULL) == 0 && dtls_guard_new(&guard, NOW_MS) == 0);
    if (!listener)
        check(dtls_session_new(&listener, identity, &p, &ops, NULL) == 0);
}

static void feed(const uint8_t *dg, size_t len, bool has_cookie) {
    struct addr from;
    addr_parse(&from, "192.0.2.1", 4000);
    prepare();
    sent_bytes = 0;
    int ret = dtls_guard_is_hello(dg, len) ? dtls_session_listen(listener, guard, &from, dg, len, NOW_MS) : 0;
    check(ret == 0 || (ret == 1 && has_cookie));
    if (ret == 0)
        check(sent_bytes <= len);
    else
        listener = dtls_session_forget(listener);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t dg[1500];
    struct addr from;
    feed(data, size, false);
    /* Again, with a good cookie where a hello has it. */
    if (size < COOKIE_AT + 1 + DTLS_COOKIE_BYTES || size > sizeof dg || data[COOKIE_AT] != DTLS_COOKIE_BYTES)
        return 0;
    addr_parse(&from, "192.0.2.1", 4000);
    memcpy(dg, data, size);
    dtls_guard_cookie(guard, dg + COOKIE_AT + 1, &from, NOW_MS);
    feed(dg, size, true);
    return 0;
}
