/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/store_sql.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct store_db {
    sqlite3 *db;
    sqlite3_stmt *statements[STORE_STATEMENTS];
    int lock_fd;
};

static const char schema_1[] =
    "CREATE TABLE devices (tenant TEXT NOT NULL, id TEXT NOT NULL, user TEXT NOT NULL, app TEXT NOT NULL, token TEXT "
    "NOT NULL,"
    " sandbox INTEGER NOT NULL, ui INTEGER NOT NULL, handoff TEXT NOT NULL, sealing_key TEXT NOT NULL, app_version "
    "TEXT NOT NULL,"
    " os_version TEXT NOT NULL, secret_hash TEXT NOT NULL, health INTEGER NOT NULL, health_reason TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, token_updated_ms INTEGER NOT NULL, PRIMARY KEY "
    "(tenant, id));"
    "CREATE TABLE calls (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, callee TEXT NOT NULL, state TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, doc TEXT NOT NULL, timeline TEXT NOT NULL);"
    "CREATE INDEX calls_by_time ON calls (tenant, created_ms);"
    "CREATE INDEX calls_by_end ON calls (ended_ms);"
    "CREATE TABLE pushes (id TEXT PRIMARY KEY, call TEXT NOT NULL, device TEXT NOT NULL, tenant TEXT NOT NULL, app "
    "TEXT NOT NULL,"
    " app_version TEXT NOT NULL, os_version TEXT NOT NULL, predicted INTEGER NOT NULL, predicted_why TEXT NOT NULL,"
    " observed INTEGER NOT NULL, reported TEXT NOT NULL, report_error TEXT NOT NULL, outcome TEXT NOT NULL,"
    " status INTEGER NOT NULL, reason TEXT NOT NULL, queued_ms INTEGER NOT NULL, written_ms INTEGER NOT NULL,"
    " answered_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL, reported_ms INTEGER NOT NULL, attached_ms INTEGER "
    "NOT NULL);"
    "CREATE INDEX pushes_by_device ON pushes (tenant, device, queued_ms);"
    "CREATE INDEX pushes_by_call ON pushes (call);"
    "CREATE TABLE idempotency (tenant TEXT NOT NULL, key TEXT NOT NULL, body_hash TEXT NOT NULL, call TEXT NOT NULL,"
    " response TEXT NOT NULL, created_ms INTEGER NOT NULL, PRIMARY KEY (tenant, key));";

static const char schema_2[] =
    "ALTER TABLE devices ADD COLUMN token_accepted_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE devices ADD COLUMN token_refused INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE sealed (name TEXT PRIMARY KEY, value TEXT NOT NULL, updated_ms INTEGER NOT NULL);";

static const char schema_3[] = "ALTER TABLE pushes ADD COLUMN receipt_ms INTEGER NOT NULL DEFAULT 0;"
                               "CREATE INDEX pushes_by_time ON pushes (tenant, queued_ms);";

/* event_source tells this database's events from those of any other. */
static const char schema_4[] =
    "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, type TEXT NOT NULL,"
    " at_ms INTEGER NOT NULL, data TEXT NOT NULL);"
    "CREATE INDEX events_by_tenant ON events (tenant);"
    "CREATE TABLE deliveries (id INTEGER PRIMARY KEY AUTOINCREMENT, webhook TEXT NOT NULL, event INTEGER NOT NULL,"
    " dead INTEGER NOT NULL, attempts INTEGER NOT NULL, next_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    " tried_ms INTEGER NOT NULL, status INTEGER NOT NULL, detail TEXT NOT NULL, UNIQUE (webhook, event));"
    "CREATE INDEX deliveries_by_time ON deliveries (webhook, dead, next_ms);"
    "CREATE INDEX deliveries_by_event ON deliveries (event);"
    "CREATE TABLE event_source (id TEXT NOT NULL); INSERT INTO event_source VALUES (lower(hex(randomblob(6))));";

