/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/webhook_client.h"

#include "base/addr.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <utlist.h>

#define CONNECT_TIMEOUT_MS 5000L
#define TIMEOUT_MS         15000L /* of an attempt as a whole; Standard Webhooks asks for 15 to 30 s */
#define CONNECTIONS_MAX    32L
#define ANSWER_MAX_BYTES   65536 /* read and thrown away; whoever sends more is not listened to */
#define HEADER_BYTES       512

struct webhook_client {
    CURLM *multi;
    uv_loop_t *loop;
    uv_timer_t timer;
    struct webhook_post *posts;
};

struct webhook_post {
    struct webhook_client *client;
    CURL *curl;
    struct curl_slist *headers;
    bool allow_private;
    char refused[ADDR_STR_BYTES]; /* the last address that was not public */
    size_t read_bytes;
    char error[CURL_ERROR_SIZE];
    void (*cb)(const struct webhook_result *r, void *arg);
    void *arg;
    struct webhook_post *prev, *next;
};

/* A socket of libcurl on the loop. */
struct watch {
    uv_poll_t poll;
    struct webhook_client *client;
    curl_socket_t fd;
};

static void post_free(struct webhook_post *p) {
    DL_DELETE(p->client->posts, p);
    if (p->curl) {
        curl_multi_remove_handle(p->client->multi, p->curl);
        curl_easy_cleanup(p->curl);
    }
    curl_slist_free_all(p->headers);
    free(p);
}

/* libcurl and the loop */

static void finish(struct webhook_post *p, CURLcode code) {
    char detail[CURL_ERROR_SIZE + ADDR_STR_BYTES + 64];
    long status = 0;
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(p->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(p->curl, CURLINFO_RETRY_AFTER, &retry_after_s);
    bool answered = code == CURLE_OK || (code == CURLE_WRITE_ERROR && p->read_bytes > ANSWER_MAX_BYTES);
    if (answered)
        snprintf(detail, sizeof detail, "HTTP status %ld", status);
    else if (p->refused[0])
        snprintf(detail, sizeof detail, "%s is not a public address; allow_private would allow it", p->refused);
    else
        snprintf(detail, sizeof detail, "%s", p->error[0] ? p->error : curl_easy_strerror(code));
    struct webhook_result r = {answered ? (int)status : 0, answered && retry_after_s > 0 ? (uint64_t)retry_after_s : 0,
                               detail};
    void (*cb)(const struct webhook_result *, void *) = p->cb;
    void *arg = p->arg;
    post_free(p);
    cb(&r, arg);
}

static void take_finished(struct webhook_client *c) {
    const CURLMsg *m;
    struct webhook_post *p;
    int left;
    while ((m = curl_multi_info_read(c->multi, &left))) {
        CURLcode code = m->data.result;
        if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &p) == CURLE_OK)
            finish(p, code);
    }
}

static void act(struct webhook_client *c, curl_socket_t fd, int events) {
    int running;
    curl_multi_socket_action(c->multi, fd, events, &running);
    take_finished(c);
}

static void on_timer(uv_timer_t *t) {
    act(t->data, CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg) {
    struct webhook_client *c = arg;
    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&c->timer);
    else
        uv_timer_start(&c->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    const struct watch *w = poll->data;
    int what = status < 0 ? CURL_CSELECT_ERR : 0;
    what |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    what |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    act(w->client, w->fd, what);
}

static void on_watch_closed(uv_handle_t *h) {
    free(h->data);
}

static int set_watch(CURL *curl, curl_socket_t fd, int what, void *arg, void *socket_arg) {
    struct webhook_client *c = arg;
    struct watch *w = socket_arg;
    (void)curl;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            curl_multi_assign(c->multi, fd, NULL);
            uv_close((uv_handle_t *)&w->poll, on_watch_closed);
        }
        return 0;
    }
    if (!w) {
        w = calloc(1, sizeof *w);
        if (!w || uv_poll_init(c->loop, &w->poll, fd) != 0) {
            free(w);
            return -1;
        }
        w->poll.data = w;
        w->client = c;
        w->fd = fd;
        curl_multi_assign(c->multi, fd, w);
    }
    uv_poll_start(&w->poll, (what != CURL_POLL_OUT ? UV_READABLE : 0) | (what != CURL_POLL_IN ? UV_WRITABLE : 0),
                  on_poll);
    return 0;
}

