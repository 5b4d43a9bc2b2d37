#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test-refusals.py archive | signature | unit | host: everything that affix refuses by name, with --root and through the
sockets of a booted host. Each name of src/ipc/refusal.c must have its cases, on both ways or with a reason why not."""

import importlib
import subprocess
import sys
import unittest

import fixture
import hostile
import live
import refusals

THEMES = ('archive', 'signature', 'unit', 'host')


class OnTree(unittest.TestCase):
    """Every case of the theme on a bare tree of its own."""

    @classmethod
    def setUpClass(cls):
        cls.work = fixture.Workshop()
        cls.addClassCleanup(cls.work.close)


class OnHost(live.Case):
    """Every case of the theme on one booted host."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.base = f'/proc/{cls.host.leader}/root'


def add(group, place, number, case):
    def test(self):
        with place(self, self.work) as there:
            case.run(there)
    test.__doc__ = f'{" ".join(case.names)}: {case.title}'
    setattr(group, f'test_{number:03}_{case.names[0].replace("-", "_")}', test)


class Harmless(unittest.TestCase):
    """What a bundle made by hand may have, and that it has no effect: so a refusal elsewhere has its own reason."""

    def setUp(self):
        self.work = fixture.Workshop()
        self.addCleanup(self.work.close)

    def installed(self, place, files):
        """The place once it has a bundle of these files or of this archive."""
        archive = files if isinstance(files, bytes) else hostile.tar(files)
        answer = place.ask('install', place.bundle(data=hostile.zstd(archive)))
        self.assertEqual((answer.result['outcome'], answer.code), ('done', 0), answer)
        return place.path(f'/opt/affix/{place.id}/current')

    def test_a_bundle_made_by_hand_is_as_good_as_a_built_one(self):
        for compress in (hostile.zstd, hostile.gz):
            with refusals.Tree(self, self.work) as place:
                bundle = place.bundle(data=compress(hostile.tar(hostile.files(place.addon()))))
                self.assertEqual(place.ask('install', bundle).code, 0)

    def test_modes_owners_and_times_of_headers_are_nobodys(self):
        with refusals.Tree(self, self.work) as place:
            parts = [hostile.entry(name, data, mode=0o6777, uid=1000) for name, data in hostile.files(place.addon()).items()]
            version = self.installed(place, parts)
            for path in version.iterdir():
                wanted = 0o755 if path.name == place.id else 0o644
                self.assertEqual((path.stat().st_mode & 0o7777, path.stat().st_uid), (wanted, 0), path)

    def test_units_of_types_that_an_addon_may_not_have_are_data(self):
        with refusals.Tree(self, self.work) as place:
            addon = place.addon()
            addon.extra = {f'affix-{place.id}.{suffix}': '[Unit]\n' for suffix in ('socket', 'path', 'mount', 'target', 'slice')}
            self.installed(place, hostile.files(addon))
            units = [path.name for path in place.path('/etc').rglob('affix-*') if not path.is_dir()]
            self.assertEqual(sorted({name.rpartition('.')[2] for name in units}), ['conf', 'service'])

    def test_64_entries_and_long_padding_are_within_the_limits(self):
        with refusals.Tree(self, self.work) as place:
            files = hostile.files(place.addon())
            version = self.installed(place, hostile.tar({**files, **{f'd{i:03}': b'' for i in range(64 - len(files))}}, end=bytes(8192)))
            self.assertEqual(len(list(version.iterdir())), 64)

    def test_the_callers_surroundings_have_no_influence(self):
        bundle = self.work.bundle(self.work.addon('calm', '1.0.0'))
        trees = []
        for words in ('', 'umask 0777;', 'umask 0;', 'exec <&- 2>&-;', 'exec <&- >&- 2>&-;', 'cd /proc/self/fd;',
                      'export PATH=/nowhere TZ=../x LC_ALL=tr_TR TMPDIR=/nowhere HOME=/nowhere;', 'exec 5</etc/passwd 6>/dev/null;'):
            tree = self.work.tree()
            subprocess.run(['/bin/bash', '-c', f'{words} {fixture.AFFIX} install {bundle} --root {tree}'], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False)
            trees.append(fixture.run([fixture.TOP / 'tests/lib/tree-list', '--affix', tree]).stdout)
        self.assertEqual(set(trees), {trees[0]})


class Names(unittest.TestCase):
    def test_every_refusal_has_a_case_on_both_ways_or_a_reason(self):
        tried = {way: set() for way in refusals.WAYS}
        for case in refusals.CASES:
            # One that leaves open which name comes shows none.
            for way in case.ways if len(case.names) == 1 else ():
                tried[way].add(case.names[0])
        for name in refusals.source_names():
            for way in refusals.WAYS:
                with self.subTest(name, way=way):
                    excused = (name, way) in refusals.IMPOSSIBLE
                    self.assertNotEqual(name in tried[way], excused)

    def test_the_manual_lists_every_refusal_and_no_other(self):
        self.assertEqual(sorted(refusals.manual_names()), sorted(refusals.source_names()))


def main():
    theme = sys.argv.pop(1) if sys.argv[1:2] and sys.argv[1] in THEMES else None
    refusals.private_mounts()
    themes = {}
    for name in THEMES:
        before = len(refusals.CASES)
        importlib.import_module(f'refusals_{name}')
        themes[name] = refusals.CASES[before:]
    if theme not in (None, THEMES[0]):
        del globals()['Harmless']
    for name in THEMES if theme is None else [theme]:
        for group, place in ((OnTree, refusals.Tree), (OnHost, refusals.Host)):
            for number, case in refusals.chosen(themes[name], place.way):
                add(group, place, number, case)
    unittest.main(module='__main__', verbosity=2)


if __name__ == '__main__':
    main()
