/* SPDX-License-Identifier: Apache-2.0 */
/* The table of all keys (config_schema.c), shared by the loader and the checker. Private to config/. */
#ifndef CONFIG_CONFIG_SCHEMA_H
#define CONFIG_CONFIG_SCHEMA_H

#include <cyaml/cyaml.h>

extern const cyaml_schema_value_t config_schema;
extern const cyaml_config_t config_cyaml; /* for every call of libcyaml */

#endif
