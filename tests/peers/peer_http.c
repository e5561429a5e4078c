/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/peer_http.h"

#include "base/buf.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLY_MAX_BYTES (1U << 20)

static size_t on_body(char *p, size_t size, size_t n, void *arg) {
    struct buf *b = arg;
    if (b->len + size * n > REPLY_MAX_BYTES)
        return 0;
    buf_add(b, p, size * n);
    return size * n;
}

int peer_http_call(const struct peer_http *h, const char *method, const char *path, const json_t *body, json_t **reply,
                   struct err_text *et) {
    char url[1024], auth[160];
    struct buf in = {0};
    long status = 0;
    char *out = body ? json_dumps(body, JSON_COMPACT) : NULL;
    CURL *curl = curl_easy_init();
    snprintf(url, sizeof url, "%s%s", h->base, path);
    snprintf(auth, sizeof auth, "Authorization: Bearer %s", h->token);
    struct curl_slist *headers = curl_slist_append(NULL, auth);
    headers = curl_slist_append(headers, "Content-Type: application/json");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 10000L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &in);
    if (out)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, out);
    if (h->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, h->ca_file);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (reply)
        *reply = in.len ? json_loadb(in.p, in.len, 0, NULL) : NULL;
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    free(out);
    buf_free(&in);
    return code == CURLE_OK ? (int)status : err_say(et, E_IO, "%s %s: %s", method, url, curl_easy_strerror(code));
}

int peer_http_token_file(struct peer_http *h, const char *path, struct err_text *et) {
    FILE *f = fopen(path, "r");
    if (!f || !fgets(h->token, sizeof h->token, f)) {
        if (f)
            fclose(f);
        return err_say(et, E_IO, "%s: cannot be read; it should hold an API token", path);
    }
    fclose(f);
    h->token[strcspn(h->token, "\r\n")] = 0;
    return 0;
}
