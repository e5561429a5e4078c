/* SPDX-License-Identifier: Apache-2.0 */
/* What the schema cannot say: ranges, what goes with what, and whether the files that are named can be used.
 * Private to config/. */
#ifndef CONFIG_CONFIG_CHECK_H
#define CONFIG_CONFIG_CHECK_H

#include "config/config.h"
#include "config/config_doc.h"

/* c is complete. Returns 0, or E_* with a sentence of config_doc_say. */
int config_check(const struct config *c, const struct config_doc *d, struct err_text *et);

#endif
