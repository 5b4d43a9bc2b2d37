#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# powercut itself: a correct toy installer survives every cut, one without an fsync does not, and the control
# run, in which the correct one is deceived, is caught too.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
lib=$here/../lib
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
toy=$work/toy
cc -Wall -Wextra -O1 -o "$toy" "$lib/toy.c"
mkdir "$work/old"
"$toy" set "$work/old" old

# What powercut says of the toy with a bug: its output, and its exit code in `code`.
try() {
	local bug=$1
	shift
	code=0
	"$lib/powercut" --name "toy${bug:+ with $bug}" --tree "$work/old" --state old --work "$work" --size 16M \
		--op "up:old:new:$toy set {} new $bug" --op "down:new:old:$toy set {} old $bug" \
		--recover "$toy recover {}" --check "$toy check {}" --max-failures 1 "$@" || code=$?
	[ "$code" != 77 ] || exit 77
}

expect() {
	[ "$code" = "$1" ] || {
		echo "FAILED: wanted exit $1, got $code" >&2
		exit 1
	}
}

try '' --cuts 10
expect 0
try no-file-fsync --cuts 60
expect 1
try no-directory-fsync --cuts 60
expect 1
try '' --cuts 60 --control
expect 0
echo "ok: the toy survives, a missing fsync does not"
