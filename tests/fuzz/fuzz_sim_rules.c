/* SPDX-License-Identifier: Apache-2.0 */
/* A request to the simulator: whatever its fields are, it gets a documented answer. A line of the input is a field, in
 * the order of enum sim_header; an empty one stays good; the one behind them is the scopes of the keys. A provider
 * token of two parts gets its signature here, so that what lies behind it is reached. */
#include "apns/apns_jwt.h"
#include "apns/apns_reason.h"
#include "apns/sim/sim_rules.h"
#include "base/bytes.h"

#include <openssl/ec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS 1790000000000ULL
#define BUNDLE "com.example.app"
#define BEARER "bearer "

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const good[SIM_HEADERS] = {[SIM_METHOD] = "POST",
                                              [SIM_PATH] = "/3/device/00ff",
                                              [SIM_AUTHORITY] = "sim",
                                              [SIM_AUTHORIZATION] =
                                                  BEARER "{\"alg\":\"ES256\",\"kid\":\"KEY1234567\"}."
                                                         "{\"iss\":\"TEAM123456\",\"iat\":1790000000}",
                                              [SIM_PUSH_TYPE] = "voip",
                                              [SIM_TOPIC] = BUNDLE ".voip",
                                              [SIM_PRIORITY] = "10",
                                              [SIM_EXPIRATION] = "0",
                                              [SIM_ID] = "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11",
                                              [SIM_COLLAPSE_ID] = "same"};

static void check(bool ok) {
    if (!ok)
        abort();
}

static struct sim *sim_new(void) {
    struct sim *s = calloc(1, sizeof *s);
    check(s);
    sim_behaviour_defaults(&s->b);
    s->cfg.keys[0] = (struct sim_key){"TEAM123456", "KEY1234567", ""};
    s->cfg.key_count = 1;
    s->cfg.bundles[0] = BUNDLE;
    s->cfg.bundle_count = 1;
    s->keys[0] = EVP_EC_gen("P-256");
    s->b.binding = 1;
    s->b.device_limit = 1000;
    sim_device_put(s, "00ff", BUNDLE, false);
    return s;
}

/* "bearer HEADER.CLAIMS" in plain JSON becomes a signed token. */
static void sign(char value[static SIM_HEADER_BYTES], EVP_PKEY *key) {
    uint8_t sig[APNS_ES256_BYTES];
    char token[4 * SIM_HEADER_BYTES], text[B64_BYTES(APNS_ES256_BYTES)];
    char *dot = strstr(value, "}.{");
    if (strncmp(value, BEARER, strlen(BEARER)) != 0 || !dot)
        return;
    size_t n = strlen(BEARER);
    memcpy(token, BEARER, n);
    b64url_encode(token + n, (const uint8_t *)value + n, (size_t)(dot + 1 - value) - n);
    n = strlen(token);
    token[n++] = '.';
    b64url_encode(token + n, (const uint8_t *)dot + 2, strlen(dot + 2));
    n = strlen(token);
    check(apns_es256_sign(sig, key, token + strlen(BEARER), n - strlen(BEARER)) == 0);
    b64url_encode(text, sig, sizeof sig);
    if (n + 1 + strlen(text) < SIM_HEADER_BYTES)
        snprintf(value, SIM_HEADER_BYTES, "%s.%s", token, text);
}

static void fill(struct sim *s, struct sim_request *r, const char *p, size_t size) {
    const char *end = p + size;
    memset(r, 0, sizeof *r);
    for (int i = 0; i < SIM_HEADERS; i++) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((line ? line : end) - p);
        r->seen[i] = true;
        if (n == 0)
            snprintf(r->value[i], SIM_HEADER_BYTES, "%s", good[i]);
        else
            snprintf(r->value[i], SIM_HEADER_BYTES, "%.*s", (int)n, p);
        p = line ? line + 1 : end;
    }
    snprintf(s->b.key_scopes, sizeof s->b.key_scopes, "%.*s", (int)(end - p < 1000 ? end - p : 1000), p);
    sign(r->value[SIM_AUTHORIZATION], s->keys[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sim *s;
    static struct sim_request r;
    struct sim_provider provider = {.token = ""};
    struct sim_verdict v;
    if (!s)
        s = sim_new();
    fill(s, &r, (const char *)data, size);
    r.body = "{}";
    r.body_len = 2;
    for (int i = 0; i < 2; i++) { /* the second time the token is known */
        sim_device_find(s, "00ff")->window_pushes = 0;
        sim_rules_judge(s, &provider, &r, NOW_MS, &v);
        check((v.status == 200) == (v.reason[0] == 0));
        check(v.status == 200 || strcmp(apns_reason_find(v.status, v.reason)->name, v.reason) == 0);
        check(size > 0 || v.status == 200);
    }
    return 0;
}