/* Posts */

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to) {
    struct webhook_post *p = arg;
    struct addr a = {0};
    (void)purpose;
    addr_from_sockaddr(&a, &to->addr);
    if (!p->allow_private && !addr_is_public(&a)) {
        addr_ip(p->refused, &a);
        return CURL_SOCKET_BAD;
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
    struct webhook_post *p = arg;
    (void)data;
    p->read_bytes += size * count;
    return p->read_bytes > ANSWER_MAX_BYTES ? 0 : size * count;
}

static bool add_header(struct webhook_post *p, const char *name, const char *value) {
    char line[HEADER_BYTES];
    snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *more = curl_slist_append(p->headers, line);
    p->headers = more ? more : p->headers;
    return more != NULL;
}

static bool set_headers(struct webhook_post *p, const struct webhook_message *m) {
    char timestamp[24];
    snprintf(timestamp, sizeof timestamp, "%" PRIu64, m->timestamp_s);
    return add_header(p, "content-type", "application/json") && add_header(p, "webhook-id", m->id) &&
           add_header(p, "webhook-timestamp", timestamp) && add_header(p, "webhook-signature", m->signature) &&
           add_header(p, "expect", "");
}

static void set_options(struct webhook_post *p, const struct webhook_message *m) {
    CURL *c = p->curl;
    curl_easy_setopt(c, CURLOPT_URL, m->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PROXY, ""); /* nor one of the environment: it would connect for us */
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (m->ca_file) {
        curl_easy_setopt(c, CURLOPT_CAINFO, m->ca_file);
        curl_easy_setopt(c, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* else a file that was renewed is not seen for a day */
    }
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT,
                     1L); /* a look-up that hangs must not hold up the loop when it is given up */
    curl_easy_setopt(c, CURLOPT_USERAGENT, "wakegate/" WAKEGATE_VERSION);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, p->headers);
    curl_easy_setopt(c, CURLOPT_COPYPOSTFIELDS, m->body);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, p);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, p);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, p->error);
    curl_easy_setopt(c, CURLOPT_PRIVATE, p);
}

struct webhook_post *webhook_post(struct webhook_client *c, const struct webhook_message *m,
                                  void (*cb)(const struct webhook_result *r, void *arg), void *arg) {
    struct webhook_post *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->client = c;
    p->allow_private = m->allow_private;
    p->cb = cb;
    p->arg = arg;
    DL_APPEND(c->posts, p);
    p->curl = curl_easy_init();
    bool made = p->curl && set_headers(p, m);
    if (made)
        set_options(p, m);
    if (!made || curl_multi_add_handle(c->multi, p->curl) != CURLM_OK) {
        post_free(p);
        return NULL;
    }
    return p;
}

void webhook_post_cancel(struct webhook_post *p) {
    post_free(p);
}

/* Life */

int webhook_client_new(struct webhook_client **cp, uv_loop_t *loop) {
    struct webhook_client *c = calloc(1, sizeof *c);
    if (!c || curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || !(c->multi = curl_multi_init())) {
        free(c);
        return E_NOMEM;
    }
    c->loop = loop;
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, set_watch);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX);
    *cp = c;
    return 0;
}

static void on_timer_closed(uv_handle_t *h) {
    free(h->data);
}

void webhook_client_close(struct webhook_client *c) {
    struct webhook_post *p, *next;
    DL_FOREACH_SAFE(c->posts, p, next) {
        post_free(p);
    }
    curl_multi_cleanup(c->multi);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}
