#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of manager and health inside a scratch host, against a real systemd.

    test-manager.py PROGRAM [PATTERN]
"""

import os
import pathlib
import re
import signal
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / 'lib'))
import host  # noqa: E402

BUILD = pathlib.Path(os.environ['AFFIX_BUILD'])


def put_program(scratch, program):
    """With the libraries that it needs and the host does not have."""
    listed = subprocess.run(['ldd', program], check=True, stdout=subprocess.PIPE, text=True).stdout
    for library in re.findall(r'=> (/\S+)', listed):
        if not (scratch.root / 'lib' / library.split('lib/', 1)[1]).exists():
            scratch.put(library, library)
    scratch.put(program, f'/opt/{program.name}', mode=0o755)


def main():
    reason = host.unavailable()
    if reason:
        print(reason, file=sys.stderr)
        return host.SKIP
    test = pathlib.Path(sys.argv[1])
    with host.Host() as scratch:
        put_program(scratch, test)
        put_program(scratch, BUILD / 'tests/assets/affix-test-daemon')
        scratch.write('/etc/affix-scratch-host', '')
        scratch.boot()
        command = [f'/opt/{test.name}', *sys.argv[2:3]]
        result = scratch.run(command, stdout=None, stderr=None, timeout=300).returncode
        if result == 0 and test.name == 'test-manager_host':
            os.kill(scratch.leader, signal.SIGSTOP)
            result = scratch.run([command[0], '--stopped'], stdout=None, stderr=None).returncode
            os.kill(scratch.leader, signal.SIGCONT)
    return result


if __name__ == '__main__':
    sys.exit(main())
