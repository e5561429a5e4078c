/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"
#include "gateway/http_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *http_etag(char out[static HTTP_ETAG_BYTES], const char *text) {
    char hash[SECRET_HASH_BYTES];
    snprintf(out, HTTP_ETAG_BYTES, "\"%.*s\"", HTTP_ETAG_BYTES - 3, secret_hash(hash, text));
    return out;
}

/* RFC 9110 5.6.1: a list, in which a quoted tag may hold a comma. A weak tag is never strongly equal (8.8.3.2). */
bool http_etag_listed(const char *list, const char *tag, bool weak) {
    while (*list) {
        list += strspn(list, ", \t");
        bool is_weak = strncmp(list, "W/", 2) == 0;
        list += is_weak ? 2 : 0;
        size_t n = *list == '"' ? 1 + strcspn(list + 1, "\"") : strcspn(list, ", \t");
        n += *list == '"' && list[n] == '"';
        if ((weak || !is_weak) && n > 0 && n == strlen(tag) && memcmp(list, tag, n) == 0)
            return true;
        list += n;
    }
    return false;
}

/* RFC 9110 13.2.2: If-Match first. */
int http_preconditions(struct http *h, const struct http_request *r, const char *tag) {
    const char *field = NULL, *detail = NULL;
    bool any = strcmp(r->if_match, "*") == 0;
    if (*r->if_match && !(tag && (any || http_etag_listed(r->if_match, tag, false)))) {
        field = "if-match";
        detail =
            tag ? "If-Match: it has changed since that ETag; read it again" : "If-Match: there is nothing here yet";
    } else if (*r->if_none_match && tag &&
               (strcmp(r->if_none_match, "*") == 0 || http_etag_listed(r->if_none_match, tag, true))) {
        field = "if-none-match";
        detail = "If-None-Match: it exists already";
    }
    if (!field)
        return 0;
    http_problem(h, r->id, 412, "precondition-failed", field, "%s", detail);
    return E_CONFLICT;
}

void http_reply_text_tagged(struct http *h, http_id id, const char *content_type, const char *text,
                            const struct http_header *more, size_t more_count) {
    char tag[HTTP_ETAG_BYTES];
    struct http_header headers[1 + HTTP_TAGGED_HEADERS_MAX] = {{"etag", http_etag(tag, text)}};
    const char *known = httpd_if_none_match(h->httpd, id);
    size_t n = 1;
    for (size_t i = 0; i < more_count && i < HTTP_TAGGED_HEADERS_MAX; i++)
        headers[n++] = more[i];
    if (strcmp(known, "*") == 0 || http_etag_listed(known, tag, true))
        http_reply(h, id, 304, NULL, NULL, 0, headers, n);
    else
        http_reply(h, id, 200, content_type, text, strlen(text), headers, n);
}

void http_reply_tagged(struct http *h, http_id id, json_t *body) {
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (text)
        http_reply_text_tagged(h, id, "application/json", text, NULL, 0);
    else
        http_problem(h, id, 503, "memory", NULL, "out of memory");
    free(text);
}
