/* SPDX-License-Identifier: Apache-2.0 */
/* The database as such: SQLite, its schema and its statements, for the thread behind store.h. Thread: one at a time. */
#ifndef GATEWAY_STORE_SQL_H
#define GATEWAY_STORE_SQL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_VALUES_MAX 32 /* columns of the widest table */

enum store_statement {
    STORE_BEGIN,
    STORE_COMMIT,
    STORE_DEVICE_PUT,
    STORE_DEVICE_DELETE,
    STORE_DEVICE_FORGET_TOKENS,
    STORE_DEVICES_ALL,
    STORE_CALL_PUT,
    STORE_CALL_GET,
    STORE_CALL_LIST,
    STORE_CALLS_LIVE,
    STORE_PUSH_PUT,
    STORE_PUSH_LIST,
    STORE_PUSH_OF_CALL,
    STORE_PUSH_GET,
    STORE_PUSHES_RECENT,
    STORE_PUSH_REPORT,
    STORE_PUSHES_OPEN,
    STORE_IDEMPOTENCY_PUT,
    STORE_IDEMPOTENCY_ALL,
    STORE_SEALED_PUT,
    STORE_SEALED_ALL,
    STORE_SEALED_PRUNE,
    STORE_KEPT_PUT,
    STORE_KEPT_DELETE,
    STORE_KEPT_ALL,
    STORE_KEPT_PRUNE,
    STORE_PRUNE_PUSHES,
    STORE_PRUNE_CALLS,
    STORE_PRUNE_IDEMPOTENCY,
    STORE_EVENT_PUT,
    STORE_EVENT_LIST,
    STORE_EVENT_STATE,
    STORE_DELIVERY_PUT,
    STORE_DELIVERY_DUE,
    STORE_DELIVERY_DONE,
    STORE_DELIVERY_FAILED,
    STORE_DELIVERY_COUNTS,
    STORE_DEAD_LIST,
    STORE_DEAD_RETRY,
    STORE_DEAD_DELETE,
    STORE_PRUNE_DELIVERIES,
    STORE_PRUNE_EVENTS,
    STORE_PROBE, /* writes a page, and changes nothing */
    STORE_STATEMENTS
};

/* An integer (text NULL), or a text. */
struct store_value {
    int64_t i;
    char *text;
};

struct store_op {
    enum store_statement statement;
    struct store_value in[STORE_VALUES_MAX];
    size_t count;
};

struct store_rows {
    struct store_value *values; /* count * columns of them */
    size_t count, columns;
};

#define STORE_APPLICATION_ID 0x776b6774 /* PRAGMA application_id: "wkgt" */

struct store_db;
struct sqlite3;

/* The path in "sqlite:PATH", or NULL for another kind of URL. */
const char *store_url_path(const char *url);
/* Is it a database, of wakegate, or an empty one, and of no newer schema? Returns 0, or E_IO, E_UNSUPPORTED with a
 * sentence. */
int store_db_check(struct sqlite3 *db, const char *path, struct err_text *et);
/* path's folder must exist. Returns 0 or E_IO, E_CONFLICT (another gateway has it), E_UNSUPPORTED (newer schema, or
 * another program's) with a sentence. */
int store_db_open(struct store_db **dp, const char *path, struct err_text *et);
struct store_db *store_db_close(struct store_db *d);
int store_db_begin(struct store_db *d);
/* Returns 0, or E_IO, E_FULL; the transaction is then rolled back. */
int store_db_commit(struct store_db *d);
void store_db_rollback(struct store_db *d);
/* Run one statement; rows (may be NULL) get what it returns. Returns 0, E_IO, E_FULL, E_NOMEM. */
int store_db_run(struct store_db *d, const struct store_op *op, struct store_rows *rows);
/* Rows that the latest statement which writes has written or deleted. */
size_t store_db_changes(struct store_db *d);

void store_op_free(struct store_op *op);
void store_rows_free(struct store_rows *rows);

#endif
