/* SPDX-License-Identifier: Apache-2.0 */
/* Databases that earlier programs left (tests/fixtures/store), and such as are none of ours. */
#include "base/bytes.h"
#include "tests/unit/gateway/store_rows_fixture.h"

#include <sqlite3.h>

#define OLD_SCHEMAS    5 /* fixtures: 1 to this */
#define FIXTURE_BYTES  16384
#define ALL_OF_IT      "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
#define SCHEMA_VERSION "PRAGMA user_version"

static int set_up_closed(void **state) {
    struct world *w = calloc(1, sizeof *w);
    *state = w;
    return w && fixture_init(&w->fix) == 0 ? 0 : -1;
}

static void in_sqlite(const struct world *w, const char *sql) {
    sqlite3 *db = NULL;
    char *why = NULL;
    assert_int_equal(sqlite3_open(w->fix.path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s", why);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int on_row(void *arg, int columns, char **values, char **names) {
    struct buf *b = arg;
    (void)names;
    for (int i = 0; i < columns; i++)
        buf_addf(b, "%s%s", i ? "|" : "", values[i] ? values[i] : "-");
    buf_adds(b, "\n");
    return 0;
}

/* Rows as lines of columns with bars between them; to be freed. */
static char *rows_of(const struct world *w, const char *sql) {
    sqlite3 *db = NULL;
    struct buf b = {0};
    buf_adds(&b, "");
    assert_int_equal(sqlite3_open(w->fix.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, on_row, &b, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    char *text = buf_take(&b);
    return text ? text : strdup("");
}

static void assert_rows(const struct world *w, const char *sql, const char *expected) {
    char *found = rows_of(w, sql);
    assert_string_equal(found, expected);
    free(found);
}

static void make_old(const struct world *w, int schema) {
    static char text[FIXTURE_BYTES];
    char name[256];
    snprintf(name, sizeof name, TEST_DIR "/fixtures/store/schema_%d.sql", schema);
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    size_t len = fread(text, 1, sizeof text - 1, f);
    assert_true(len > 0 && len < sizeof text - 1);
    text[len] = 0;
    fclose(f);
    in_sqlite(w, text);
}

static void remove_files(const struct world *w) {
    static const char *const endings[] = {"", "-wal", "-shm"};
    char name[128];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(name, sizeof name, "%s%s", w->fix.path, endings[i]);
        unlink(name);
    }
}

static void bring_forward(struct world *w, int schema) {
    remove_files(w);
    make_old(w, schema);
    fixture_open(&w->fix);
    fixture_close(&w->fix);
}

static void each_old_schema_becomes_that_of_a_new_database(void **state) {
    struct world *w = *state;
    fixture_open(&w->fix);
    fixture_close(&w->fix);
    char *fresh = rows_of(w, ALL_OF_IT);
    assert_non_null(strstr(fresh, "index|pushes_by_time|"));
    char *now = rows_of(w, SCHEMA_VERSION);
    assert_in_range(atoi(now), OLD_SCHEMAS, OLD_SCHEMAS + 1); /* each earlier one has its fixture */
    for (int schema = 1; schema <= OLD_SCHEMAS; schema++) {
        bring_forward(w, schema);
        assert_rows(w, ALL_OF_IT, fresh);
        assert_rows(w, SCHEMA_VERSION, now);
        assert_rows(w, "PRAGMA application_id", "2003527540\n");
        assert_rows(w, "PRAGMA integrity_check", "ok\n");
        assert_rows(w, "SELECT COUNT(*), length(id) FROM event_source", "1|12\n");
    }
    free(fresh);
    free(now);
}

/* What schema 2 added was known from then on, and so on. */
static void assert_devices(const struct world *w, int schema) {
    char expected[256];
    const char *accepted = schema >= 2 ? "10|1" : "0|0";
    snprintf(expected, sizeof expected,
             "t1|d-fine|ann|1|0|dtls,sdes|hash-1|0||1|2|3|%s||0\n"
             "t1|d-misfiled|ann|0|1|dtls|hash-2|5|another topic|4|5|6|%s||0\n"
             "t2|d-invalid|bob|0|2|transfer|hash-3|6|dead|7|8|9|%s||0\n",
             accepted, accepted, accepted);
    assert_rows(w,
                "SELECT tenant, id, user, sandbox, ui, handoff, secret_hash, health, health_reason, created_ms, "
                "updated_ms, token_updated_ms, token_accepted_ms, token_refused, alert_token, token_since_ms FROM "
                "devices ORDER BY id = 'd-invalid', id",
                expected);
}

static void assert_pushes(const struct world *w, int schema) {
    char expected[256];
    snprintf(expected, sizeof expected,
             "p-open|c-live|-1|||200|1790000000010|0|0||0|\n"
             "p-reported|c-over|1|callkit|reported|200|1790000000011|1790000000051|%s||0|\n",
             schema >= 3 ? "1790000000045" : "0");
    assert_rows(w,
                "SELECT id, call, observed, reported, outcome, status, queued_ms, reported_ms, receipt_ms, network, "
                "ring_end_ms, token_hash FROM pushes ORDER BY id",
                expected);
}

static void assert_calls(const struct world *w) {
    assert_rows(w, "SELECT * FROM calls ORDER BY id",
                "c-live|t1|ann|ringing|1790000000000|0|{\"id\":\"c-live\"}|[]\n"
                "c-over|t1|ann|ended|1790000000001|1790000005000|"
                "{\"id\":\"c-over\",\"caller\":{\"name\":\"O'Brien\"}}|[{\"event\":\"ended\"}]\n");
    assert_rows(w, "SELECT * FROM idempotency", "t1|key-1|body|c-over|{\"id\":\"c-over\"}|1790000000001\n");
}

static void rows_come_through_with_what_was_not_known_then_at_its_default(void **state) {
    struct world *w = *state;
    for (int schema = 1; schema <= OLD_SCHEMAS; schema++) {
        bring_forward(w, schema);
        assert_devices(w, schema);
        assert_pushes(w, schema);
        assert_calls(w);
        assert_rows(w, "SELECT * FROM sealed", schema >= 2 ? "apns/vcs|sealed-value|1790000000000\n" : "");
        assert_rows(w, "SELECT id, type FROM events", schema >= 4 ? "41|call.ringing\n42|call.ended\n" : "");
        assert_rows(w, "SELECT id, event, dead, status FROM deliveries", schema >= 4 ? "7|42|1|503\n" : "");
    }
}

static void a_gateway_works_on_what_was_brought_forward(void **state) {
    struct world *w = *state;
    for (int schema = 1; schema <= OLD_SCHEMAS; schema++) {
        struct store_event_state events = {.last = 0};
        struct err_text et = {""};
        bring_forward(w, schema);
        fixture_open(&w->fix);
        w->devices = w->calls = w->pushes = w->keys = 0;
        assert_int_equal(store_load(w->fix.store, &load_ops, w, &et), 0);
        assert_int_equal(w->devices, 3);
        assert_int_equal(w->calls, 1);
        assert_int_equal(w->pushes, 1);
        assert_int_equal(w->keys, 1);
        assert_int_equal(store_event_state(w->fix.store, &events, &et), 0);
        assert_int_equal(events.last, schema >= 4 ? 42 : 0); /* ids go on behind those that were told */
        assert_string_equal(list(w, (struct call_query){0}), "c-over c-live ");
        assert_string_equal(pushes(w, "t1", "d-fine", 10), "p-reported p-open ");
        fixture_close(&w->fix);
    }
}

static void assert_cannot_open(struct world *w, int err, const char *sentence) {
    struct store *s = NULL;
    struct err_text et = {""};
    assert_int_equal(store_open(&s, &w->fix.loop, w->fix.url, &et), err);
    assert_null(s);
    if (strncmp(et.s, "store.url: ", 11) != 0 || !strstr(et.s, sentence) || !strstr(et.s, w->fix.path))
        fail_msg("\"%s\" does not say \"%s\"", et.s, sentence);
}

static void a_step_that_fails_leaves_the_schema_that_there_was(void **state) {
    struct world *w = *state;
    make_old(w, 2);
    in_sqlite(w, "CREATE TABLE event_source (what TEXT)"); /* in the way of schema 4, behind its other tables */
    assert_cannot_open(w, E_IO, "schema 4 cannot be made: table event_source already exists");
    assert_rows(w, SCHEMA_VERSION, "3\n");
    assert_rows(w, "SELECT name FROM sqlite_master WHERE name = 'events'", "");
    in_sqlite(w, "DROP TABLE event_source");
    fixture_open(&w->fix);
    fixture_close(&w->fix);
    assert_devices(w, 2);
    assert_calls(w);
}

static void a_database_of_another_program_is_refused_and_left_alone(void **state) {
    static const char *const others[] = {
        "CREATE TABLE notes (text TEXT)",                                    /* says nothing about itself */
        "CREATE TABLE notes (text TEXT); PRAGMA application_id = 252006674", /* Fossil's */
        "PRAGMA application_id = 252006674",                                 /* still empty */
        "CREATE TABLE calls (x TEXT); PRAGMA application_id = 7; PRAGMA user_version = 3", /* like one of ours */
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        remove_files(w);
        in_sqlite(w, others[i]);
        char *before = rows_of(w, ALL_OF_IT);
        assert_cannot_open(w, E_UNSUPPORTED, "is the database of another program, and is left alone");
        assert_rows(w, ALL_OF_IT, before);
        assert_rows(w, "PRAGMA journal_mode", "delete\n"); /* as SQLite makes them */
        free(before);
    }
}

static void one_that_a_newer_program_wrote_is_not_even_touched(void **state) {
    struct world *w = *state;
    make_old(w, 4);
    in_sqlite(w, "PRAGMA user_version = 99");
    assert_cannot_open(w, E_UNSUPPORTED, "was written by a newer wakegate (schema 99");
    assert_rows(w, SCHEMA_VERSION, "99\n");
    assert_rows(w, "PRAGMA journal_mode", "delete\n");
}

#define old_case(name) cmocka_unit_test_setup_teardown(name, set_up_closed, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        old_case(each_old_schema_becomes_that_of_a_new_database),
        old_case(rows_come_through_with_what_was_not_known_then_at_its_default),
        old_case(a_gateway_works_on_what_was_brought_forward),
        old_case(a_step_that_fails_leaves_the_schema_that_there_was),
        old_case(a_database_of_another_program_is_refused_and_left_alone),
        old_case(one_that_a_newer_program_wrote_is_not_even_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
