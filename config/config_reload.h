/* SPDX-License-Identifier: Apache-2.0 */
/* One configuration in place of another while the gateway runs: what needs a restart stays, and what has changed. All
 * of it goes by the table of keys (config_schema.c). Thread: any. */
#ifndef CONFIG_CONFIG_RELOAD_H
#define CONFIG_CONFIG_RELOAD_H

#include "config/config.h"

/* Give next the value that running has, for each key outside of auth, apps, routes and webhooks that takes a restart
 * (all but those in `reloadable`), so that it says what is in effect. next: of config_load, without other references.
 * keys: gets the names of those that were different, each with a newline behind it. Returns 0, or E_NOMEM: unref next.
 */
int config_keep_fixed(struct config *next, const struct config *running, struct buf *keys);

/* What is different in a list: "auth.tokens", "apps", "routes" or "webhooks", by the entries' names: "added a, b;
 * changed c; removed d", "order changed"; nothing when it is the same. Secrets are files: their content is not looked
 * at. */
void config_list_changes(struct buf *out, const struct config *was, const struct config *now, const char *list);
/* The names of the keys that are different outside of these lists, "log.level, listen.public_url"; nothing when none.
 */
void config_setting_changes(struct buf *out, const struct config *was, const struct config *now);

#endif
