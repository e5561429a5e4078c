/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 9180 A.2.1, A.2.1.1: base mode of DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305; sequence number 0.
 * In hex. */
#ifndef TESTS_VECTORS_RFC9180_H
#define TESTS_VECTORS_RFC9180_H

#define RFC9180_A2_SKEM "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600"
#define RFC9180_A2_ENC  "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
#define RFC9180_A2_SKRM "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb"
#define RFC9180_A2_PKRM "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
#define RFC9180_A2_CT                                                                                                  \
    "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db"                                                 \
    "21993c62ce81883d2dd1b51a28"
#define RFC9180_A2_INFO "Ode on a Grecian Urn"
#define RFC9180_A2_AAD  "Count-0"
#define RFC9180_A2_PT   "Beauty is truth, truth beauty"

#endif
