#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tree-list itself: every difference that matters shows, every one that may be does not.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
lib=$here/../lib
[ "$(id -u)" = 0 ] || { echo "SKIP: owners and capabilities need root"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

make_tree() {
	local tree=$1 uid=$2
	mkdir -p "$tree"/{etc,opt/affix/x,var/lib/affix,run}
	echo "affix-x:x:$uid:$uid::/:/bin/false" >"$tree/etc/passwd"
	echo "affix-x:x:$uid:" >"$tree/etc/group"
	echo data >"$tree/opt/affix/x/data"
	cp /bin/true "$tree/opt/affix/x/binary"
	chown "0:$uid" "$tree/opt/affix/x/binary"
	chmod 0750 "$tree/opt/affix/x/binary"
	setcap cap_net_raw+ep "$tree/opt/affix/x/binary"
	ln -s x "$tree/opt/affix/current"
	touch "$tree/opt/odd"$'\n\t\\ name'
}

listing() { "$lib/tree-list" --affix "$1"; }

make_tree "$work/one" 990
make_tree "$work/two" 991
echo other >"$work/two/var/lib/affix/record"
touch -d 2001-01-01 "$work/two/opt/affix/x/data"
listing "$work/one" >"$work/golden"
listing "$work/two" | diff "$work/golden" - || { echo "FAILED: an allowed difference shows" >&2; exit 1; }
grep -q '^/opt/affix/x/binary	f	0750	0	affix-x	.*	security.capability=0x01' "$work/golden" || {
	echo "FAILED: owner, mode or capability is not told" >&2
	exit 1
}

shows() {
	local what=$1
	rm -rf -- "$work/two"
	make_tree "$work/two" 991
	(cd "$work/two" && eval "$2")
	if listing "$work/two" | cmp -s - "$work/golden"; then
		echo "FAILED: $what does not show" >&2
		exit 1
	fi
}

shows 'a wrong mode' 'chmod 0640 opt/affix/x/data'
shows 'a setuid bit' 'chmod 4644 opt/affix/x/data'
shows 'a wrong owner' 'chown 1 opt/affix/x/data'
shows 'a wrong group' 'chgrp 0 opt/affix/x/binary'
shows 'a lost capability' 'setcap -r opt/affix/x/binary'
shows 'another capability' 'setcap cap_bpf+ep opt/affix/x/binary'
shows 'another attribute' 'setfattr -n user.x -v y opt/affix/x/data'
shows 'a link elsewhere' 'ln -sfn y opt/affix/current'
shows 'a link instead of a file' 'ln -sf data2 opt/affix/x/data'
shows 'other content' 'echo datA >opt/affix/x/data'
shows 'an empty file' ': >opt/affix/x/data'
shows 'a file too many' 'touch etc/more'
shows 'a file too few' 'rm opt/affix/x/data'
shows 'a twin with an odd name' "mv opt/odd* 'opt/odd name'"
echo "ok: differences show"
