/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file in a folder of its own, with a key beside it. */
#ifndef TESTS_UNIT_CONFIG_CONFIG_FIXTURE_H
#define TESTS_UNIT_CONFIG_CONFIG_FIXTURE_H

#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SHA256_OF_A_TOKEN "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* The smallest file; the tests change it. Its lines: auth 1, apps 3, routes 10. */
#define AUTH                                                                                                           \
    "auth:\n"                                                                                                          \
    "  tokens: []\n"
#define APPS                                                                                                           \
    "apps:\n"                                                                                                          \
    "  - name: phone\n"                                                                                                \
    "    bundle_id: org.example.phone\n"                                                                               \
    "    apns:\n"                                                                                                      \
    "      team_id: ABCDE12345\n"                                                                                      \
    "      key_id: KEY1234567\n"                                                                                       \
    "      key_file: key.p8\n"
#define ROUTES                                                                                                         \
    "routes:\n"                                                                                                        \
    "  - name: all\n"                                                                                                  \
    "    app: phone\n"
#define SMALLEST AUTH APPS ROUTES

static char folder[64], file[96], key_file[96];

static inline void write_file(const char *path, const char *text, mode_t mode) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static inline struct config *loaded(const char *text) {
    struct err_text et = {""};
    struct config *c = NULL;
    write_file(file, text, 0644);
    if (config_load(&c, file, &et) != 0)
        fail_msg("%s", et.s);
    return c;
}

/* The sentence must be "FILE:LINE: " and `sentence` at its beginning. */
static inline void assert_refused(const char *text, int line, const char *sentence) {
    struct err_text et = {""};
    struct config *c = (struct config *)(void *)folder;
    char want[512];
    write_file(file, text, 0644);
    assert_true(config_load(&c, file, &et) < 0);
    assert_null(c);
    snprintf(want, sizeof want, "%s:%d: %s", file, line, sentence);
    if (strncmp(et.s, want, strlen(want)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", et.s, want);
}

/* The smallest file with `from` replaced by `to`. */
static inline const char *with(const char *from, const char *to) {
    static char out[8192];
    const char *at = strstr(SMALLEST, from), *end = at + strlen(from);
    assert_non_null(at);
    snprintf(out, sizeof out, "%.*s%s%s", (int)(at - SMALLEST), SMALLEST, to, end);
    return out;
}

static inline int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/wakegate-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(file, sizeof file, "%s/wakegate.yaml", folder);
    snprintf(key_file, sizeof key_file, "%s/key.p8", folder);
    write_file(key_file, "a key", 0600);
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    unlink(file);
    unlink(key_file);
    return rmdir(folder);
}

#endif
