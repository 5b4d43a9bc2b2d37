# SPDX-License-Identifier: Apache-2.0
"""What is refused, on the two ways in which a request gets to affix: `--root DIR` on a bare tree, and the sockets of a
booted host. A case is a function that gets a place (`Tree` or `Host`), prepares it, asks, and says what must come:

    @case('downgrade', 'an older version than was installed')
    def older(place):
        place.installed('1.1.0')
        place.refuses('downgrade', 'install', place.bundle('1.0.0'))

`refuses` asserts all that a refusal is: outcome, name, exit code, one line on stderr that begins with the name, and that
nothing of the place is another than before. `only` names the one way on which the case exists.
"""

import contextlib
import copy
import ctypes
import dataclasses
import errno
import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import typing
import unicodedata

import agent
import fixture
import hostile

TREE, HOST = 'tree', 'host'
WAYS = (TREE, HOST)
# Names that one of the two ways cannot have, and why.
IMPOSSIBLE = {}
TRANSIENT = ('busy', 'timeout', 'no-manager', 'not-yet-valid')
# A sentence longer than this is not read.
SENTENCE_MAX = 420


@dataclasses.dataclass(frozen=True)
class Case:
    names: tuple
    title: str
    run: typing.Callable
    ways: tuple = WAYS
    dense: bool = False


CASES = []


def case(names, title, only=None, dense=False):
    """Registers a case for one name, or several separated by blanks. DENSE: one of many of its kind, of which a host,
    where each takes long, gets the first and a sample: what judges them is the same."""
    def register(function):
        CASES.append(Case(tuple(names.split()), title, function, (only,) if only else WAYS, dense))
        return function
    return register


def chosen(cases, way):
    """The cases of a list that are tried on a way, with their numbers."""
    seen = {}
    for number, case in enumerate(cases):
        if way not in case.ways:
            continue
        kind = (case.names, case.run.__name__)
        seen[kind] = seen.get(kind, -1) + 1
        if way == TREE or not case.dense or seen[kind] % 12 == 0:
            yield number, case


def source_names():
    """Every name there is, from the source."""
    text = (fixture.TOP / 'src' / 'ipc' / 'refusal.c').read_text()
    return [name for name in re.findall(r'\[REFUSAL_\w+\] = "([a-z-]+)"', text) if name != 'none']


def manual_names():
    """Every name that the manual lists under REFUSALS."""
    text = (fixture.TOP / 'man' / 'affix-updater.8.scd').read_text()
    section = re.search(r'^# REFUSALS$(.*?)^# ', text, re.M | re.S).group(1)
    return [name for line in re.findall(r'^(\*[a-z-]+\*(?:, \*[a-z-]+\*)*)$', section, re.M)
            for name in re.findall(r'\*([a-z-]+)\*', line)]


