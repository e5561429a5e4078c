#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Serve with the development configuration. ${CONTAINER_ADDRESS} in it is this container's own address, where the phone in
# the containers' network finds the media; the engine gives it out at start, so no file can hold it.
set -eu
CONTAINER_ADDRESS=$(hostname -i | cut -d ' ' -f 1)
export CONTAINER_ADDRESS
exec wakegate serve -c /var/lib/wakegate/wakegate.yaml
