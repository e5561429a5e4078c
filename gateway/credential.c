/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/credential.h"

#include "base/secret.h"

int credential_read(struct credential *c, const struct config_app *app, struct err_text *et) {
    *c = (struct credential){.apns = {.name = app->name,
                                      .host = app->apns.host,
                                      .port = (uint16_t)app->apns.port,
                                      .ca_file = app->apns.ca_file[0] ? app->apns.ca_file : NULL,
                                      .team_id = app->apns.team_id,
                                      .key_id = app->apns.key_id}};
    int err = secret_file_read(&c->pem, &c->pem_len, app->apns.key_file, et);
    c->apns.key_pem = c->pem;
    c->apns.key_pem_len = c->pem_len;
    return err;
}

void credential_wipe(struct credential *c) {
    c->pem = secret_free(c->pem, c->pem_len);
    c->apns.key_pem = NULL;
}
