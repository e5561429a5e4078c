/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_reload.h"

#include "config/config_doc.h"
#include "config/config_schema.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 20 /* named in a line of the log; of more it says how many */

/* Of the keys outside of the lists. A key that is not here keeps its value until a restart. */
static const char *const reloadable[] = {
    "listen.tls.certificate_file", "listen.tls.key_file", "listen.public_url", "listen.cors_origins",
    "listen.behind_proxy",         "listen.drain_s",      "listen.console",    "media.announce",
    "media.rotate_identity_s",     "store.retention_h",   "log.level",         "log.format"};
static const char *const lists[] = {"auth", "apps", "routes", "webhooks"};

static bool in_list(const char *name, const char *const *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

/* Values by their schema. A place is where a structure has its field, or an array its entry: the value, or a pointer.
 */

static void *pointer_at(const void *place) {
    void *p;
    memcpy(&p, place, sizeof p);
    return p;
}

/* NULL: it is not given. */
static const void *value_at(const cyaml_schema_value_t *s, const void *place) {
    return s->flags & CYAML_FLAG_POINTER ? pointer_at(place) : place;
}

static size_t entry_bytes(const cyaml_schema_value_t *entry) {
    return entry->flags & CYAML_FLAG_POINTER ? sizeof(void *) : entry->data_size;
}

static const void *place_of(const cyaml_schema_field_t *f, const void *mapping) {
    return (const char *)mapping + f->data_offset;
}

/* Of a sequence's entries; 0 for anything else. */
static unsigned count_of(const cyaml_schema_field_t *f, const void *mapping) {
    unsigned n = 0;
    if (f->value.type != CYAML_SEQUENCE)
        return 0;
    assert(f->count_size == sizeof n);
    memcpy(&n, (const char *)mapping + f->count_offset, sizeof n);
    return n;
}

static bool same_value(const cyaml_schema_value_t *s, const void *a, const void *b);

static bool same_field(const cyaml_schema_field_t *f, const void *a, const void *b) {
    const cyaml_schema_value_t *s = &f->value;
    unsigned count = count_of(f, a);
    if (s->type != CYAML_SEQUENCE)
        return same_value(s, place_of(f, a), place_of(f, b));
    const char *pa = value_at(s, place_of(f, a)), *pb = value_at(s, place_of(f, b));
    if (count != count_of(f, b))
        return false;
    for (unsigned i = 0; pa && pb && i < count; i++)
        if (!same_value(s->sequence.entry, pa + i * entry_bytes(s->sequence.entry),
                        pb + i * entry_bytes(s->sequence.entry)))
            return false;
    return true;
}

/* Anything but a sequence. */
static bool same_value(const cyaml_schema_value_t *s, const void *a, const void *b) {
    a = value_at(s, a);
    b = value_at(s, b);
    if (!a || !b)
        return a == b;
    if (s->type == CYAML_STRING)
        return strcmp(a, b) == 0;
    if (s->type != CYAML_MAPPING)
        return memcmp(a, b, s->data_size) == 0;
    for (const cyaml_schema_field_t *f = s->mapping.fields; f->key; f++)
        if (!same_field(f, a, b))
            return false;
    return true;
}

/* Copies own all that they point to. One that fails may be freed like one that did not. */

static int copy_value(const cyaml_schema_value_t *s, void *to, const void *from);

static int copy_entries(const cyaml_schema_value_t *entry, char *to, const char *from, unsigned count) {
    int err = 0;
    for (unsigned i = 0; i < count && err == 0; i++)
        err = copy_value(entry, to + i * entry_bytes(entry), from + i * entry_bytes(entry));
    return err;
}

/* to: the mapping's place for it, which holds nothing yet. */
static int copy_field(const cyaml_schema_field_t *f, void *to, const void *from) {
    const cyaml_schema_value_t *s = &f->value;
    unsigned count = count_of(f, from);
    void *place = (char *)to + f->data_offset, *array;
    if (s->type != CYAML_SEQUENCE)
        return copy_value(s, place, place_of(f, from));
    const void *entries = value_at(s, place_of(f, from));
    array = entries ? calloc(count + 1U, entry_bytes(s->sequence.entry)) : NULL;
    memcpy(place, &array, sizeof array);
    if (!array)
        return entries ? E_NOMEM : 0;
    memcpy((char *)to + f->count_offset, &count, sizeof count);
    return copy_entries(s->sequence.entry, array, entries, count);
}

static int copy_value(const cyaml_schema_value_t *s, void *to, const void *from) {
    int err = 0;
    from = value_at(s, from);
    if (s->flags & CYAML_FLAG_POINTER) {
        size_t bytes = !from ? 0 : s->type == CYAML_STRING ? strlen(from) + 1 : s->data_size;
        void *copy = bytes ? calloc(1, bytes) : NULL;
        memcpy(to, &copy, sizeof copy);
        if (!copy)
            return bytes ? E_NOMEM : 0;
        to = copy;
        if (s->type == CYAML_STRING)
            memcpy(to, from, bytes);
    }
    if (s->type == CYAML_MAPPING)
        for (const cyaml_schema_field_t *f = s->mapping.fields; f->key && err == 0; f++)
            err = copy_field(f, to, from);
    else if (s->type != CYAML_STRING)
        memcpy(to, from, s->data_size);
    return err;
}

static int replace_field(const cyaml_schema_field_t *f, void *in, const void *from) {
    void *place = (char *)in + f->data_offset, *old = NULL;
    if (f->value.flags & CYAML_FLAG_POINTER) {
        old = pointer_at(place);
        memset(place, 0, sizeof old);
        if (old)
            cyaml_free(&config_cyaml, &f->value, old, count_of(f, in));
    }
    if (f->value.type == CYAML_SEQUENCE)
        memset((char *)in + f->count_offset, 0, f->count_size);
    return copy_field(f, in, from);
}

/* Settings: what is no list */

struct setting {
    const char *path;
    const cyaml_schema_field_t *field;
    void *next; /* the mapping that has it; NULL where nothing is to be changed */
    const void *running;
};

typedef int (*setting_fn)(const struct setting *s, struct buf *out);

/* Calls fn for each that is different, and stops when it fails. A group that only one of both has is one setting. */
static int each_different(const cyaml_schema_field_t *fields, const char *above, const void *a, void *b, setting_fn fn,
                          struct buf *out) {
    char path[CONFIG_PATH_BYTES];
    int err = 0;
    for (const cyaml_schema_field_t *f = fields; f->key && err == 0; f++) {
        bool pointer = f->value.flags & CYAML_FLAG_POINTER;
        const void *group = value_at(&f->value, place_of(f, a));
        void *place = (char *)b + f->data_offset, *given = pointer ? pointer_at(place) : NULL;
        snprintf(path, sizeof path, "%s%s%s", above, *above ? "." : "", f->key);
        if (in_list(path, lists, sizeof lists / sizeof *lists) || same_field(f, a, b))
            continue;
        if (f->value.type == CYAML_MAPPING && (!pointer || (group && given)))
            err = each_different(f->value.mapping.fields, path, group, pointer ? given : place, fn, out);
        else
            err = fn(&(struct setting){path, f, b, a}, out);
    }
    return err;
}

static int keep(const struct setting *s, struct buf *out) {
    if (in_list(s->path, reloadable, sizeof reloadable / sizeof *reloadable))
        return 0;
    buf_addf(out, "%s\n", s->path);
    return replace_field(s->field, s->next, s->running);
}

int config_keep_fixed(struct config *next, const struct config *running, struct buf *keys) {
    int err = each_different(config_schema.mapping.fields, "", running, next, keep, keys);
    return err != 0 || keys->oom ? E_NOMEM : 0;
}

static int name_it(const struct setting *s, struct buf *out) {
    buf_addf(out, "%s%s", out->len ? ", " : "", s->path);
    return 0;
}

void config_setting_changes(struct buf *out, const struct config *was, const struct config *now) {
    /* name_it changes nothing of it. */
    each_different(config_schema.mapping.fields, "", was, (void *)(uintptr_t)now, name_it, out);
}

/* Lists */

struct list {
    const cyaml_schema_value_t *entry;
    const char *entries;
    unsigned count;
};

/* "auth.tokens" of a configuration. */
static struct list list_of(const struct config *c, const char *path) {
    const cyaml_schema_field_t *fields = config_schema.mapping.fields;
    const void *mapping = c;
    for (;;) {
        size_t n = strcspn(path, ".");
        while (strncmp(fields->key, path, n) != 0 || fields->key[n])
            fields++;
        if (!path[n])
            return (struct list){fields->value.sequence.entry, value_at(&fields->value, place_of(fields, mapping)),
                                 count_of(fields, mapping)};
        mapping = value_at(&fields->value, place_of(fields, mapping));
        fields = fields->value.mapping.fields;
        path += n + 1;
    }
}

static const char *entry_at(const struct list *l, unsigned i) {
    return l->entries + i * entry_bytes(l->entry);
}

static const char *name_of(const struct list *l, unsigned i) {
    const cyaml_schema_field_t *f = l->entry->mapping.fields;
    while (strcmp(f->key, "name") != 0)
        f++;
    return pointer_at(place_of(f, entry_at(l, i)));
}

enum found { FOUND_NOT, FOUND_NAME, FOUND_SAME };

/* Has the other list such an entry? */
static enum found find(const struct list *in, const struct list *l, unsigned i) {
    enum found best = FOUND_NOT;
    for (unsigned k = 0; k < in->count; k++) {
        if (strcmp(name_of(in, k), name_of(l, i)) != 0)
            continue;
        if (same_value(l->entry, entry_at(in, k), entry_at(l, i)))
            return FOUND_SAME;
        best = FOUND_NAME;
    }
    return best;
}

static void name_entries(struct buf *out, const char *what, const struct list *l, const struct list *other,
                         enum found which) {
    unsigned n = 0;
    for (unsigned i = 0; i < l->count; i++) {
        if (find(other, l, i) != which)
            continue;
        if (n == 0)
            buf_addf(out, "%s%s", out->len ? "; " : "", what);
        if (n < NAMES_MAX)
            buf_addf(out, "%s%.64s", n ? ", " : " ", name_of(l, i));
        n++;
    }
    if (n > NAMES_MAX)
        buf_addf(out, " and %u more", n - NAMES_MAX);
}

static bool same_order(const struct list *a, const struct list *b) {
    for (unsigned i = 0; i < a->count && i < b->count; i++)
        if (!same_value(a->entry, entry_at(a, i), entry_at(b, i)))
            return false;
    return true;
}

void config_list_changes(struct buf *out, const struct config *was, const struct config *now, const char *list) {
    struct list a = list_of(was, list), b = list_of(now, list);
    struct buf text = {0};
    name_entries(&text, "added", &b, &a, FOUND_NOT);
    name_entries(&text, "changed", &b, &a, FOUND_NAME);
    name_entries(&text, "removed", &a, &b, FOUND_NOT);
    if (!text.len && a.count == b.count && !same_order(&a, &b))
        buf_adds(&text, "order changed");
    if (text.len)
        buf_adds(out, text.p);
    buf_free(&text);
}
