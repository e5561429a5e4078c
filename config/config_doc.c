/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_doc.h"

#include "config/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reading */

static int read_file(struct buf *out, const char *file, struct err_text *et) {
    char chunk[8192];
    size_t n;
    FILE *f = fopen(file, "re");
    if (!f)
        return err_say(et, E_IO, "%s: %s%s", file, strerror(errno),
                       errno == EACCES ? "; the user that this process runs as must be able to read it" : "");
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0 && out->len <= CONFIG_FILE_MAX_BYTES)
        buf_add(out, chunk, n);
    int failed = ferror(f);
    fclose(f);
    if (failed)
        return err_say(et, E_IO, "%s: cannot be read; is it a file?", file);
    if (out->len > CONFIG_FILE_MAX_BYTES)
        return err_say(et, E_INVAL, "%s: larger than %u bytes", file, CONFIG_FILE_MAX_BYTES);
    return 0;
}

static bool is_safe_value(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f || *s == '"' || *s == '\\')
            return false;
    return true;
}

/* One "${NAME}" at s; returns the bytes that it takes, or an error. */
static int expand_one(struct buf *out, const char *s, const char *file, int line, struct err_text *et) {
    char name[128];
    size_t n = strspn(s + 2, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    if (n == 0 || n >= sizeof name || s[2 + n] != '}')
        return err_say(et, E_MALFORMED, "%s:%d: \"${\" needs a variable's name and \"}\"; write $${ for a plain ${",
                       file, line);
    memcpy(name, s + 2, n);
    name[n] = 0;
    const char *value = getenv(name);
    if (!value)
        return err_say(et, E_NOTFOUND,
                       "%s:%d: ${%s}: this environment variable is not set; set it or write the value here", file, line,
                       name);
    if (!is_safe_value(value))
        return err_say(et, E_INVAL,
                       "%s:%d: ${%s}: its value has a quote, a backslash or a control character; use a *_file key",
                       file, line, name);
    buf_adds(out, value);
    return (int)n + 3;
}

static int expand(struct buf *out, const char *text, const char *file, struct err_text *et) {
    int line = 1;
    bool comment = false;
    char quote = 0;
    for (const char *s = text; *s;) {
        if (*s == '\n') {
            line++;
            comment = false;
        } else if (!comment && !quote && *s == '#' && (s == text || s[-1] == ' ' || s[-1] == '\t' || s[-1] == '\n')) {
            comment = true;
        } else if (!comment && (*s == '"' || *s == '\'')) {
            quote = quote == *s ? 0 : quote ? quote : *s;
        }
        if (!comment && strncmp(s, "$${", 3) == 0) {
            buf_adds(out, "${");
            s += 3;
        } else if (!comment && strncmp(s, "${", 2) == 0) {
            int n = expand_one(out, s, file, line, et);
            if (n < 0)
                return n;
            s += n;
        } else {
            buf_add(out, s++, 1);
        }
    }
    return 0;
}

int config_doc_read(struct config_doc *d, const char *file, struct err_text *et) {
    struct buf raw = {0};
    yaml_parser_t parser;
    memset(d, 0, sizeof *d);
    d->file = file;
    int err = read_file(&raw, file, et);
    if (err == 0 && raw.p && strlen(raw.p) != raw.len)
        err = err_say(et, E_MALFORMED, "%s: a NUL byte; this is not a YAML file", file);
    if (err == 0)
        err = expand(&d->text, raw.p ? raw.p : "", file, et);
    buf_wipe(&raw);
    if (err != 0 || !yaml_parser_initialize(&parser))
        return err;
    yaml_parser_set_input_string(&parser, (const unsigned char *)(d->text.p ? d->text.p : ""), d->text.len);
    d->loaded = yaml_parser_load(&parser, &d->doc);
    if (!d->loaded)
        err = err_say(et, E_MALFORMED, "%s:%zu: not YAML: %s", file, parser.problem_mark.line + 1,
                      parser.problem ? parser.problem : "unreadable");
    else if (!yaml_document_get_root_node(&d->doc))
        err = err_say(et, E_MALFORMED, "%s:1: the file is empty; config/wakegate.yaml is an example", file);
    yaml_parser_delete(&parser);
    return err;
}

void config_doc_free(struct config_doc *d) {
    if (d->loaded)
        yaml_document_delete(&d->doc);
    buf_wipe(&d->text);
    d->loaded = false;
}

/* Finding lines */

static yaml_document_t *doc_of(const struct config_doc *d) {
    return (yaml_document_t *)(uintptr_t)&d->doc; /* libyaml's getters take no const */
}

static yaml_node_t *node_at(const struct config_doc *d, int index) {
    return yaml_document_get_node(doc_of(d), index);
}

static const char *scalar(const yaml_node_t *n) {
    return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : "";
}

static yaml_node_t *child(const struct config_doc *d, const yaml_node_t *map, const char *key, size_t key_len) {
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const char *name = scalar(node_at(d, p->key));
        if (strlen(name) == key_len && memcmp(name, key, key_len) == 0)
            return node_at(d, p->value);
    }
    return NULL;
}

