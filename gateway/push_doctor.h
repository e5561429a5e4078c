/* SPDX-License-Identifier: Apache-2.0 */
/* `wakegate push-doctor`: apns_doctor for the apps of a configuration, on the terminal. Thread: main. */
#ifndef GATEWAY_PUSH_DOCTOR_H
#define GATEWAY_PUSH_DOCTOR_H

#include "config/config.h"

/* app: NULL for all; device: a device token in hex that gets one real push, NULL: none. Returns 0 when every step of
 * every app is good, else E_* (E_NOTFOUND, E_INVAL with a sentence in et: nothing was tried). */
int push_doctor(const struct config *c, const char *app, const char *device, struct err_text *et);

#endif