static const char schema_5[] = "ALTER TABLE devices ADD COLUMN alert_token TEXT NOT NULL DEFAULT '';"
                               "ALTER TABLE devices ADD COLUMN token_since_ms INTEGER NOT NULL DEFAULT 0;"
                               "ALTER TABLE pushes ADD COLUMN network TEXT NOT NULL DEFAULT '';"
                               "ALTER TABLE pushes ADD COLUMN ring_end_ms INTEGER NOT NULL DEFAULT 0;"
                               "ALTER TABLE pushes ADD COLUMN token_hash TEXT NOT NULL DEFAULT '';"
                               /* From what a device was to why: 3 was invalid, 1 suspect because misfiled. */
                               "UPDATE devices SET health = CASE health WHEN 3 THEN 6 WHEN 1 THEN 5 ELSE 0 END;";

/* What a live call needs to go on after a crash, in parts (calls_kept.h). */
static const char schema_6[] = "CREATE TABLE kept (call TEXT NOT NULL, part TEXT NOT NULL, value TEXT NOT NULL,"
                               " PRIMARY KEY (call, part)) WITHOUT ROWID;";

/* Forward only: entry i brings a database of version i to i + 1 (PRAGMA user_version). */
static const char *const migrations[] = {schema_1, schema_2, schema_3, schema_4, schema_5, schema_6};
#define SCHEMA_VERSION ((int)(sizeof migrations / sizeof *migrations))

