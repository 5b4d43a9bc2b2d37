# SPDX-License-Identifier: Apache-2.0
"""What the checks share: the files of the tree, their text without comments and strings, and how findings are told."""

import os
import pathlib
import re
import sys

ROOT = pathlib.Path(os.environ.get('AFFIX_SOURCE') or pathlib.Path(__file__).resolve().parents[2]).resolve()
PLACES = ('src', 'tests', 'bpf')
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)

# A comment, a string or a character constant.
LEXEME = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def walk(places=PLACES, suffixes=('.c', '.h')):
    """The files below *places* that end in one of *suffixes* ('' is every file), as paths below the root, sorted."""
    found = []
    for place in places:
        for directory, subdirectories, names in os.walk(ROOT / place):
            subdirectories[:] = [d for d in subdirectories if d != '__pycache__']
            found += [pathlib.Path(directory, n).relative_to(ROOT) for n in names if n.endswith(tuple(suffixes))]
    return sorted(found)


def read(path):
    return (ROOT / path).read_text(encoding='utf-8')


def _blank(match):
    # Lines stay where they are, and a string stays a string.
    text = match.group(0)
    if text[0] == '/':
        return re.sub(r'[^\n]', ' ', text)
    return text[0] + ' ' * (len(text) - 2) + text[-1]


def code(text):
    """*text* with comments and the insides of strings blanked; offsets stay valid."""
    return LEXEME.sub(_blank, text)


def line_of(text, offset):
    return text.count('\n', 0, offset) + 1


def quoted_includes(text):
    return [m.group(2) for m in INCLUDE.finditer(text) if m.group(1) == '"']


class Findings:
    """One line each; the exit code says whether there was any."""

    def __init__(self):
        self.count = 0

    def add(self, path, line, message):
        self.count += 1
        print(f'{path}:{line}: {message}' if line else f'{path}: {message}')

    def finish(self, checked, what):
        if not checked:
            self.add('.', 0, f'no {what} found')
        print(f'{checked} {what}, {self.count} findings')
        sys.exit(1 if self.count else 0)
