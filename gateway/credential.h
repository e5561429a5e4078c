/* SPDX-License-Identifier: Apache-2.0 */
/* An app's credential of APNs, from the configuration and the files that it names. Thread: any. */
#ifndef GATEWAY_CREDENTIAL_H
#define GATEWAY_CREDENTIAL_H

#include "apns/apns.h"
#include "config/config.h"

#define CREDENTIAL_FILES       3
#define CREDENTIAL_PRINT_BYTES 32

struct credential {
    struct apns_credential_config apns; /* points into the configuration and into the files */
    struct credential_file {
        char *p;
        size_t len;
    } files[CREDENTIAL_FILES];
};

/* name: for logs and metrics; outlives c. Reads key or certificate, and passwords. Returns 0, or E_IO, E_DENIED,
 * E_INVAL with a sentence. credential_wipe it in any case. */
int credential_read(struct credential *c, const struct config_apns *apns, const char *name, struct err_text *et);
/* A hash of all that makes the credential, the files' content too, also that of ca_file. */
void credential_print(uint8_t out[static CREDENTIAL_PRINT_BYTES], const struct credential *c);
void credential_wipe(struct credential *c);

#endif
