#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# strace-fault itself: a correct toy installer passes, and each kind of planted bug is caught.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
lib=$here/../lib
command -v strace >/dev/null || { echo "SKIP: strace is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
toy=$work/toy
cc -Wall -Wextra -O1 -o "$toy" "$lib/toy.c"
mkdir "$work/old"
"$toy" set "$work/old" old

# What strace-fault says of the toy with a bug: its output, and its exit code in `code`.
try() {
	local bug=$1
	shift
	code=0
	"$lib/strace-fault" --name "toy${bug:+ with $bug}" --tree "$work/old" --work "$work" --max 24 \
		--recover "$toy recover {}" --check "$toy check {}" --repeat --max-failures 1 "$@" \
		-- "$toy" set {} new ${bug:+"$bug"} >"$work/out" || code=$?
	cat "$work/out"
}

expect() {
	if [ "$code" != "$1" ] || ! grep -q -- "$2" "$work/out"; then
		echo "FAILED: wanted exit $1 and '$2', got exit $code" >&2
		exit 1
	fi
}

try ''
expect 0 'KILL: 24 points tried'
try gap --faults KILL
expect 1 'FAILED: KILL at symlinkat.*no current\|no current'
try leftover --faults KILL
expect 1 'leftovers'
try unchecked --faults ENOSPC
expect 1 'damaged payload'
try unrecoverable --faults KILL --recover false
expect 1 'recover ended with 1'

# What cannot be broken call by call is not passed over in silence.
code=0
"$lib/strace-fault" --tree "$work/old" --recover true --check 'echo old' -- \
	sh -c 'mkdir {}/a; mkdir {}/b' >"$work/out" || code=$?
expect 2 'cannot single them out'
echo "ok: the toy passes, its bugs are caught"
