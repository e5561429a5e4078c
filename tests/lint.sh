#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Formatting, include rules, clang-tidy, cppcheck, shellcheck. Usage: tests/lint.sh BUILD_DIR (with compile_commands.json)
# shellcheck disable=SC2317 # the functions are called by name
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
build=$1
status=0
mapfile -t sources < <(git ls-files '*.c')
mapfile -t headers < <(git ls-files '*.h')

step() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    printf '%-14s ok\n' "$name"
  else
    printf '%-14s FAILED\n%s\n' "$name" "$output"
    status=1
  fi
}

format() { clang-format --dry-run -Werror "${sources[@]}" "${headers[@]}"; }

# Which folder may include which (the tree in ARCHITECTURE.md). Anything else is a violation.
includes() {
  awk -F'"' '
    BEGIN {
      may["base"] = "base"; may["config"] = "base config"; may["apns"] = "base apns"; may["dtls"] = "base dtls"
      may["gateway"] = "base config apns dtls gateway"; may["tests"] = "base config apns dtls gateway tests"
    }
    /^#include "/ {
      split(FILENAME, from, "/"); split($2, to, "/")
      if ($2 !~ /\//) { print FILENAME ":" FNR ": name the header from the root, not \"" $2 "\""; bad = 1; next }
      if (index(" " may[from[1]] " ", " " to[1] " ") == 0) {
        print FILENAME ":" FNR ": " from[1] "/ must not include " to[1] "/"; bad = 1
      }
    }
    END { exit bad }' "${sources[@]}" "${headers[@]}"
}

# Every header compiles alone.
alone() {
  local header bad=0 flags
  flags=$(pkg-config --cflags libuv libwebsockets libnghttp2 openssl libsrtp2 libcyaml jansson sqlite3)
  for header in "${headers[@]}"; do
    # shellcheck disable=SC2086
    gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -I. $flags -x c "$header" || bad=1
  done
  return "$bad"
}

names() {
  # Words that would tie the tree to one machine.
  ! git grep -nIE '(^|[^A-Za-z0-9_./-])/(work|root|home)/' -- . ':!tests/lint.sh'
}

tidy() {
  local found
  found=$(printf '%s\n' "${sources[@]}" | grep -v '^tests/fuzz/' |
    xargs -P "$(nproc)" -n 4 clang-tidy -p "$build" --quiet 2>&1 | grep -E '(warning|error):' | sort -u)
  printf '%s\n' "$found"
  [ -z "$found" ]
}

# uninitvar: it takes the loops of utlist and uthash for mistakes; the compilers and clang-tidy look for these, too.
check() {
  cppcheck --quiet --enable=warning,performance,portability --inline-suppr --error-exitcode=1 --std=c11 -j "$(nproc)" \
    --suppress=missingIncludeSystem --suppress=unmatchedSuppression --suppress=uninitvar -I . -D_GNU_SOURCE base config apns dtls gateway tests/peers tests/load
}

scripts() {
  shellcheck -x dev .ci/run tests/lint.sh config/dev-state.sh docker/*.sh
}

step format format
step includes includes
step alone alone
step names names
step shellcheck scripts
step cppcheck check
step clang-tidy tidy
exit $status
