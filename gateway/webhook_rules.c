/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/webhook_rules.h"

#include "base/buf.h"
#include "base/secret.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX     "whsec_"
#define HMAC_BYTES 32

int webhook_secret_parse(struct webhook_secret *s, const char *text, struct err_text *et) {
    *s = (struct webhook_secret){0};
    for (const char *line = text + strspn(text, "\r\n \t"); *line;) {
        size_t len = strcspn(line, "\r\n \t"), prefix = strlen(PREFIX);
        if (s->count == WEBHOOK_KEYS_MAX)
            return err_say(et, E_INVAL, "more than %d secrets; receivers know one, or two while it is changed",
                           WEBHOOK_KEYS_MAX);
        int n = len > prefix && strncmp(line, PREFIX, prefix) == 0
                    ? b64_decode(s->keys[s->count], WEBHOOK_KEY_MAX_BYTES, line + prefix, len - prefix)
                    : E_MALFORMED;
        if (n < WEBHOOK_KEY_MIN_BYTES)
            return err_say(et, E_INVAL,
                           "line %u is not \"whsec_\" and %d to %d bytes in base64; `echo whsec_$(openssl rand -base64 "
                           "32)` makes one",
                           s->count + 1, WEBHOOK_KEY_MIN_BYTES, WEBHOOK_KEY_MAX_BYTES);
        s->lens[s->count++] = (size_t)n;
        line += len;
        line += strspn(line, "\r\n \t");
    }
    return s->count ? 0 : err_say(et, E_INVAL, "no secret is in it; one whsec_BASE64 a line is expected");
}

int webhook_secret_read(struct webhook_secret *s, const char *file, struct err_text *et) {
    struct err_text why = {""};
    char *text = NULL;
    size_t len = 0;
    int err = secret_file_read(&text, &len, file, et);
    if (err != 0)
        return err;
    err = webhook_secret_parse(s, text, &why);
    secret_free(text, len);
    if (err != 0)
        secret_wipe(s, sizeof *s);
    return err == 0 ? 0 : err_say(et, err, "%s: %s", file, why.s);
}

char *webhook_sign(char out[static WEBHOOK_SIGNATURE_BYTES], const struct webhook_secret *s, const char *id,
                   uint64_t timestamp_s, const char *body) {
    struct buf text = {0};
    size_t at = 0;
    out[0] = 0;
    buf_addf(&text, "%s.%" PRIu64 ".", id, timestamp_s);
    buf_adds(&text, body);
    for (unsigned i = 0; i < s->count && !text.oom; i++) {
        uint8_t mac[HMAC_BYTES];
        char encoded[B64_BYTES(HMAC_BYTES)];
        if (!HMAC(EVP_sha256(), s->keys[i], (int)s->lens[i], (const uint8_t *)text.p, text.len, mac, NULL))
            break;
        at += (size_t)snprintf(out + at, WEBHOOK_SIGNATURE_BYTES - at, "%sv1,%s", i ? " " : "",
                               b64_encode(encoded, mac, sizeof mac));
    }
    buf_free(&text);
    return out;
}

uint64_t webhook_delay_ms(const unsigned *delays_s, unsigned attempts, uint64_t retry_after_s, uint32_t jitter) {
    uint64_t delay_ms = delays_s[attempts - 1] * 1000ULL;
    uint64_t asked_s = retry_after_s < WEBHOOK_RETRY_AFTER_MAX_S ? retry_after_s : WEBHOOK_RETRY_AFTER_MAX_S;
    delay_ms = delay_ms > asked_s * 1000 ? delay_ms : asked_s * 1000;
    return delay_ms + delay_ms / 5 * jitter / UINT32_MAX;
}
