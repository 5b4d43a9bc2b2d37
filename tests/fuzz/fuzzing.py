# SPDX-License-Identifier: Apache-2.0
"""What the scripts here share: the targets, and a build of them by clang in which everything is instrumented, for libFuzzer,
for the address and undefined behaviour sanitizers, and for line coverage. `make fuzz` and the tests use the same one."""

import fcntl
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORPUS = HERE / 'corpus'
TARGETS = sorted(path.stem.removeprefix('fuzz-') for path in HERE.glob('fuzz-*.c'))

PROFILE = '-fprofile-instr-generate'
OPTIONS = ['--buildtype=debugoptimized', '-Dfuzz=true', '-Db_sanitize=address,undefined', '-Db_lundef=false',
           f'-Dc_args={PROFILE} -fcoverage-mapping', f'-Dc_link_args={PROFILE}']
# Undefined behaviour is a finding, not a line on stderr.
SANITIZERS = {'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1:symbolize=1', 'ASAN_OPTIONS': 'detect_stack_use_after_return=1'}
# Where targets have their files, for one that crashes leaves them. It goes with this process.
SCRATCH = tempfile.TemporaryDirectory(prefix='affix-fuzz-', dir='/dev/shm')


def die(text):
    sys.exit(f'{pathlib.Path(sys.argv[0]).name}: {text}')


def program(target):
    return f'tests/fuzz/fuzz-{target}'


def run(command, **options):
    """Runs *command*; if it fails, what it printed is printed, and that is the end."""
    result = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    if result.returncode:
        print(result.stdout)
        die(f"'{' '.join(map(str, command))[:200]}' failed")
    return result.stdout


def build(directory, targets=TARGETS):
    """Configures *directory* and builds the programs of *targets* there; several may ask at once."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / '.lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        variables = {**environment(directory / 'build.profraw'), 'CC': 'clang'}
        if not (directory / 'build.ninja').exists():
            run(['meson', 'setup', *OPTIONS, directory, ROOT], env=variables)
        run(['ninja', '-C', directory, '-j2', *map(program, targets)], env=variables)
    check_instrumentation(directory)


def check_instrumentation(directory):
    """An object without counters is one that the fuzzer is blind in: none may be left out."""
    for entry in json.loads((directory / 'compile_commands.json').read_text()):
        if '/src/' in entry['file'] and '-fsanitize=fuzzer-no-link' not in entry['command']:
            die(f"{entry['file']} is compiled without -fsanitize=fuzzer-no-link")


def environment(profile):
    """Where a program of the build writes its line counts, how strict its sanitizers are, and where its files are."""
    return {**os.environ, **SANITIZERS, 'LLVM_PROFILE_FILE': str(profile), 'TMPDIR': SCRATCH.name}


def replay_command(binary, target):
    return [binary, '-runs=0', CORPUS / target]


def numbers(log):
    """The last numbers that libFuzzer printed: what ran, and how much of the code it saw."""
    status = re.findall(r'^#(\d+)\s+\S+\s+cov: (\d+) ft: (\d+)', log, re.MULTILINE)
    runs, coverage, features = status[-1] if status else ('0', '0', '0')
    executed = re.search(r'^stat::number_of_executed_units:\s*(\d+)', log, re.MULTILINE)
    return int(executed.group(1)) if executed else int(runs), int(coverage), int(features)
