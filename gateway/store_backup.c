/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/store_backup.h"

#include "gateway/store_sql.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 10000 /* a gateway that starts or stops holds the database for a moment */

struct copy {
    const char *to;
    char partial[PATH_MAX];
    int fd; /* of partial; -1: it is not ours */
    sqlite3 *source;
};

/* The name may be taken meanwhile: then whoever took it keeps it. */
static int check_target(struct copy *c, struct err_text *et) {
    struct stat st;
    if (snprintf(c->partial, sizeof c->partial, "%s.partial", c->to) >= (int)sizeof c->partial)
        return err_say(et, E_INVAL, "backup: --to: the name is too long");
    if (lstat(c->to, &st) == 0)
        return err_say(et, E_CONFLICT, "backup: %s exists, and is not replaced; give another name", c->to);
    return 0;
}

static int open_source(struct copy *c, const char *path, struct err_text *et) {
    struct stat st;
    if (stat(path, &st) != 0)
        return err_say(et, E_NOTFOUND, "backup: store.url: %s: %s", path, strerror(errno));
    if (sqlite3_open_v2(path, &c->source, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(c->source, BUSY_MS) != SQLITE_OK)
        return err_say(et, E_IO, "backup: store.url: %s: %s", path, sqlite3_errmsg(c->source));
    return store_db_check(c->source, path, et);
}

static int open_partial(struct copy *c, struct err_text *et) {
    c->fd = open(c->partial, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (c->fd >= 0)
        return fchmod(c->fd, 0600) == 0 ? 0 : err_say(et, E_IO, "backup: %s: %s", c->partial, strerror(errno));
    if (errno == EEXIST)
        return err_say(et, E_CONFLICT,
                       "backup: %s exists: another backup is at work, or one was cut off; then remove the file",
                       c->partial);
    return err_say(et, E_IO, "backup: %s: %s", c->partial, strerror(errno));
}

/* One read transaction: what is committed while it runs is not in it, and nobody waits. Pages that were freed, and what
 * was in them, are left out. */
static int fill(struct copy *c, struct err_text *et) {
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(c->source, "VACUUM INTO ?", -1, &st, NULL);
    if (code == SQLITE_OK)
        sqlite3_bind_text(st, 1, c->partial, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    int err = code == SQLITE_DONE ? 0
                                  : err_say(et, (code & 0xff) == SQLITE_FULL ? E_FULL : E_IO,
                                            "backup: the copy to %s failed: %s", c->to, sqlite3_errmsg(c->source));
    sqlite3_finalize(st);
    return err;
}

static int on_check(void *arg, int columns, char **values, char **names) {
    (void)columns;
    (void)names;
    *(int *)arg = values[0] && strcmp(values[0], "ok") == 0 ? 0 : E_MALFORMED;
    return 0;
}

/* What live calls need to go on after a crash is of use to the gateway that has them, at this moment, and to nobody
 * else: one that went on with it later would send with indices that were used (calls_kept.h). */
static int leave_out_calls(const struct copy *c, struct err_text *et) {
    static const char sql[] = "PRAGMA secure_delete = ON; DELETE FROM kept;"
                              "DELETE FROM sealed WHERE name LIKE 'dtls-identity/%'";
    sqlite3 *db = NULL;
    int code = sqlite3_open_v2(c->partial, &db, SQLITE_OPEN_READWRITE, NULL);
    if (code == SQLITE_OK && sqlite3_table_column_metadata(db, NULL, "kept", NULL, NULL, NULL, NULL, NULL, NULL) ==
                                 SQLITE_OK) /* an older schema has none */
        code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    int err = code == SQLITE_OK ? 0 : err_say(et, E_IO, "backup: the copy to %s failed: %s", c->to, sqlite3_errmsg(db));
    sqlite3_close(db);
    return err;
}

/* That which is damaged in the source is so in the copy, and better known today than on the day it is needed. */
static int check(const struct copy *c, struct err_text *et) {
    sqlite3 *db = NULL;
    int err = E_MALFORMED;
    if (sqlite3_open_v2(c->partial, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA integrity_check(1)", on_check, &err, NULL) != SQLITE_OK)
        err = E_MALFORMED;
    sqlite3_close(db);
    return err == 0
               ? 0
               : err_say(et, E_IO, "backup: the copy does not pass SQLite's integrity check: the database is damaged");
}

static int sync_folder(const struct copy *c) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s", c->to);
    int fd = open(dirname(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd >= 0 && fsync(fd) == 0 ? 0 : E_IO;
    if (fd >= 0)
        close(fd);
    return err;
}

/* A name that was taken meanwhile stays as it is. Some file systems know only the one way of saying so, some the other.
 */
static int give_name(const struct copy *c) {
    if (renameat2(AT_FDCWD, c->partial, AT_FDCWD, c->to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL || link(c->partial, c->to) != 0)
        return E_IO;
    unlink(c->partial);
    return 0;
}

static int publish(struct copy *c, uint64_t *bytes, struct err_text *et) {
    struct stat st;
    if (fsync(c->fd) != 0 || fstat(c->fd, &st) != 0)
        return err_say(et, E_IO, "backup: %s: %s", c->partial, strerror(errno));
    if (give_name(c) != 0)
        return err_say(et, errno == EEXIST ? E_CONFLICT : E_IO, "backup: %s: %s", c->to, strerror(errno));
    close(c->fd);
    c->fd = -1; /* from here on, it has its name */
    *bytes = (uint64_t)st.st_size;
    if (sync_folder(c) != 0)
        return err_say(et, E_IO, "backup: the folder of %s could not be written to the disk: %s", c->to,
                       strerror(errno));
    return 0;
}

int store_backup(const char *url, const char *to, uint64_t *bytes, struct err_text *et) {
    struct copy c = {.to = to, .fd = -1};
    const char *path = store_url_path(url);
    if (!path)
        return err_say(et, E_INVAL, "backup: store.url: \"%s\" is not of the form sqlite:PATH; only SQLite is copied",
                       url);
    int err = check_target(&c, et);
    if (err == 0)
        err = open_source(&c, path, et);
    if (err == 0)
        err = open_partial(&c, et);
    if (err == 0)
        err = fill(&c, et);
    sqlite3_close(c.source);
    if (err == 0)
        err = leave_out_calls(&c, et);
    if (err == 0)
        err = check(&c, et);
    if (err == 0)
        err = publish(&c, bytes, et);
    if (c.fd >= 0) {
        close(c.fd);
        unlink(c.partial);
    }
    return err;
}
