/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/peer_http.h"

#include "base/buf.h"

#include <curl/curl.h>
#include <pthread.h>
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

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t handle_key;

static void at_thread_end(void *handle) {
    curl_easy_cleanup(handle);
}

static void start_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    pthread_key_create(&handle_key, at_thread_end);
}

/* The thread's handle: its connection stays open between calls, as a call server's does. */
static CURL *thread_handle(void) {
    pthread_once(&once, start_curl);
    CURL *curl = pthread_getspecific(handle_key);
    if (!curl) {
        curl = curl_easy_init();
        pthread_setspecific(handle_key, curl);
    } else {
        curl_easy_reset(curl);
    }
    return curl;
}

int peer_http_call(const struct peer_http *h, const char *method, const char *path, const json_t *body, json_t **reply,
                   struct err_text *et) {
    char url[sizeof h->base + 512], auth[sizeof h->token + 32];
    struct buf in = {0};
    long status = 0;
    char *out = body ? json_dumps(body, JSON_COMPACT) : NULL;
    CURL *curl = thread_handle();
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
        *reply = code == CURLE_OK && in.len ? json_loadb(in.p, in.len, 0, NULL) : NULL;
    curl_slist_free_all(headers);
    free(out);
    buf_free(&in);
    return code == CURLE_OK ? (int)status : err_say(et, E_IO, "%s %s: %s", method, url, curl_easy_strerror(code));
}

static int read_token(struct peer_http *h, const char *path, struct err_text *et) {
    FILE *f = fopen(path, "r");
    char *line = f ? fgets(h->token, sizeof h->token, f) : NULL;
    if (f)
        fclose(f);
    h->token[line ? strcspn(h->token, "\r\n") : 0] = 0;
    return h->token[0] ? 0 : err_say(et, E_IO, "%s: cannot be read; it should hold an API token", path);
}

int peer_http_init(struct peer_http *h, const char *base, const char *token_file, const char *ca_file,
                   struct err_text *et) {
    size_t len = strlen(base);
    while (len > 0 && base[len - 1] == '/')
        len--;
    if (len == 0 || len >= sizeof h->base)
        return err_say(et, E_INVAL, "\"%.100s\" is no URL of a gateway; http://127.0.0.1:8080 would be one", base);
    memset(h, 0, sizeof *h);
    memcpy(h->base, base, len);
    h->ca_file = ca_file;
    return read_token(h, token_file, et);
}