static yaml_node_t *item(const struct config_doc *d, const yaml_node_t *seq, size_t i) {
    if (!seq || seq->type != YAML_SEQUENCE_NODE ||
        i >= (size_t)(seq->data.sequence.items.top - seq->data.sequence.items.start))
        return NULL;
    return node_at(d, seq->data.sequence.items.start[i]);
}

static size_t line_of(const struct config_doc *d, const char *path) {
    const yaml_node_t *n = d->loaded ? yaml_document_get_root_node(doc_of(d)) : NULL;
    size_t line = n ? n->start_mark.line + 1 : 1;
    while (n && *path) {
        size_t len = strcspn(path, ".[");
        if (*path == '[') {
            n = item(d, n, strtoul(path + 1, NULL, 10));
            path += strcspn(path, "]") + 1;
        } else {
            n = child(d, n, path, len);
            path += len;
        }
        path += *path == '.';
        line = n ? n->start_mark.line + 1 : line;
    }
    return line;
}

bool config_doc_has(const struct config_doc *d, const char *group, const char *key) {
    const yaml_node_t *root = d->loaded ? yaml_document_get_root_node(doc_of(d)) : NULL;
    return child(d, child(d, root, group, strlen(group)), key, strlen(key)) != NULL;
}

int config_doc_say(const struct config_doc *d, struct err_text *et, int err, const char *path, const char *fmt, ...) {
    char text[ERR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_say(et, err, "%s:%zu: %s: %s", d->file, line_of(d, path), path, text);
}

/* Checking against the schema */

struct check {
    const struct config_doc *d;
    struct err_text *et;
};

static int say_at(const struct check *c, const yaml_node_t *n, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int say_at(const struct check *c, const yaml_node_t *n, const char *path, const char *fmt, ...) {
    char text[ERR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_say(c->et, E_INVAL, "%s:%zu: %s: %s", c->d->file, n->start_mark.line + 1, *path ? path : "the file",
                   text);
}

/* Edits between two words (Levenshtein), for "did you mean". */
static unsigned distance(const char *a, const char *b) {
    unsigned row[64];
    size_t n = strlen(b);
    if (n >= sizeof row / sizeof *row)
        return 99;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (; *a; a++) {
        unsigned diagonal = row[0]++;
        for (size_t j = 1; j <= n; j++) {
            unsigned substitute = diagonal + (*a != b[j - 1]);
            diagonal = row[j];
            unsigned insert = row[j - 1] + 1, erase = row[j] + 1;
            row[j] = substitute < insert ? substitute : insert;
            row[j] = row[j] < erase ? row[j] : erase;
        }
    }
    return row[n];
}

static int unknown_key(const struct check *c, const yaml_node_t *key, const char *path,
                       const cyaml_schema_field_t *fields) {
    const char *best = NULL;
    unsigned best_distance = 4;
    struct buf names = {0};
    for (const cyaml_schema_field_t *f = fields; f->key; f++) {
        unsigned edits = distance(scalar(key), f->key);
        if (edits < best_distance) {
            best_distance = edits;
            best = f->key;
        }
        buf_addf(&names, "%s%s", names.len ? ", " : "", f->key);
    }
    int err = best ? say_at(c, key, path, "unknown key; did you mean \"%s\"?", best)
                   : say_at(c, key, path, "unknown key; known here: %s", names.p ? names.p : "none");
    buf_free(&names);
    return err;
}

static int check_node(const struct check *c, const yaml_node_t *n, const cyaml_schema_value_t *s, const char *path);

static int check_mapping(const struct check *c, const yaml_node_t *n, const cyaml_schema_value_t *s, const char *path) {
    char sub[CONFIG_PATH_BYTES];
    if (n->type != YAML_MAPPING_NODE)
        return say_at(c, n, path, "keys with values are expected here");
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = node_at(c->d, p->key);
        const cyaml_schema_field_t *f = s->mapping.fields;
        while (f->key && strcmp(f->key, scalar(key)) != 0)
            f++;
        snprintf(sub, sizeof sub, "%s%s%.100s", path, *path ? "." : "", scalar(key));
        if (!f->key)
            return unknown_key(c, key, sub, s->mapping.fields);
        if (child(c->d, n, f->key, strlen(f->key)) != node_at(c->d, p->value))
            return say_at(c, key, sub, "this key stands twice; remove one");
        int err = check_node(c, node_at(c->d, p->value), &f->value, sub);
        if (err != 0)
            return err;
    }
    for (const cyaml_schema_field_t *f = s->mapping.fields; f->key; f++) {
        snprintf(sub, sizeof sub, "%s%s%s", path, *path ? "." : "", f->key);
        if (!(f->value.flags & CYAML_FLAG_OPTIONAL) && !child(c->d, n, f->key, strlen(f->key)))
            return say_at(c, n, sub, "this key is required");
    }
    return 0;
}

static int check_sequence(const struct check *c, const yaml_node_t *n, const cyaml_schema_value_t *entry,
                          const char *path, uint32_t min, uint32_t max) {
    char sub[CONFIG_PATH_BYTES];
    if (n->type != YAML_SEQUENCE_NODE)
        return say_at(c, n, path, "a list is expected here, e.g. [a, b]");
    size_t count = (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
    if (count < min || count > max)
        return say_at(c, n, path, "%zu entries; %u to %u are possible", count, min, max);
    for (size_t i = 0; i < count; i++) {
        snprintf(sub, sizeof sub, "%s[%zu]", path, i);
        int err = check_node(c, item(c->d, n, i), entry, sub);
        if (err != 0)
            return err;
    }
    return 0;
}

static int check_word(const struct check *c, const yaml_node_t *n, const cyaml_schema_value_t *s, const char *path) {
    struct buf names = {0};
    for (uint32_t i = 0; i < s->enumeration.count; i++) {
        if (n->type == YAML_SCALAR_NODE && strcmp(s->enumeration.strings[i].str, scalar(n)) == 0) {
            buf_free(&names);
            return 0;
        }
        buf_addf(&names, "%s%s", names.len ? ", " : "", s->enumeration.strings[i].str);
    }
    int err = say_at(c, n, path, "\"%.64s\" is not known; one of: %s", scalar(n), names.p ? names.p : "");
    buf_free(&names);
    return err;
}

static int check_number(const struct check *c, const yaml_node_t *n, const char *path) {
    const char *s = scalar(n);
    if (n->type != YAML_SCALAR_NODE || *s == 0 || s[strspn(s, "0123456789")] != 0 || strlen(s) > 9)
        return say_at(c, n, path, "\"%.32s\" is not a whole number", s);
    return 0;
}

static int check_bool(const struct check *c, const yaml_node_t *n, const char *path) {
    if (strcmp(scalar(n), "true") != 0 && strcmp(scalar(n), "false") != 0)
        return say_at(c, n, path, "\"%.32s\" is neither true nor false", scalar(n));
    return 0;
}

static int check_node(const struct check *c, const yaml_node_t *n, const cyaml_schema_value_t *s, const char *path) {
    switch (s->type) {
    case CYAML_MAPPING:
        return check_mapping(c, n, s, path);
    case CYAML_SEQUENCE:
        return check_sequence(c, n, s->sequence.entry, path, s->sequence.min, s->sequence.max);
    case CYAML_FLAGS:
        if (n->type != YAML_SEQUENCE_NODE)
            return say_at(c, n, path, "a list is expected here, e.g. [%s]", s->enumeration.strings[0].str);
        for (size_t i = 0; item(c->d, n, i); i++) {
            int err = check_word(c, item(c->d, n, i), s, path);
            if (err != 0)
                return err;
        }
        return 0;
    case CYAML_ENUM:
        return check_word(c, n, s, path);
    case CYAML_UINT:
        return check_number(c, n, path);
    case CYAML_BOOL:
        return check_bool(c, n, path);
    default:
        return n->type == YAML_SCALAR_NODE ? 0 : say_at(c, n, path, "text is expected here");
    }
}

int config_doc_check(const struct config_doc *d, const cyaml_schema_value_t *schema, struct err_text *et) {
    struct check c = {d, et};
    return check_node(&c, yaml_document_get_root_node(doc_of(d)), schema, "");
}
