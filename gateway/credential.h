/* SPDX-License-Identifier: Apache-2.0 */
/* An app's credential of APNs, from the configuration and its key file. Thread: any. */
#ifndef GATEWAY_CREDENTIAL_H
#define GATEWAY_CREDENTIAL_H

#include "apns/apns.h"
#include "config/config.h"

struct credential {
    struct apns_credential_config apns; /* points into the app and into pem */
    char *pem;
    size_t pem_len;
};

/* Reads the key file. Returns 0 (credential_wipe it), or E_IO, E_DENIED, E_INVAL with a sentence. */
int credential_read(struct credential *c, const struct config_app *app, struct err_text *et);
void credential_wipe(struct credential *c);

#endif
