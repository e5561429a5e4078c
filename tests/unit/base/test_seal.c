/* SPDX-License-Identifier: Apache-2.0 */
#include "base/seal.h"

#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_B "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static char folder[64], file[96];

static void write_keys(const char *text) {
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(file, 0600), 0);
}

static struct seal *with_keys(const char *text) {
    struct err_text et = {""};
    struct seal *s = NULL;
    write_keys(text);
    if (seal_new(&s, file, &et) != 0)
        fail_msg("%s", et.s);
    return s;
}

static char *sealed(const char *keys, const char *value, const char *about) {
    struct seal *s = with_keys(keys);
    char *text = NULL;
    assert_int_equal(seal_close(&text, s, value, strlen(value), about), 0);
    seal_free(s);
    return text;
}

/* Opens it, compares, and returns what seal_open said. */
static int opened(const char *keys, const char *text, const char *about, const char *want) {
    struct seal *s = with_keys(keys);
    char *plain = NULL;
    size_t len = 0;
    int err = seal_open(&plain, &len, s, text, about);
    if (err == 0) {
        assert_int_equal(len, strlen(want));
        assert_string_equal(plain, want);
        secret_free(plain, len);
    }
    seal_free(s);
    return err;
}

static void what_was_sealed_opens_again_and_cannot_be_read(void **state) {
    char *text = sealed(KEY_A "\n", "a provider token", "provider token TEAM/KEY");
    (void)state;
    assert_null(strstr(text, "provider"));
    assert_int_equal(opened(KEY_A, text, "provider token TEAM/KEY", "a provider token"), 0);
    free(text);
}

static void an_empty_value_is_a_value(void **state) {
    char *text = sealed(KEY_A, "", "x");
    (void)state;
    assert_int_equal(opened(KEY_A, text, "x", ""), 0);
    free(text);
}

static void the_same_value_never_looks_the_same(void **state) {
    char *one = sealed(KEY_A, "value", "x"), *two = sealed(KEY_A, "value", "x");
    (void)state;
    assert_string_not_equal(one, two);
    free(one);
    free(two);
}

static void it_opens_for_what_it_is_about_only(void **state) {
    char *text = sealed(KEY_A, "value", "call 1");
    (void)state;
    assert_int_equal(opened(KEY_A, text, "call 2", ""), E_AUTH);
    free(text);
}

static void a_changed_value_does_not_open(void **state) {
    char *text = sealed(KEY_A, "value", "x");
    size_t len = strlen(text);
    (void)state;
    for (size_t i = 0; i + 1 < len; i++) {
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        int err = opened(KEY_A, text, "x", "");
        assert_true(err == E_AUTH || err == E_NOTFOUND || err == E_MALFORMED);
        text[i] = was;
    }
    for (size_t i = 0; i < len; i++) {
        char *cut = strndup(text, i);
        assert_int_not_equal(opened(KEY_A, cut, "x", ""), 0);
        free(cut);
    }
    free(text);
}

static void keys_change_with_a_new_one_on_top(void **state) {
    char *old = sealed(KEY_A, "old", "x"), *new = sealed(KEY_B "\r\n\n" KEY_A "\n", "new", "x");
    (void)state;
    assert_int_equal(opened(KEY_B "\n" KEY_A "\n", old, "x", "old"), 0);
    assert_int_equal(opened(KEY_B, new, "x", "new"), 0);
    assert_int_equal(opened(KEY_B, old, "x", ""), E_NOTFOUND);
    free(old);
    free(new);
}

static void assert_refused(const char *keys, const char *sentence) {
    struct err_text et = {""};
    struct seal *s = NULL;
    char want[192];
    write_keys(keys);
    snprintf(want, sizeof want, "%s%s", file, sentence);
    assert_true(seal_new(&s, file, &et) < 0);
    assert_null(s);
    assert_string_equal(et.s, want);
}

static void a_file_without_good_keys_is_refused_with_its_line(void **state) {
    (void)state;
    assert_refused("\n\n", ": no key in it; `openssl rand -hex 32` prints one");
    assert_refused(KEY_A "\nabc\n", ":2: a key is 64 hex digits on a line; `openssl rand -hex 32` prints one");
    assert_refused("g0" KEY_A, ":1: a key is 64 hex digits on a line; `openssl rand -hex 32` prints one");
    assert_refused(KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n",
                   ":9: at most 8 keys");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_opens_again_and_cannot_be_read),
        cmocka_unit_test(an_empty_value_is_a_value),
        cmocka_unit_test(the_same_value_never_looks_the_same),
        cmocka_unit_test(it_opens_for_what_it_is_about_only),
        cmocka_unit_test(a_changed_value_does_not_open),
        cmocka_unit_test(keys_change_with_a_new_one_on_top),
        cmocka_unit_test(a_file_without_good_keys_is_refused_with_its_line),
    };
    snprintf(folder, sizeof folder, "/tmp/test_seal.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/seal.key", folder);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file);
    rmdir(folder);
    return failed;
}
