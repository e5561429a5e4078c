/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/identities.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "gateway/call_fsm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "dtls-identity/"

/* Seal it, and put it into the store. */
static int put(struct store *s, const struct seal *seal, const char *name, const char *pem, size_t len,
               uint64_t updated_ms) {
    char *closed = NULL;
    int err = seal_close(&closed, seal, pem, len, name);
    if (err == 0) {
        const struct sealed_row row = {name, closed, updated_ms};
        err = store_sealed_put(s, &row, NULL, NULL);
    }
    free(closed);
    return err;
}

static void keep(const struct media *m, struct store *s, const struct seal *seal, unsigned worker) {
    char name[sizeof PREFIX + DTLS_FINGERPRINT_BYTES], *pem = NULL;
    size_t len = 0;
    snprintf(name, sizeof name, PREFIX "%s", media_fingerprint(m, worker));
    int err = media_identity_save(m, worker, &pem, &len);
    if (err == 0)
        err = put(s, seal, name, pem, len, clock_wall_ms());
    if (err != 0)
        log_error("DTLS identity not kept for a crash", log_i("worker", worker), log_s("error", err_str(err)));
    secret_free(pem, len);
}

void identities_keep(const struct media *m, struct store *s, const struct seal *seal, uint64_t rotate_ms) {
    if (!seal)
        return;
    for (unsigned i = 0; i < media_workers(m); i++)
        keep(m, s, seal, i);
    store_sealed_prune(s, PREFIX, clock_wall_ms() - rotate_ms - CALL_LIFE_MAX_MS);
}

bool identities_load(struct media *m, struct store *s, const struct seal *seal, const struct sealed_row *row) {
    struct err_text et = {""};
    char *pem;
    size_t len;
    if (strncmp(row->name, PREFIX, strlen(PREFIX)) != 0)
        return false;
    if (!seal || seal_open(&pem, &len, seal, row->value, row->name) != 0)
        return true; /* calls that need it say so */
    if (media_identity_load(m, pem, len, &et) != 0)
        log_warn("DTLS identity not taken over", log_s("detail", et.s));
    else
        put(s, seal, row->name, pem, len, row->updated_ms); /* anew, by the present key */
    secret_free(pem, len);
    return true;
}

static void on_gone(const char *fingerprint, void *arg) {
    char name[sizeof PREFIX + DTLS_FINGERPRINT_BYTES];
    snprintf(name, sizeof name, PREFIX "%s", fingerprint);
    store_sealed_prune(arg, name, UINT64_MAX >> 1);
}

void identities_loaded(struct media *m, struct store *s) {
    media_identities_settle(m, on_gone, s);
}
