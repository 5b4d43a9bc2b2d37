#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Somebody else's OpAMP client, @elastic/opamp-client-node, as an agent of a real affixd."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

from fleet import Workshop, scratch, start, wait_for

PEER = pathlib.Path(__file__).with_name('peer.js')
MODULES = pathlib.Path(os.environ['AFFIX_BUILD']) / 'node-peer'
PACKAGE = '@elastic/opamp-client-node@0.5.0'


def install():
    """Why it cannot be had, or nothing."""
    for program in ('node', 'npm'):
        if not shutil.which(program):
            return f'{program} is not installed'
    if (MODULES / 'node_modules/@elastic/opamp-client-node/package.json').exists():
        return None
    MODULES.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(['npm', 'install', '--prefix', MODULES, '--no-audit', '--no-fund', '--ignore-scripts', PACKAGE],
                          capture_output=True, text=True, timeout=300)
    return f'{PACKAGE} could not be installed: {done.stderr[-500:]}' if done.returncode else None


class NodePeer(unittest.TestCase):
    def run_peer(self, server, authorization):
        peer = subprocess.Popen(['node', PEER, server.url, authorization], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True, env={**os.environ, 'NODE_PATH': str(MODULES / 'node_modules')})
        self.addCleanup(peer.stdout.close)
        self.addCleanup(peer.wait)
        self.addCleanup(peer.kill)
        return peer

    def test_it_enrols_reports_and_is_configured(self):
        server = start(self)
        workshop = Workshop(scratch(self))
        server.trust(workshop)
        server.publish(workshop.bundle())
        peer = self.run_peer(server, server.join_token())
        host = wait_for(lambda: server.api('GET', '/hosts?host=node-1')['items'], 20, 'the host')[0]
        self.assertEqual((host['labels'], host['os'], host['arch'], host['presence']),
                         ({'env': 'node'}, 'linux', 'amd64', 'connected'))
        first = json.loads(peer.stdout.readline())['config']
        self.assertEqual(first['affix'][0], 'application/json')
        server.api('POST', '/assignments', {'addon': 'sensor', 'version': '1.0.0', 'selector': 'env=node',
                                            'config': {'interval': 9}})
        second = json.loads(peer.stdout.readline())['config']
        # It takes no packages, so it gets their configuration only where affixd offers it to such hosts.
        self.assertIn('affix', second)
        wait_for(lambda: server.api('GET', '/hosts?host=node-1')['items'][0]['config_status'] == 'applied', 10,
                 'the word that it is applied')
        peer.stdin.close()
        self.assertEqual(json.loads(peer.stdout.readline()), {'end': True})


if __name__ == '__main__':
    reason = install()
    if reason:
        print(reason)
        sys.exit(77)
    sys.exit(unittest.main(verbosity=2))
