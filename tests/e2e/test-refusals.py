#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test-refusals.py archive | signature | unit | host: everything that affix refuses by name, with --root and through the
sockets of a booted host. Each name of src/ipc/refusal.c must have its cases, on both ways or with a reason why not."""

import importlib
import sys
import unittest

import fixture
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


class Names(unittest.TestCase):
    def test_every_refusal_has_a_case_on_both_ways_or_a_reason(self):
        tried = {way: set() for way in refusals.WAYS}
        for case in refusals.CASES:
            for way in case.ways:
                tried[way] |= set(case.names)
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
    for name in THEMES if theme is None else [theme]:
        for group, place in ((OnTree, refusals.Tree), (OnHost, refusals.Host)):
            for number, case in refusals.chosen(themes[name], place.way):
                add(group, place, number, case)
    unittest.main(module='__main__', verbosity=2)


if __name__ == '__main__':
    main()