static const char *const sql[STORE_STATEMENTS] = {
    [STORE_BEGIN] = "BEGIN IMMEDIATE",
    [STORE_COMMIT] = "COMMIT",
    [STORE_DEVICE_PUT] = "INSERT OR REPLACE INTO devices VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [STORE_DEVICE_DELETE] = "DELETE FROM devices WHERE tenant = ? AND id = ?",
    /* With the time of the latest VoIP push that APNs took, 0: none is known. */
    [STORE_DEVICES_ALL] =
        "SELECT d.*, IFNULL((SELECT queued_ms FROM pushes p WHERE p.tenant = d.tenant AND p.device = d.id AND"
        " p.status = 200 AND p.predicted_why <> 'alert' ORDER BY p.queued_ms DESC LIMIT 1), 0) FROM devices d"
        " ORDER BY created_ms",
    [STORE_DEVICE_FORGET_TOKENS] = "UPDATE pushes SET token_hash = '' WHERE tenant = ? AND device = ?",
    /* A row is written again and again while its call lives: only what may change is, so that the indexes stay as they
       are. */
    [STORE_CALL_PUT] =
        "INSERT INTO calls VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET state = excluded.state,"
        " ended_ms = excluded.ended_ms, doc = excluded.doc, timeline = excluded.timeline",
    [STORE_CALL_GET] = "SELECT * FROM calls WHERE tenant = ? AND id = ?",
    /* ?2 and ?3: "" is any; ?4, ?5: the cursor, 0 is from the newest */
    [STORE_CALL_LIST] = "SELECT * FROM calls WHERE tenant = ?1 AND (?2 = '' OR state = ?2) AND (?3 = '' OR callee = ?3)"
                        " AND (?4 = 0 OR created_ms < ?4 OR (created_ms = ?4 AND id < ?5))"
                        " ORDER BY created_ms DESC, id DESC LIMIT ?6",
    [STORE_CALLS_LIVE] = "SELECT * FROM calls WHERE state <> 'ended' ORDER BY created_ms",
    /* ?2: "" is any; ?3, ?4: the cursor, 0 is from the newest */
    [STORE_PUSH_LIST] = "SELECT * FROM pushes WHERE tenant = ?1 AND (?2 = '' OR device = ?2)"
                        " AND (?3 = 0 OR queued_ms < ?3 OR (queued_ms = ?3 AND id < ?4))"
                        " ORDER BY queued_ms DESC, id DESC LIMIT ?5",
    [STORE_PUSH_OF_CALL] = "SELECT * FROM pushes WHERE call = ?",
    [STORE_PUSH_PUT] =
        "INSERT INTO pushes VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET"
        " app_version = excluded.app_version, os_version = excluded.os_version, predicted = excluded.predicted,"
        " predicted_why = excluded.predicted_why, observed = excluded.observed, reported = excluded.reported,"
        " report_error = excluded.report_error, outcome = excluded.outcome, status = excluded.status,"
        " reason = excluded.reason, written_ms = excluded.written_ms, answered_ms = excluded.answered_ms,"
        " received_ms = excluded.received_ms, reported_ms = excluded.reported_ms, attached_ms = excluded.attached_ms,"
        " receipt_ms = excluded.receipt_ms, network = excluded.network, ring_end_ms = excluded.ring_end_ms,"
        " token_hash = excluded.token_hash",
    [STORE_PUSH_GET] = "SELECT * FROM pushes WHERE id = ?",
    [STORE_PUSHES_RECENT] = "SELECT * FROM pushes WHERE tenant = ?1 AND device = ?2 AND queued_ms >= ?3"
                            " AND predicted_why <> 'alert' ORDER BY queued_ms DESC LIMIT ?4",
    /* ?8 to ?12: what is grouped by. The percentiles are those of the nearest rank among pushes with a receipt. Of an
     * alert push nothing is ever required. */
    [STORE_PUSH_REPORT] =
        "WITH p AS (SELECT CASE WHEN ?8 THEN app ELSE '' END AS g1, CASE WHEN ?9 THEN app_version ELSE '' END AS g2,"
        " CASE WHEN ?10 THEN os_version ELSE '' END AS g3,"
        " CASE WHEN ?11 THEN date(queued_ms / 1000, 'unixepoch') ELSE '' END AS g4,"
        " CASE WHEN ?12 THEN network ELSE '' END AS g5,"
        " status, observed, predicted, outcome, receipt_ms > 0 AS seen,"
        " CASE WHEN receipt_ms > 0 AND written_ms > 0 THEN max(receipt_ms - written_ms, 0) END AS took FROM pushes"
        " WHERE tenant = ?1 AND queued_ms >= ?2 AND queued_ms < ?3 AND (?4 = '' OR app = ?4)"
        " AND (?5 = '' OR app_version = ?5) AND (?6 = '' OR os_version = ?6) AND (?7 = '' OR device = ?7)"
        " AND (?14 = '' OR network = ?14) AND predicted_why <> 'alert'),"
        " r AS (SELECT *, ROW_NUMBER() OVER (PARTITION BY g1, g2, g3, g4, g5 ORDER BY took IS NULL, took) AS n,"
        " COUNT(took) OVER (PARTITION BY g1, g2, g3, g4, g5) AS c FROM p)"
        "SELECT g1, g2, g3, g4, g5, COUNT(*), SUM(status = 200), SUM(seen), SUM(seen AND observed = 1),"
        " SUM(seen AND observed = 0), SUM(seen AND observed < 0), SUM(outcome = 'reported'), SUM(outcome = 'exempt'),"
        " SUM(outcome = 'violated'), SUM(outcome = 'late'), SUM(outcome = 'silent'), SUM(outcome = 'filtered'),"
        " SUM(seen AND observed = predicted), MAX(CASE WHEN n = (c * 50 + 99) / 100 THEN took END),"
        " MAX(CASE WHEN n = (c * 95 + 99) / 100 THEN took END), MAX(CASE WHEN n = (c * 99 + 99) / 100 THEN took END)"
        " FROM r GROUP BY g1, g2, g3, g4, g5 ORDER BY g4 DESC, g1, g2, g3, g5 LIMIT ?13",
    [STORE_PUSHES_OPEN] = "SELECT * FROM pushes WHERE (outcome = '' AND status = 200)"
                          " OR call IN (SELECT id FROM calls WHERE state <> 'ended')",
    [STORE_IDEMPOTENCY_PUT] = "INSERT OR REPLACE INTO idempotency VALUES (?,?,?,?,?,?)",
    [STORE_IDEMPOTENCY_ALL] = "SELECT * FROM idempotency ORDER BY created_ms",
    [STORE_SEALED_PUT] = "INSERT OR REPLACE INTO sealed VALUES (?,?,?)",
    [STORE_SEALED_ALL] = "SELECT * FROM sealed",
    [STORE_SEALED_PRUNE] = "DELETE FROM sealed WHERE name LIKE ?1 || '%' AND updated_ms < ?2",
    [STORE_KEPT_PUT] = "INSERT OR REPLACE INTO kept VALUES (?,?,?)",
    /* ?2: a part, "" is all of them */
    [STORE_KEPT_DELETE] = "DELETE FROM kept WHERE call = ?1 AND (?2 = '' OR part = ?2)",
    [STORE_KEPT_ALL] = "SELECT * FROM kept",
    [STORE_KEPT_PRUNE] = "DELETE FROM kept WHERE call NOT IN (SELECT id FROM calls WHERE state <> 'ended')",
    /* Pruning: the oldest so many (?2) at a time. Pushes go before their calls, and both mean the same calls. */
    [STORE_PRUNE_PUSHES] = "DELETE FROM pushes WHERE call IN (SELECT id FROM calls WHERE ended_ms > 0 AND ended_ms < ?1"
                           " ORDER BY ended_ms, id LIMIT ?2)",
    [STORE_PRUNE_CALLS] = "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE ended_ms > 0 AND ended_ms < ?1"
                          " ORDER BY ended_ms, id LIMIT ?2)",
    /* Keys are written in the order of time, so the oldest are in front; one from the future is of a clock that was
     * wrong, and would keep what is behind it. */
    [STORE_PRUNE_IDEMPOTENCY] = "DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency ORDER BY rowid"
                                " LIMIT ?2) AND (created_ms < ?1 OR created_ms > ?3)",
    [STORE_EVENT_PUT] = "INSERT INTO events VALUES (?,?,?,?,?)",
    [STORE_EVENT_LIST] =
        "SELECT id, tenant, type, at_ms, data FROM events WHERE tenant = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    /* The numbers of rows that were pruned are not given again. */
    [STORE_EVENT_STATE] =
        "SELECT s.id, IFNULL((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0),"
        " IFNULL((SELECT MIN(id) FROM events), IFNULL((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) + 1)"
        " FROM event_source s",
    [STORE_DELIVERY_PUT] = "INSERT INTO deliveries VALUES (NULL,?1,?2,0,0,?3,?3,0,0,'')",
    [STORE_DELIVERY_DUE] =
        "SELECT e.id, e.tenant, e.type, e.at_ms, e.data, d.webhook, d.id, d.attempts, d.tried_ms, d.status, d.detail"
        " FROM deliveries d JOIN events e ON e.id = d.event WHERE d.webhook = ?1 AND d.dead = 0 AND d.next_ms <= ?2"
        " ORDER BY d.next_ms, d.id LIMIT ?3",
    [STORE_DELIVERY_DONE] = "DELETE FROM deliveries WHERE id = ?",
    [STORE_DELIVERY_FAILED] =
        "UPDATE deliveries SET dead = ?2, attempts = ?3, next_ms = ?4, tried_ms = ?5, status = ?6, detail = ?7"
        " WHERE id = ?1",
    [STORE_DELIVERY_COUNTS] = "SELECT webhook, COUNT(*) FROM deliveries WHERE dead = 0 GROUP BY webhook",
    /* ?2: the cursor, 0 is from the newest; ?3: one id, 0 is any */
    [STORE_DEAD_LIST] =
        "SELECT e.id, e.tenant, e.type, e.at_ms, e.data, d.webhook, d.id, d.attempts, d.tried_ms, d.status, d.detail"
        " FROM deliveries d JOIN events e ON e.id = d.event WHERE e.tenant = ?1 AND d.dead = 1"
        " AND (?2 = 0 OR d.id < ?2) AND (?3 = 0 OR d.id = ?3) ORDER BY d.id DESC LIMIT ?4",
    [STORE_DEAD_RETRY] = "UPDATE deliveries SET dead = 0, attempts = 0, next_ms = ?2, created_ms = ?2"
                         " WHERE id = ?1 AND dead = 1",
    [STORE_DEAD_DELETE] = "DELETE FROM deliveries WHERE id = ? AND dead = 1",
    [STORE_PRUNE_DELIVERIES] =
        "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE created_ms < ?1 ORDER BY id LIMIT ?2)",
    [STORE_PRUNE_EVENTS] = "DELETE FROM events WHERE id IN (SELECT id FROM events e WHERE id < IFNULL((SELECT id FROM"
                           " events WHERE at_ms >= ?1 ORDER BY id LIMIT 1), 9223372036854775807)"
                           " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = e.id) ORDER BY id LIMIT ?2)",
    [STORE_PROBE] = "PRAGMA application_id = 0x776b6774",
};