def private_mounts():
    """This process and its children see mounts of their own, which go with them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) != 0 or libc.mount(b'none', b'/', None, (1 << 14) | (1 << 18), None) != 0:
        raise OSError(ctypes.get_errno(), 'a mount namespace cannot be made')


def listing(root, tops):
    """What stands below some directories of a tree, in every respect but times. Tools of nobody are used."""
    found = {}
    for top in tops:
        for where, directories, names in os.walk(f'{root}{top}'):
            for path in (where, *(f'{where}/{name}' for name in itertools.chain(directories, names))):
                status = os.lstat(path)
                content = ''
                if (status.st_mode & 0o170000) == 0o120000:
                    content = os.readlink(path)
                elif (status.st_mode & 0o170000) == 0o100000:
                    content = digest(path)
                found[path[len(str(root)):]] = (oct(status.st_mode), status.st_uid, status.st_gid, content, extended(path))
    return found


def digest(path):
    try:
        return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    except OSError as error:
        return errno.errorcode[error.errno]


def extended(path):
    try:
        return [(name, os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False)]
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return []


def kept(found):
    """But for lock files, and the empty directories for them that the first request makes."""
    mine = re.compile(r'/*var/lib/affix(/updater(/locks(/.*)?)?)?$')
    return {path: what for path, what in found.items() if not mine.match(path) and path.rstrip('/') != '/var/lib'}


@dataclasses.dataclass
class Answer:
    result: dict
    code: int
    complaint: str


class Place:
    """One add-on's place: a tree or a host, an id that nobody else has, and what can be asked there."""

    serial = itertools.count(1)

    def __init__(self, test, work):
        self.test, self.work = test, work
        self.signer = hostile.Signer(work)
        self.id = f'c{next(self.serial)}'
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    # what is asked for

    def addon(self, version='1.0.0', options='', **arguments):
        return self.work.addon(self.id, version, options, **arguments)

    def bundle(self, version='1.0.0', /, addon=None, data=None, **how):
        """A bundle made by hand, good unless said otherwise."""
        return self.signer.write(addon or self.addon(version), data, **how)

    def installed(self, version='1.0.0', /, addon=None, created=None, **how):
        """Makes the place one on which a version runs. Its bundle."""
        bundle = self.work.bundle(addon or self.addon(version), created=created)
        if how:
            self.signer.sign(bundle, addon or self.addon(version), **how)
        answer = self.ask('install', bundle)
        self.test.assertEqual((answer.result['outcome'], answer.code), ('done', 0), answer)
        return bundle

    def some(self, items):
        """All of many alike, or as many as a host, where each takes long, has time for."""
        return items if self.way == TREE else items[::4]

    # what is there

    def file(self, inside, content='', mode=0o644):
        """A file of the place, until the case ends."""
        path = self.path(inside)
        old = path.read_bytes() if path.is_file() else None
        self.directory(os.path.dirname(inside))
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        self.stack.callback(lambda: path.write_bytes(old) if old is not None else path.unlink(missing_ok=True))
        return path

    def directory(self, inside):
        """A directory of the place, until the case ends."""
        path = self.path(inside)
        missing = [parent for parent in (path, *path.parents) if not parent.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for parent in reversed(missing):
            self.stack.callback(shutil.rmtree, parent, True)
        return path

    def link(self, inside, target):
        path = self.path(inside)
        self.directory(os.path.dirname(inside))
        path.symlink_to(target)
        self.stack.callback(path.unlink, True)
        return path

    def moved(self, inside):
        """Takes something away until the case ends. Where it is meanwhile."""
        path, aside = self.path(inside), self.path(f'{inside}.aside')
        path.rename(aside)
        self.stack.callback(lambda: aside.rename(path))
        return aside

    def attribute(self, inside, mode=None, uid=None):
        """Another mode or owner, until the case ends."""
        path = self.path(inside)
        old = path.stat()
        if mode is not None:
            path.chmod(mode)
        if uid is not None:
            os.chown(path, uid, -1)
        self.stack.callback(lambda: (os.chown(path, old.st_uid, old.st_gid), path.chmod(old.st_mode & 0o7777)))

    def policy(self, text):
        """The host's policy, until the case ends."""
        return self.file('/etc/affix/updater.yaml', text)

    def record(self):
        return self.path(f'/var/lib/affix/updater/{self.id}.json')

    def edit_record(self, change):
        """What an operation that went another way would have written."""
        record = json.loads(self.record().read_text())
        change(record)
        self.record().write_text(json.dumps(record))

    # what must come

    def refuses(self, names, verb, *words, **how):
        """NAMES: the name that must come; several separated by blanks, where it is not the point which of them."""
        names = names.split()
        before = self.state()
        answer = self.ask(verb, *words, **how)
        after = self.state()
        result = answer.result
        self.test.assertEqual(result['outcome'], 'refused', answer)
        self.test.assertIn(result['name'], names, answer)
        self.test.assertEqual(answer.code, 4 if result['name'] in TRANSIENT else 1, answer)
        self.check_sentence(result, answer.complaint)
        self.check_unchanged(before, after)
        return result

    def check_unchanged(self, before, after):
        changed = {path: (before.get(path), after.get(path)) for path in {*before, *after} if before.get(path) != after.get(path)}
        self.test.assertEqual(changed, {})

    def check_sentence(self, result, complaint):
        """One line, that begins with the name and can be read by people."""
        name, message = result['name'], result['message']
        if complaint is not None:
            self.test.assertTrue(complaint.startswith(f'{name}: '), complaint)
            self.test.assertEqual(complaint, f'{name}: {message}\n')
        hidden = [c for c in message if unicodedata.category(c) in ('Cc', 'Cf', 'Cs', 'Co', 'Zl', 'Zp')]
        self.test.assertTrue(message and not hidden, repr(message))
        self.test.assertLessEqual(len(message), SENTENCE_MAX, message)
        self.test.assertNotIn('(null)', message)
        if os.environ.get('AFFIX_SHOW_REFUSALS'):
            with open(os.environ['AFFIX_SHOW_REFUSALS'], 'a') as log:
                print(f'{name}: {message}', file=log)


class Tree(Place):
    way = TREE

    def __init__(self, test, work):
        super().__init__(test, work)
        self.root = work.tree()
        self.stack.callback(shutil.rmtree, self.root, True)

    def path(self, inside):
        return pathlib.Path(f'{self.root}{inside}')

    def state(self):
        return kept(listing(self.root, ('/',)))

    def ask(self, verb, *words, as_admin=False):
        done = fixture.affix([verb, *words, '--root', self.root, '--json'])
        return Answer(json.loads(done.stdout), done.returncode, done.stderr)


class Host(Place):
    way = HOST
    # Nobody's home, readable by all.
    INBOX = '/srv/inbox'

    def __init__(self, test, work):
        super().__init__(test, work)
        self.host = test.host
        self.base = test.base
        self.path(self.INBOX).mkdir(parents=True, exist_ok=True)

    def path(self, inside):
        return pathlib.Path(f'{self.base}{inside}')

    def send(self, word):
        """Files go into the host, with their signatures beside them; other words stay what they are."""
        if not isinstance(word, os.PathLike):
            return word
        inside = f'{self.INBOX}/{word.name}'
        for source, target in ((word, inside), (f'{word}.minisig', f'{inside}.minisig')):
            if os.path.exists(source):
                shutil.copyfile(source, self.path(target))
                os.chmod(self.path(target), 0o644)
                self.stack.callback(self.path(target).unlink, True)
        return inside

    def state(self):
        units = self.host.run(['systemctl', 'list-units', '--all', '--plain', '--no-legend', 'affix-c*']).stdout
        return kept(listing(self.base, ('/opt', '/etc', '/var/lib/affix/updater'))) | {'units': units}

    def ask(self, verb, *words, as_admin=False):
        """Over the fleet's socket as its user, or over the administrator's."""
        done = self.host.run(['affix', verb, *(self.send(word) for word in words), '--json'], user=None if as_admin else 'affix')
        return Answer(json.loads(done.stdout), done.returncode, done.stderr)

    def refuses_message(self, names, message, descriptors=()):
        """The same for a message that `affix` would not send."""
        before = self.state()
        reply = self.agent().ask(message, descriptors)
        self.test.assertIsNotNone(reply, 'no answer')
        self.test.assertEqual(reply['outcome'], 'refused', reply)
        self.test.assertIn(reply['name'], names.split(), reply)
        self.check_sentence(reply, None)
        self.check_unchanged(before, self.state())
        return reply

    def agent(self):
        mallory = agent.Agent(self.host)
        self.stack.callback(os.close, mallory.directory)
        return mallory


def examine(place, bundle, names):
    """`affix verify` and `affix inspect` say the same, or at least end by themselves."""
    if place.way == HOST:
        return
    for command in (['verify', '-p', place.work.public, bundle], ['inspect', bundle]):
        done = fixture.affix(command)
        place.test.assertIn(done.returncode, (0, 1), done)
        if names:
            place.test.assertEqual(done.returncode, 1, done)
            place.test.assertIn(done.stderr.split(':')[0], names.split(), done)
