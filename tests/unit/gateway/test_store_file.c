/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the file: what is durable, a full disk, who may open it and who may not. */
#include "tests/unit/gateway/store_rows_fixture.h"

#include <sqlite3.h>
#include <sys/wait.h>

#define MANY        1500   /* several transactions */
#define LARGE_BYTES 300000 /* more than the disk of fixture_disk_full has room for */
#define DISK_BYTES  131072

static void nothing_is_lost_when_it_closes_at_once(void **state) {
    struct world *w = *state;
    char id[16];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "c%04u", i);
        struct call_row row = call_of(id);
        row.state = i % 100 ? "ended" : "ringing";
        assert_int_equal(store_call_put(w->fix.store, &row, NULL, on_done, w), 0);
    }
    fixture_close(&w->fix);
    assert_int_equal(w->done, MANY);
    assert_int_equal(w->first_err, 0);
    fixture_open(&w->fix);
    for (unsigned i = 0; i < MANY; i += 7) {
        snprintf(id, sizeof id, "c%04u", i);
        assert_int_equal(get(w, "t1", id), 1);
    }
    list(w, (struct call_query){.state = "ringing"});
    assert_int_equal(w->count, MANY / 100);
}

static void die_after_the_answer(struct store_fixture *f) {
    struct world child = {.fix = *f};
    struct call_row row = call_of("c1");
    struct err_text et = {""};
    if (uv_loop_init(&child.fix.loop) != 0 || store_open(&child.fix.store, &child.fix.loop, f->url, &et) != 0)
        _exit(1);
    store_call_put(child.fix.store, &row, &key_row, on_done, &child);
    while (child.done == 0)
        uv_run(&child.fix.loop, UV_RUN_ONCE);
    kill(getpid(), child.err == 0 ? SIGKILL : SIGTERM);
}

static void what_was_told_survives_the_end_of_the_process(void **state) {
    struct world *w = *state;
    int status = 0;
    fixture_close(&w->fix);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        die_after_the_answer(&w->fix);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fixture_open(&w->fix);
    struct err_text et = {""};
    assert_int_equal(store_load(w->fix.store, &load_ops, w, &et), 0);
    assert_int_equal(w->calls, 1);
    assert_int_equal(w->keys, 1);
}

static const char *large_doc(void) {
    static char doc[LARGE_BYTES];
    memset(doc, 'x', sizeof doc - 1);
    return doc;
}

/* A write that the disk has no room for; there is room again afterwards. */
static void refused_write(struct world *w) {
    struct call_row large = call_of("large");
    unsigned before = w->done;
    large.doc = large_doc();
    fixture_disk_full(&w->fix, DISK_BYTES);
    store_call_put(w->fix.store, &large, NULL, on_done, w);
    wait_done(w, before + 1);
    fixture_disk_has_room(&w->fix);
    assert_true(w->err == E_IO || w->err == E_FULL);
}

static void a_full_disk_is_told_and_keeps_what_there_was(void **state) {
    struct world *w = *state;
    struct call_row small = call_of("small"), large = call_of("large");
    large.doc = large_doc();
    put(w, &small);
    assert_true(store_ok(w->fix.store));
    refused_write(w);
    assert_false(store_ok(w->fix.store));
    assert_string_equal(list(w, (struct call_query){0}), "small ");
    put(w, &large);
    assert_true(store_ok(w->fix.store));
    assert_string_equal(list(w, (struct call_query){0}), "small large ");
}

static void a_planned_push_is_there_with_its_call_or_not_at_all(void **state) {
    struct world *w = *state;
    struct call_row large = call_of("large"), small = call_of("small");
    struct push_row lost = push_of("p-lost", "large", "d1"), kept = push_of("p-kept", "small", "d1");
    large.doc = large_doc();
    assert_int_equal(store_push_plan(w->fix.store, &lost), 0);
    usleep(20000); /* a row that did not wait for its call would be committed by now */
    fixture_disk_full(&w->fix, DISK_BYTES);
    store_call_put(w->fix.store, &large, NULL, on_done, w);
    wait_done(w, 1);
    fixture_disk_has_room(&w->fix);
    assert_int_not_equal(w->err, 0);
    assert_string_equal(pushes(w, "t1", NULL, 10), "");
    assert_int_equal(store_push_plan(w->fix.store, &kept), 0);
    put(w, &small); /* one answer for both */
    assert_string_equal(pushes(w, "t1", NULL, 10), "p-kept ");
}

static void a_read_says_nothing_about_writing(void **state) {
    struct world *w = *state;
    refused_write(w);
    assert_int_equal(get(w, "t1", "large"), 0);
    assert_false(store_ok(w->fix.store));
}

static void reads_do_not_keep_it_from_finding_out(void **state) {
    struct world *w = *state;
    uint64_t until = clock_mono_ms() + FIXTURE_WAIT_MS;
    refused_write(w);
    while (!store_ok(w->fix.store) && clock_mono_ms() < until)
        get(w, "t1", "none");
    assert_true(store_ok(w->fix.store));
}