static int err_of(int code) {
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return 0;
    case SQLITE_FULL:
        return E_FULL;
    case SQLITE_NOMEM:
        return E_NOMEM;
    default:
        return E_IO;
    }
}

static int no_writes(const struct store_db *d, const char *path, struct err_text *et) {
    bool full = (sqlite3_errcode(d->db) & 0xff) == SQLITE_FULL;
    return err_say(et, full ? E_FULL : E_IO, "store.url: %s takes no writes: %s; %s", path, sqlite3_errmsg(d->db),
                   full ? "make room on the disk"
                        : "make room on the disk, or let the gateway's user write the file and in its folder");
}

/* Two gateways on one database would both ring the same phones. The lock goes with the process, however it ends. */
static int take_lock(struct store_db *d, const char *path, struct err_text *et) {
    char name[4096];
    snprintf(name, sizeof name, "%s.lock", path);
    d->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return err_say(et, E_IO, "store.url: %s: %s; %s", name, strerror(errno),
                       errno == ENOENT                      ? "the folder must exist"
                       : errno == ENOSPC || errno == EDQUOT ? "make room"
                                                            : "the gateway's user must be able to write in the folder");
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_say(et, E_CONFLICT, "store.url: %s is in use by another gateway; give each its own database", path);
    return 0;
}

