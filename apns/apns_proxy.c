/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_proxy.h"

#include "base/addr.h"
#include "base/bytes.h"
#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASIC          "Basic "
#define END            "\r\n\r\n"
#define STATUS_AT      9  /* behind "HTTP/1.1 " */
#define SAID_MAX_CHARS 63 /* of its status line, in the log */

/* Who it is */

static int parse_login(struct apns_proxy *p, const char *user, const char *password, struct err_text *et) {
    char plain[APNS_PROXY_LOGIN_MAX_BYTES + 1];
    if (strchr(user, ':'))
        return err_say(et, E_INVAL, "proxy_user: a colon cannot stand in it");
    int n = snprintf(plain, sizeof plain, "%s:%s", user, password);
    p->login = n < (int)sizeof plain ? malloc(sizeof BASIC + B64_BYTES(sizeof plain)) : NULL;
    if (p->login) {
        memcpy(p->login, BASIC, sizeof BASIC);
        b64_encode(p->login + strlen(BASIC), (const uint8_t *)plain, (size_t)n);
    }
    secret_wipe(plain, sizeof plain);
    if (n >= (int)sizeof plain)
        return err_say(et, E_INVAL, "proxy_user: user and password are longer than %d characters",
                       APNS_PROXY_LOGIN_MAX_BYTES);
    return p->login ? 0 : err_say(et, E_NOMEM, "out of memory");
}

int apns_proxy_parse(struct apns_proxy *p, const char *text, const char *user, const char *password,
                     struct err_text *et) {
    char host[ADDR_NAME_BYTES];
    *p = (struct apns_proxy){0};
    if (addr_split_hostport(host, sizeof host, &p->port, text) != 0 || p->port == 0)
        return err_say(et, E_INVAL, "proxy: \"%s\" is not host:port", text);
    p->host = strdup(host);
    if (!p->host)
        return err_say(et, E_NOMEM, "out of memory");
    return user ? parse_login(p, user, password ? password : "", et) : 0;
}

int apns_proxy_copy(struct apns_proxy *out, const struct apns_proxy *p) {
    *out = (struct apns_proxy){.port = p->port};
    out->host = p->host ? strdup(p->host) : NULL;
    out->login = p->login ? strdup(p->login) : NULL;
    if ((!p->host || out->host) && (!p->login || out->login))
        return 0;
    apns_proxy_wipe(out);
    return E_NOMEM;
}

void apns_proxy_wipe(struct apns_proxy *p) {
    free(p->host);
    if (p->login)
        secret_free(p->login, strlen(p->login));
    *p = (struct apns_proxy){0};
}

/* The request, and the answer */

int apns_proxy_ask(char *out, size_t cap, const struct apns_proxy *p, const char *host, uint16_t port) {
    const char *open = strchr(host, ':') ? "[" : "", *close = *open ? "]" : "";
    int n = snprintf(out, cap, "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n%s%s%s\r\n", open, host, close, port,
                     open, host, close, port, p->login ? "Proxy-Authorization: " : "", p->login ? p->login : "",
                     p->login ? "\r\n" : "");
    return n < (int)cap ? n : E_FULL;
}

/* The head is here: its status line decides (RFC 9112 4). */
static int judge(const char *head, struct err_text *et) {
    char line[SAID_MAX_CHARS + 1];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(head, "\r"), head);
    bool http = strncmp(line, "HTTP/1.", 7) == 0 && strlen(line) >= STATUS_AT + 3 && line[STATUS_AT - 1] == ' ';
    if (http && line[STATUS_AT] == '2')
        return 0;
    return err_say(et, http ? E_DENIED : E_MALFORMED, "%s", line);
}

int apns_proxy_read(struct apns_proxy_answer *a, const char *p, size_t len, size_t *used, struct err_text *et) {
    size_t before = a->len, room = sizeof a->head - before;
    memcpy(a->head + before, p, len < room ? len : room);
    a->len += len < room ? len : room;
    const char *end = memmem(a->head, a->len, END, strlen(END));
    if (!end)
        return len < room ? E_AGAIN : err_say(et, E_FULL, "its answer is too long");
    *used = (size_t)(end - a->head) + strlen(END) - before;
    return judge(a->head, et);
}
