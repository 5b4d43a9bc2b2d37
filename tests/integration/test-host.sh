#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Scratch hosts themselves: two run at once, apart from each other; reboot, kill and power-off are real; nothing
# is left when the test that made them is killed.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
. "$here/../lib/host.sh"
host_available

fail() {
	echo "FAILED: $1" >&2
	exit 1
}

left_of() {
	local name=${1##*/}
	[ ! -e "$1" ] && ! grep -q -- "$name" /proc/self/mounts &&
		[ -z "$(find /sys/fs/cgroup -maxdepth 2 -name "$name" 2>/dev/null)" ] &&
		! grep -qsz -- "--machine=$name" /proc/[0-9]*/cmdline
}

one=$(host_create)
two=$(host_create)
host_boot "$one"
host_boot "$two"

code=0
said=$(echo hello | host_run "$one" sh -c 'cat; exit 7') || code=$?
[ "$said $code" = 'hello 7' ] || fail "a command inside said '$said' and ended with $code"
[ "$(host_run_as nobody "$one" id -un)" = nobody ] || fail "a command does not run as another user"
# Bit 25 is CAP_SYS_TIME.
bounded=$(host_run "$one" sed -n 's/^CapBnd:\t//p' /proc/self/status)
[ $((16#$bounded >> 25 & 1)) = 0 ] || fail "a command inside could set the machine's clock"

before=$(host_run "$one" cat /proc/1/stat | cut -d' ' -f22)
host_run "$one" touch /opt/kept /run/lost
host_reboot "$one"
after=$(host_run "$one" cat /proc/1/stat | cut -d' ' -f22)
[ "$before" != "$after" ] || fail "reboot did not reboot"
host_run "$one" sh -c '[ -e /opt/kept ] && [ ! -e /run/lost ]' || fail "reboot kept or lost the wrong files"

host_kill "$one"
host_run "$two" systemctl is-system-running >/dev/null || fail "killing one host hurt the other"
host_boot "$one"
host_poweroff "$one"
host_destroy "$one"
left_of "$one" || fail "something is left of a destroyed host"

# A test that is killed, with a running host and a mount in its tree.
place=$(mktemp)
trap 'rm -f -- "$place"' EXIT
bash -c '. "$1"; host=$(host_create); host_boot "$host"; mount -t tmpfs none "$host/root/mnt"
	echo "$host" >"$2"; kill -KILL $$' bash "$here/../lib/host.sh" "$place" 2>/dev/null || true
orphan=$(<"$place")
for _ in $(seq 100); do
	if left_of "$orphan"; then
		echo "ok: hosts boot, reboot, die and leave nothing"
		exit 0
	fi
	sleep 0.1
done
fail "something is left of a host whose test was killed"
