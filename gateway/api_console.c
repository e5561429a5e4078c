/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/api_console.h"

#include <string.h>

/* The files of gateway/console/, as NUL-terminated texts inside the program. */
extern const char console_index_html[], console_css[], console_js[], console_api_js[], console_dom_js[],
    console_calls_js[], console_panels_js[];
#define FILE_OF_CONSOLE(symbol, file)                                                                                  \
    __asm__(".pushsection .rodata\n" #symbol ":\n"                                                                     \
            ".incbin \"" CONSOLE_FOLDER "/" file "\"\n"                                                                \
            ".byte 0\n"                                                                                                \
            ".popsection\n")
FILE_OF_CONSOLE(console_index_html, "index.html");
FILE_OF_CONSOLE(console_css, "console.css");
FILE_OF_CONSOLE(console_js, "console.js");
FILE_OF_CONSOLE(console_api_js, "api.js");
FILE_OF_CONSOLE(console_dom_js, "dom.js");
FILE_OF_CONSOLE(console_calls_js, "calls.js");
FILE_OF_CONSOLE(console_panels_js, "panels.js");

#define JAVASCRIPT "text/javascript; charset=utf-8"

static const struct console_file {
    const char *name, *content_type, *text;
} page = {"", "text/html; charset=utf-8", console_index_html},
  files[] = {
      {"console.css", "text/css; charset=utf-8", console_css},
      {"console.js", JAVASCRIPT, console_js},
      {"api.js", JAVASCRIPT, console_api_js},
      {"dom.js", JAVASCRIPT, console_dom_js},
      {"calls.js", JAVASCRIPT, console_calls_js},
      {"panels.js", JAVASCRIPT, console_panels_js},
};

/* Nothing but the page's own files, and no request but to this server: what a caller's name could smuggle in would
 * neither run nor get out (CSP level 3). */
static const struct http_header headers[] = {
    {"content-security-policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"referrer-policy", "no-referrer"},
    {"cache-control", "no-cache"}, /* kept, and asked for again by its ETag: another program may have another page */
};

static bool is_off(const struct api_console *a, const struct http_request *r) {
    if (a->config->listen.console)
        return false;
    http_problem(a->http, r->id, 404, "not-found", NULL, "the console is turned off (listen.console)");
    return true;
}

static void reply(const struct api_console *a, const struct http_request *r, const struct console_file *f) {
    http_reply_text_tagged(a->http, r->id, f->content_type, f->text, headers, sizeof headers / sizeof *headers);
}

static void get_page(const struct http_request *r, void *arg) {
    const struct api_console *a = arg;
    if (!is_off(a, r))
        reply(a, r, &page);
}

static void get_file(const struct http_request *r, void *arg) {
    const struct api_console *a = arg;
    if (is_off(a, r))
        return;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (strcmp(files[i].name, r->params[0]) == 0) {
            reply(a, r, &files[i]);
            return;
        }
    }
    http_problem(a->http, r->id, 404, "not-found", NULL, "the console has no file of this name");
}

const struct http_route api_console_routes[] = {
    {"GET", "/", HTTP_AUTH_NONE, 0, get_page},
    {"GET", "/console/{file}", HTTP_AUTH_NONE, 0, get_file},
};
const size_t api_console_route_count = sizeof api_console_routes / sizeof *api_console_routes;
