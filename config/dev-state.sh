#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Make what a gateway on a laptop needs, without Apple: a CA and a server certificate for the APNs simulator, a provider key,
# an API token and a configuration. What exists already is kept, so that a second start takes no time.
#   dev-state.sh DIR      keys and certificates into DIR, and DIR/wakegate.yaml from the environment below
# MEDIA_ANNOUNCE takes several addresses, with a space between two.
set -euo pipefail
umask 077
dir=$1
: "${API_LISTEN:=127.0.0.1:8080}" "${PUBLIC_URL:=http://$API_LISTEN}" "${BEHIND_PROXY:=false}"
: "${MEDIA_ADDRESS:=127.0.0.1}" "${MEDIA_PORT:=10000}" "${MEDIA_ANNOUNCE:=127.0.0.1}" "${MEDIA_WORKERS:=1}"
: "${APNS_HOST:=127.0.0.1}" "${APNS_PORT:=2197}" "${HANDOFF:=sealed, transfer, sdes, dtls}" "${LOG_LEVEL:=info}"
mkdir -p "$dir"
cd "$dir"

ec_key() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}
if [ ! -s ca.pem ]; then
  ec_key ca.key
  openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj "/CN=wakegate development CA" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" -out ca.pem
fi
if [ ! -s apns-sim.pem ]; then
  ec_key apns-sim.key
  openssl req -new -key apns-sim.key -subj "/CN=apns-sim" -out apns-sim.csr
  openssl x509 -req -in apns-sim.csr -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days 3650 -sha256 \
    -extfile <(printf 'subjectAltName=DNS:localhost,DNS:apns-sim,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n') \
    -out apns-sim.pem 2>/dev/null
  rm -f apns-sim.csr
fi
if [ ! -s apns-key.p8 ]; then
  ec_key apns-key.p8
  openssl pkey -in apns-key.p8 -pubout -out apns-key.pub.pem
fi
[ -s seal.key ] || openssl rand -hex 32 >seal.key
[ -s token ] || printf 'wg_%s' "$(openssl rand -base64 32 | tr '+/' '-_' | tr -d '=\n')" >token

cat >wakegate.yaml <<YAML
# A development configuration, written by config/dev-state.sh. Every key is explained in config/wakegate.yaml.
listen:
  api: "$API_LISTEN"
  public_url: "$PUBLIC_URL"
  behind_proxy: $BEHIND_PROXY
media:
  address: "$MEDIA_ADDRESS"
  port: $MEDIA_PORT
  workers: $MEDIA_WORKERS
  announce: ["${MEDIA_ANNOUNCE// /\", \"}"]
store:
  url: "sqlite:$PWD/wakegate.db"
  seal_key_file: seal.key
auth:
  tokens:
    - {name: dev, sha256: "$(printf %s "$(cat token)" | sha256sum | cut -d' ' -f1)", scopes: [calls, devices, admin], tenant: default}
apps:
  - name: vcs
    bundle_id: com.example.vcs
    environment: production
    apns:
      team_id: ABCDE12345
      key_id: FGHIJ67890
      key_file: apns-key.p8
      host: "$APNS_HOST"
      port: $APNS_PORT
      ca_file: ca.pem
routes:
  - {name: everybody, match: {callee: "*"}, app: vcs, ring_timeout_s: 40, handoff: [$HANDOFF]}
log: {level: $LOG_LEVEL, format: logfmt}
YAML
