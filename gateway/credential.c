/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/credential.h"

#include "base/secret.h"

#include <string.h>

enum { LOGIN, LOGIN_PASSWORD, PROXY_PASSWORD };

static const char *given(const char *s) {
    return s[0] ? s : NULL;
}

static int read_file(struct credential_file *f, const char *file, struct err_text *et) {
    return file[0] ? secret_file_read(&f->p, &f->len, file, et) : 0;
}

/* A password is a line: the editor's end of it is not part of it. */
static int read_password(struct credential_file *f, const char *file, const char **password, struct err_text *et) {
    int err = read_file(f, file, et);
    if (f->p)
        f->p[strcspn(f->p, "\r\n")] = 0;
    *password = f->p;
    return err;
}

int credential_read(struct credential *c, const struct config_apns *apns, const char *name, struct err_text *et) {
    bool certificate = apns->certificate_file[0] != 0;
    struct credential_file *login = &c->files[LOGIN];
    *c = (struct credential){.apns = {.name = name,
                                      .host = apns->host,
                                      .port = (uint16_t)apns->port,
                                      .ca_file = given(apns->ca_file),
                                      .team_id = given(apns->team_id),
                                      .key_id = given(apns->key_id),
                                      .proxy = given(apns->proxy),
                                      .proxy_user = given(apns->proxy_user),
                                      .ring_connections = apns->ring_connections,
                                      .hedge_ms = *apns->hedge_ms ? *apns->hedge_ms : APNS_HEDGE_OFF,
                                      .open_probe = true,
                                      .expiry_alarm_days = apns->expiry_alarm_days}};
    int err = read_file(login, certificate ? apns->certificate_file : apns->key_file, et);
    c->apns.certificate = certificate ? login->p : NULL;
    c->apns.certificate_len = certificate ? login->len : 0;
    c->apns.key_pem = certificate ? NULL : login->p;
    c->apns.key_pem_len = certificate ? 0 : login->len;
    if (err == 0)
        err = read_password(&c->files[LOGIN_PASSWORD], apns->certificate_password_file, &c->apns.certificate_password,
                            et);
    if (err == 0)
        err = read_password(&c->files[PROXY_PASSWORD], apns->proxy_password_file, &c->apns.proxy_password, et);
    return err;
}

void credential_wipe(struct credential *c) {
    for (int i = 0; i < CREDENTIAL_FILES; i++)
        c->files[i].p = secret_free(c->files[i].p, c->files[i].len);
}