/* The first column of the first row; -1 when there is none. */
static int read_number(sqlite3 *db, const char *text) {
    sqlite3_stmt *st = NULL;
    int number = -1;
    if (sqlite3_prepare_v2(db, text, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        number = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return number;
}

static int read_version(sqlite3 *db) {
    return read_number(db, "PRAGMA user_version");
}

const char *store_url_path(const char *url) {
    return strncmp(url, "sqlite:", 7) == 0 ? url + 7 : NULL;
}

static int cannot_read(sqlite3 *db, const char *path, struct err_text *et) {
    if ((sqlite3_errcode(db) & 0xff) == SQLITE_NOTADB)
        return err_say(et, E_IO, "store.url: %s is not a database of SQLite; name another file", path);
    return err_say(
        et, E_IO,
        "store.url: %s cannot be read: %s; make room on the disk, or let the gateway's user write in its folder", path,
        sqlite3_errmsg(db));
}

/* Schemas up to 5 were written without our application id. */
int store_db_check(sqlite3 *db, const char *path, struct err_text *et) {
    int version = read_version(db), id = read_number(db, "PRAGMA application_id");
    if (version < 0 || id < 0)
        return cannot_read(db, path, et);
    if ((id != 0 && id != STORE_APPLICATION_ID) ||
        (version == 0 && read_number(db, "SELECT COUNT(*) FROM sqlite_master") != 0))
        return err_say(et, E_UNSUPPORTED,
                       "store.url: %s is the database of another program, and is left alone; name a file of its own "
                       "for wakegate",
                       path);
    if (version > SCHEMA_VERSION)
        return err_say(
            et, E_UNSUPPORTED,
            "store.url: %s was written by a newer wakegate (schema %d, this one knows %d); start that one, or "
            "go back to a backup from before it",
            path, version, SCHEMA_VERSION);
    return 0;
}

static int migrate(struct store_db *d, const char *path, struct err_text *et) {
    char text[64];
    int version = read_version(d->db);
    if (version < 0)
        return cannot_read(d->db, path, et);
    for (; version < SCHEMA_VERSION; version++) {
        snprintf(text, sizeof text, "PRAGMA user_version = %d", version + 1);
        if (sqlite3_exec(d->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
            return no_writes(d, path, et);
        if (sqlite3_exec(d->db, migrations[version], NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_exec(d->db, text, NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_exec(d->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
            return err_say(et, E_IO, "store.url: %s: schema %d cannot be made: %s", path, version + 1,
                           sqlite3_errmsg(d->db));
    }
    return 0;
}

/* Device tokens and hashes of secrets are nobody else's to read. SQLite gives its other files the same mode; what goes
 * wrong here it will say better. */
static void make_private(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

static int open_file(struct store_db *d, const char *path, struct err_text *et) {
    make_private(path);
    if (sqlite3_open_v2(path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
            SQLITE_OK ||
        sqlite3_busy_timeout(d->db, 2000) != SQLITE_OK)
        return err_say(et, E_IO, "store.url: %s: %s", path, sqlite3_errmsg(d->db));
    return store_db_check(d->db, path, et);
}

/* WAL with FULL: a commit that was told is on the disk, also when the power goes. What was deleted, keys of calls among
 * it, is overwritten. A checkpoint holds up whoever waits for a commit, and writes each page that changed once: rare
 * ones cost less, and the log takes 16 MiB. */
static int set_modes(struct store_db *d, const char *path, struct err_text *et) {
    if (sqlite3_exec(d->db,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA "
                     "wal_autocheckpoint = 4096",
                     NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return no_writes(d, path, et);
}

/* Also says whether it takes writes: a gateway that could store nothing would refuse every call, and could not say of
 * those that a crash cut off that they have ended. */
static int claim(struct store_db *d, const char *path, struct err_text *et) {
    if (sqlite3_exec(d->db, sql[STORE_PROBE], NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return no_writes(d, path, et);
}

static int prepare(struct store_db *d, const char *path, struct err_text *et) {
    (void)path;
    for (int i = 0; i < STORE_STATEMENTS; i++)
        if (sqlite3_prepare_v3(d->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &d->statements[i], NULL) != SQLITE_OK)
            return err_say(et, E_IO, "store.url: statement %d: %s", i, sqlite3_errmsg(d->db));
    return 0;
}

int store_db_open(struct store_db **dp, const char *path, struct err_text *et) {
    static int (*const steps[])(struct store_db *, const char *, struct err_text *) = {take_lock, open_file, set_modes,
                                                                                       migrate,   claim,     prepare};
    struct store_db *d = calloc(1, sizeof *d);
    int err = 0;
    if (!d)
        return err_say(et, E_NOMEM, "out of memory");
    d->lock_fd = -1;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && err == 0; i++)
        err = steps[i](d, path, et);
    if (err != 0)
        d = store_db_close(d);
    *dp = d;
    return err;
}

struct store_db *store_db_close(struct store_db *d) {
    if (!d)
        return NULL;
    for (int i = 0; i < STORE_STATEMENTS; i++)
        sqlite3_finalize(d->statements[i]);
    sqlite3_close(d->db);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    free(d);
    return NULL;
}

static int run_plain(struct store_db *d, enum store_statement statement) {
    return store_db_run(d, &(struct store_op){.statement = statement}, NULL);
}

int store_db_begin(struct store_db *d) {
    return run_plain(d, STORE_BEGIN);
}

int store_db_commit(struct store_db *d) {
    int err = run_plain(d, STORE_COMMIT);
    if (err != 0)
        store_db_rollback(d);
    return err;
}

void store_db_rollback(struct store_db *d) {
    sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL);
}

static int keep_row(struct store_rows *rows, sqlite3_stmt *st) {
    rows->columns = (size_t)sqlite3_column_count(st);
    struct store_value *grown = realloc(rows->values, (rows->count + 1) * rows->columns * sizeof *grown);
    if (!grown)
        return E_NOMEM;
    rows->values = grown;
    struct store_value *v = grown + rows->count * rows->columns;
    memset(v, 0, rows->columns * sizeof *v);
    rows->count++;
    for (size_t i = 0; i < rows->columns; i++) {
        if (sqlite3_column_type(st, (int)i) == SQLITE_INTEGER)
            v[i].i = sqlite3_column_int64(st, (int)i);
        else if (!(v[i].text = strdup(sqlite3_column_type(st, (int)i) == SQLITE_TEXT
                                          ? (const char *)sqlite3_column_text(st, (int)i)
                                          : "")))
            return E_NOMEM;
    }
    return 0;
}

int store_db_run(struct store_db *d, const struct store_op *op, struct store_rows *rows) {
    sqlite3_stmt *st = d->statements[op->statement];
    int code, err = 0;
    for (size_t i = 0; i < op->count; i++) {
        if (op->in[i].text)
            sqlite3_bind_text(st, (int)i + 1, op->in[i].text, -1, SQLITE_STATIC);
        else
            sqlite3_bind_int64(st, (int)i + 1, op->in[i].i);
    }
    while ((code = sqlite3_step(st)) == SQLITE_ROW && err == 0)
        err = rows ? keep_row(rows, st) : 0;
    if (err == 0)
        err = err_of(code);
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return err;
}

size_t store_db_changes(struct store_db *d) {
    return (size_t)sqlite3_changes(d->db);
}

void store_op_free(struct store_op *op) {
    for (size_t i = 0; i < op->count; i++)
        free(op->in[i].text);
    op->count = 0;
}

void store_rows_free(struct store_rows *rows) {
    for (size_t i = 0; i < rows->count * rows->columns; i++)
        free(rows->values[i].text);
    free(rows->values);
    *rows = (struct store_rows){0};
}
