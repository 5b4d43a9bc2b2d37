# SPDX-License-Identifier: Apache-2.0
"""A host of a fleet: the real agent with an updater made for tests."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys

from fleet import scratch

sys.path.insert(0, str(pathlib.Path(os.environ['AFFIX_SOURCE']) / 'tests' / 'agent'))
import fake_updater  # noqa: E402

AGENT = pathlib.Path(os.environ['AFFIX_BUILD']) / 'src/agent/affix-agent'


class Host:
    """One agent with a state and an updater of its own."""

    def __init__(self, case, server, name, versions, transport=None, way=None, environment=None, **labels):
        """*way*: settings of the server instead of the usual; *environment*: the agent's, beside ours."""
        self.directory = scratch(case)
        self.name = name
        self.versions = versions  # SHA-256 of a bundle: its version
        (self.directory / 'state').mkdir()
        (self.directory / 'token').write_text(server.join_token().split()[1] + '\n')
        self.updater = fake_updater.Updater(self.directory / 'updater.sock')
        self.updater.answers['install'] = self.install
        self.updater.__enter__()
        case.addCleanup(self.updater.__exit__)
        settings = {
            'server': {'url': server.url + '/v1/opamp', 'token_file': str(self.directory / 'token')},
            'labels': labels,
            'intervals': {'heartbeat_seconds': 1, 'status_seconds': 1, 'drift_seconds': 1, 'reconnect_max_seconds': 1},
            'removal': {'delay_seconds': 1, 'mass_seconds': 60},
            'downloads': {'keep_free_bytes': 0},
        }
        settings['server'].update(way or {})
        if transport:
            settings['server']['transport'] = transport
        (self.directory / 'agent.yaml').write_text(json.dumps(settings))
        self.environment = environment or {}
        self.process = None
        case.addCleanup(self.stop)
        self.start()

    def start(self):
        with open(self.directory / 'log', 'ab') as log:
            self.process = subprocess.Popen(
                [AGENT, '--config', self.directory / 'agent.yaml', '--state', self.directory / 'state', '--overrides',
                 self.directory / 'addons.local.json', '--updater', self.updater.path], stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment})

    def stop(self, number=signal.SIGKILL):
        if self.process:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def log(self):
        return (self.directory / 'log').read_text()

    def install(self, request, files):
        version = self.versions[hashlib.sha256(files['bundle']).hexdigest()]
        plan = self.updater.plan_of(request, files)
        self.updater.put(request['id'], version, plan)
        return {'plan': plan, 'version': version}