static void when_there_is_room_again_it_finds_out_by_itself(void **state) {
    struct world *w = *state;
    uint64_t until = clock_mono_ms() + FIXTURE_WAIT_MS;
    refused_write(w);
    while (!store_ok(w->fix.store) && clock_mono_ms() < until)
        usleep(5000);
    assert_true(store_ok(w->fix.store));
}

static void the_files_are_nobody_elses_to_read(void **state) {
    static const char *const endings[] = {"", "-wal", "-shm", ".lock"};
    struct world *w = *state;
    struct call_row row = call_of("c1");
    char name[128];
    put(w, &row);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        struct stat st;
        snprintf(name, sizeof name, "%s%s", w->fix.path, endings[i]);
        assert_int_equal(stat(name, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

/* Opening */

static void assert_cannot_open(struct world *w, const char *url, int err, const char *sentence) {
    struct store *s = NULL;
    struct err_text et = {""};
    assert_int_equal(store_open(&s, &w->fix.loop, url, &et), err);
    assert_null(s);
    if (strncmp(et.s, "store.url: ", 11) != 0 || !strstr(et.s, sentence))
        fail_msg("\"%s\" does not say \"%s\"", et.s, sentence);
    assert_int_equal(uv_run(&w->fix.loop, UV_RUN_NOWAIT) != 0, w->fix.store != NULL); /* no handle stays behind */
}

static void a_second_gateway_is_refused_and_the_first_works_on(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("c1");
    char sentence[160];
    snprintf(sentence, sizeof sentence, "%s is in use by another gateway; give each its own database", w->fix.path);
    assert_cannot_open(w, w->fix.url, E_CONFLICT, sentence);
    put(w, &row);
    fixture_close(&w->fix);
    fixture_open(&w->fix);
    assert_int_equal(get(w, "t1", "c1"), 1);
}

static void in_sqlite(struct world *w, const char *sql) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(w->fix.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int on_version(void *arg, int columns, char **values, char **names) {
    (void)columns;
    (void)names;
    snprintf(arg, ID_BYTES, "PRAGMA user_version = %s", values[0]);
    return 0;
}

static void a_newer_schema_is_refused_and_left_alone(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("c1");
    char as_before[ID_BYTES];
    sqlite3 *db = NULL;
    put(w, &row);
    fixture_close(&w->fix);
    assert_int_equal(sqlite3_open(w->fix.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version", on_version, as_before, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    in_sqlite(w, "PRAGMA user_version = 99");
    assert_cannot_open(w, w->fix.url, E_UNSUPPORTED, "was written by a newer wakegate (schema 99");
    in_sqlite(w, as_before);
    fixture_open(&w->fix);
    assert_int_equal(get(w, "t1", "c1"), 1);
}

static void a_file_that_is_no_database_is_refused_and_left_alone(void **state) {
    static const char text[] = "This is a letter, and not a database at all. It should be left as it is, please.\n";
    struct world *w = *state;
    char read[sizeof text] = "";
    fixture_close(&w->fix);
    FILE *f = fopen(w->fix.path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_cannot_open(w, w->fix.url, E_IO, w->fix.path);
    f = fopen(w->fix.path, "r");
    assert_non_null(f);
    assert_int_equal(fread(read, 1, sizeof read, f), sizeof text - 1);
    fclose(f);
    assert_string_equal(read, text);
    unlink(w->fix.path);
    fixture_open(&w->fix);
}

static void a_schema_that_is_half_there_is_refused(void **state) {
    struct world *w = *state;
    fixture_close(&w->fix);
    in_sqlite(w, "DROP TABLE pushes");
    assert_cannot_open(w, w->fix.url, E_IO, "pushes");
}

static void a_missing_folder_is_named(void **state) {
    struct world *w = *state;
    char url[160];
    snprintf(url, sizeof url, "sqlite:%s/none/w.db", w->fix.folder);
    assert_cannot_open(w, url, E_IO, "/none/w.db");
}

static void another_kind_of_store_is_refused(void **state) {
    assert_cannot_open(*state, "postgres://db", E_INVAL, "\"postgres://db\" is not of the form sqlite:PATH");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        case_of(nothing_is_lost_when_it_closes_at_once),
        case_of(what_was_told_survives_the_end_of_the_process),
        case_of(a_full_disk_is_told_and_keeps_what_there_was),
        case_of(a_planned_push_is_there_with_its_call_or_not_at_all),
        case_of(a_read_says_nothing_about_writing),
        case_of(reads_do_not_keep_it_from_finding_out),
        case_of(when_there_is_room_again_it_finds_out_by_itself),
        case_of(the_files_are_nobody_elses_to_read),
        case_of(a_second_gateway_is_refused_and_the_first_works_on),
        case_of(a_newer_schema_is_refused_and_left_alone),
        case_of(a_file_that_is_no_database_is_refused_and_left_alone),
        case_of(a_schema_that_is_half_there_is_refused),
        case_of(a_missing_folder_is_named),
        case_of(another_kind_of_store_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
