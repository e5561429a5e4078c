/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file as a YAML document whose nodes know their lines: for errors that name file, line and key.
 * Private to config/. */
#ifndef CONFIG_CONFIG_DOC_H
#define CONFIG_CONFIG_DOC_H

#include "base/buf.h"
#include "base/err.h"

#include <cyaml/cyaml.h>
#include <yaml.h>

#define CONFIG_PATH_BYTES 256 /* "routes[12].must_report.suspect_after_ms" */

struct config_doc {
    const char *file;
    struct buf text; /* after ${NAME} was replaced */
    yaml_document_t doc;
    bool loaded;
};

/* Read the file and replace ${NAME} (outside of comments; $${ stands for a plain ${). */
int config_doc_read(struct config_doc *d, const char *file, struct err_text *et);
void config_doc_free(struct config_doc *d);
/* Unknown, missing and mistyped keys, by the schema. */
int config_doc_check(const struct config_doc *d, const cyaml_schema_value_t *schema, struct err_text *et);
/* Does the file say GROUP.KEY? For defaults that are not zero while zero has a meaning. */
bool config_doc_has(const struct config_doc *d, const char *group, const char *key);
/* "FILE:LINE: PATH: sentence"; the line is the path's, or that of the nearest part of it which is there. Returns err.
 */
int config_doc_say(const struct config_doc *d, struct err_text *et, int err, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

#endif
