/* SPDX-License-Identifier: Apache-2.0 */
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

static char folder[64], file[96];

static void write_file(const void *p, size_t len, mode_t mode) {
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(file, mode), 0);
}

static int read_secret(const char *path, struct err_text *et) {
    char *p = NULL;
    size_t len = 0;
    int err = secret_file_read(&p, &len, path, et);
    if (err == 0)
        secret_free(p, len);
    else
        assert_null(p);
    return err;
}

static void a_secret_is_read_whole_with_a_nul_behind(void **state) {
    char *p = NULL;
    size_t len = 0;
    (void)state;
    write_file("key\0with\nbytes", 14, 0600);
    assert_int_equal(secret_file_read(&p, &len, file, NULL), 0);
    assert_int_equal(len, 14);
    assert_memory_equal(p, "key\0with\nbytes", 15);
    assert_null(secret_free(p, len));
}

static void only_the_owner_may_have_access(void **state) {
    struct err_text et = {""};
    (void)state;
    for (mode_t bit = 1; bit <= 040; bit <<= 1) {
        write_file("x", 1, 0600 | bit);
        assert_int_equal(read_secret(file, &et), E_DENIED);
        assert_non_null(strstr(et.s, "run: chmod 600 "));
        assert_non_null(strstr(et.s, file));
    }
    write_file("x", 1, 0400);
    assert_int_equal(read_secret(file, &et), 0);
    write_file("x", 1, 0700);
    assert_int_equal(read_secret(file, &et), 0);
}

static void what_is_no_file_of_that_size_is_refused(void **state) {
    static char big[SECRET_FILE_MAX_BYTES + 1];
    struct err_text et = {""};
    (void)state;
    write_file("", 0, 0600);
    assert_int_equal(read_secret(file, &et), E_INVAL);
    assert_non_null(strstr(et.s, "0 bytes; a secret has 1 to 65536"));
    write_file(big, sizeof big, 0600);
    assert_int_equal(read_secret(file, &et), E_INVAL);
    write_file(big, SECRET_FILE_MAX_BYTES, 0600);
    assert_int_equal(read_secret(file, &et), 0);
    assert_int_equal(read_secret(folder, &et), E_INVAL);
    assert_non_null(strstr(et.s, "not a regular file"));
}

static void a_pipe_is_refused_without_waiting_for_a_writer(void **state) {
    struct err_text et = {""};
    (void)state;
    unlink(file);
    assert_int_equal(mkfifo(file, 0600), 0);
    assert_int_equal(read_secret(file, &et), E_INVAL);
    unlink(file);
}

static void a_missing_file_is_named(void **state) {
    struct err_text et = {""};
    (void)state;
    unlink(file);
    assert_int_equal(read_secret(file, &et), E_IO);
    assert_non_null(strstr(et.s, file));
    assert_non_null(strstr(et.s, "No such file"));
}

static void texts_are_equal_in_every_byte_and_in_length(void **state) {
    (void)state;
    assert_true(secret_eq("", ""));
    assert_true(secret_eq("wg_abc", "wg_abc"));
    assert_false(secret_eq("wg_abc", "wg_abd"));
    assert_false(secret_eq("wg_abc", "xg_abc"));
    assert_false(secret_eq("wg_abc", "wg_ab"));
    assert_false(secret_eq("wg_ab", "wg_abc"));
    assert_false(secret_eq("", "x"));
    assert_true(secret_eq_bytes((const uint8_t *)"a\0b", (const uint8_t *)"a\0b", 3));
    assert_false(secret_eq_bytes((const uint8_t *)"a\0b", (const uint8_t *)"a\0c", 3));
}

/* FIPS 180-2, B.1. */
static void the_hash_is_sha_256_in_hex(void **state) {
    char out[SECRET_HASH_BYTES];
    (void)state;
    assert_string_equal(secret_hash(out, "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(secret_hash(out, ""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void a_token_is_a_prefix_and_32_random_bytes(void **state) {
    char a[SECRET_TOKEN_BYTES], b[SECRET_TOKEN_BYTES];
    (void)state;
    assert_ptr_equal(secret_token_new(a, "wg"), a);
    assert_int_equal(strlen(a), 46);
    assert_memory_equal(a, "wg_", 3);
    assert_int_equal(strspn(a + 3, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
    assert_string_not_equal(a, secret_token_new(b, "wg"));
}

static void wiping_leaves_zeros(void **state) {
    uint8_t p[32], zeros[32] = {0};
    (void)state;
    memset(p, 0xaa, sizeof p);
    secret_wipe(p, sizeof p);
    assert_memory_equal(p, zeros, sizeof p);
    assert_null(secret_free(NULL, 0));
}

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/wakegate-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(file, sizeof file, "%s/secret", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(file);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_read_whole_with_a_nul_behind),
        cmocka_unit_test(only_the_owner_may_have_access),
        cmocka_unit_test(what_is_no_file_of_that_size_is_refused),
        cmocka_unit_test(a_pipe_is_refused_without_waiting_for_a_writer),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(texts_are_equal_in_every_byte_and_in_length),
        cmocka_unit_test(the_hash_is_sha_256_in_hex),
        cmocka_unit_test(a_token_is_a_prefix_and_32_random_bytes),
        cmocka_unit_test(wiping_leaves_zeros),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
