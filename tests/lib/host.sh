# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Scratch hosts for shell tests: source this file. What they are, and what they cost: host.py.
#
#   host_available                   skips the test (exit 77, reason on stderr) where hosts cannot boot
#   host=$(host_create)              a new host; it goes when the sourcing shell ends, however it ends
#   host_install "$host"             make install into it
#   host_boot "$host"                returns when systemd says running or degraded
#   host_run "$host" COMMAND…        inside as root; stdin, stdout, stderr and exit code are the command's
#   host_run_as USER "$host" COMMAND…
#   host_put "$host" FILE INSIDE [--mode 0755] [--owner USER] [--group GROUP]
#   host_get "$host" INSIDE FILE
#   host_reboot, host_poweroff, host_kill, host_console, host_destroy "$host"
#
# The tree itself is "$host/root": read it, and change it, directly.

host_py=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/host.py

host_available() { "$host_py" available || exit $?; }
host_create() { "$host_py" create --owner $$; }
host_install() { "$host_py" install "$1"; }
host_boot() { "$host_py" boot "$@"; }
host_reboot() { "$host_py" reboot "$@"; }
host_poweroff() { "$host_py" poweroff "$1"; }
host_kill() { "$host_py" kill "$1"; }
host_console() { "$host_py" console "$1"; }
host_destroy() { "$host_py" destroy "$1"; }
host_put() { "$host_py" put "$@"; }
host_get() { "$host_py" get "$@"; }

host_run() {
	local host=$1
	shift
	"$host_py" run "$host" -- "$@"
}

host_run_as() {
	local user=$1 host=$2
	shift 2
	"$host_py" run --user "$user" "$host" -- "$@"
}
