# SPDX-License-Identifier: Apache-2.0
"""A fleet for tests: affixd on one side, scratch hosts with agents on the other, one switch between them.

    class Case(fleet_hosts.Case):
        labels = {'web-1': {'role': 'web'}}               # hosts, booted once per class

        def test_…(self):
            self.fleet.publish(self.addon('probe', '1.0.0'))   # built, signed, imported, approved
            self.fleet.assign('probe', '1.0.0', '--selector', 'role=web')
            self.wait('web-1', 'probe', state='running', running='1.0.0')

The switch and affixd are in a network namespace that the test made, each host in one of its own: nothing leads out of
them, and all of it ends with the test. A wait is for a condition; its limit only says when a test has failed.
"""

import concurrent.futures
import contextlib
import json
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

import fixture
import host

COMPARE = fixture.TOP / 'tests' / 'fleet' / 'compare'
AFFIXD = fixture.BUILD / 'src' / 'control' / 'affixd'
ADDRESS = '10.213.0.1'
PORT = 4320
LONG = 180

AFFIXD_SETTINGS = '''
heartbeat_seconds: 5
poll_seconds: 1
stale_seconds: {stale}
'''
AGENT_SETTINGS = '''
server: {server}
labels: {labels}
intervals: {{heartbeat_seconds: 2, status_seconds: 1, drift_seconds: 1, reconnect_max_seconds: 1}}
removal: {{delay_seconds: {removal}, mass_seconds: 600}}
'''


def unavailable():
    reason = host.unavailable()
    if reason:
        return reason
    for program in ('ip', 'unshare', 'setpriv'):
        if shutil.which(program) is None:
            return f'{program} is not installed'
    return None


def until(condition, what, seconds=LONG, pause=0.2):
    """What the condition returned once it held. It is asked again after each *pause*."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'{what() if callable(what) else what}: not in {seconds} s')
        time.sleep(pause)


class Namespace:
    """A network namespace that lives as long as this object, or the test."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ['unshare', '--net', 'sh', '-c', 'ip link set lo up && echo; exec cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        self.path = f'/proc/{self.holder.pid}/ns/net'

    def close(self):
        self.holder.stdin.close()
        self.holder.wait()
        self.holder.stdout.close()

    def command(self, words):
        return ['nsenter', f'--net={self.path}', '--', *map(str, words)]

    def ip(self, *words):
        fixture.run(self.command(['ip', *words]))


class FleetHost(host.Host):
    """A scratch host whose agent knows the fleet."""

    def __init__(self, name, number, switch, tree=None):
        super().__init__(tree=tree)
        self.name, self.number, self.switch = name, number, switch
        self.port = f'port{number}'
        self.network = Namespace()
        switch.ip('link', 'add', self.port, 'type', 'veth', 'peer', 'name', 'host0', 'netns', str(self.network.holder.pid))
        switch.ip('link', 'set', self.port, 'master', 'switch', 'up')
        self.network.ip('address', 'add', f'10.213.0.{number + 10}/24', 'dev', 'host0')
        self.network.ip('link', 'set', 'host0', 'up')

    def boot(self, **arguments):
        super().boot(arguments=[f'--hostname={self.name}'], network=self.network.path, **arguments)

    def cable(self, is_in):
        """Pulls the host's cable, or puts it back."""
        self.switch.ip('link', 'set', self.port, 'up' if is_in else 'down')

    def affix(self, *words):
        """What `affix … --json` printed on the host."""
        done = self.run(['affix', *words, '--json'])
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            raise AssertionError(f'affix {words} on {self.name}: {done.stdout}{done.stderr}') from error

    def status(self, identifier):
        result = self.affix('status', identifier)
        return result['data']['addons'][0] if result['outcome'] == 'done' else None

    def executable(self, identifier):
        """The path of what runs for an add-on, or None."""
        pid = self.run(['systemctl', 'show', '-P', 'MainPID', f'affix-{identifier}.service']).stdout.strip()
        if pid in ('', '0'):
            return None
        return self.run(['readlink', f'/proc/{pid}/exe']).stdout.strip() or None

    def log(self, lines=60):
        return self.run(['journalctl', '-q', '--no-pager', '-n', str(lines), '-u', 'affix-agent', '-u', 'affix-updater@*']).stdout

    def close(self):
        super().close()
        self.network.close()


class Fleet:
    """See the module."""

    def __init__(self, stale=12, is_secure=False, transport='auto'):
        self.is_secure, self.transport = is_secure, transport
        self.url = f"{'https' if is_secure else 'http'}://{ADDRESS}:{PORT}"
        self.work = fixture.Workshop()
        self.data = pathlib.Path(tempfile.mkdtemp(prefix='affix-fleet-'))
        self.log_path = self.data.with_suffix('.log')
        self.switch = Namespace()
        self.switch.ip('link', 'add', 'switch', 'type', 'bridge')
        self.switch.ip('address', 'add', f'{ADDRESS}/24', 'dev', 'switch')
        self.switch.ip('link', 'set', 'switch', 'up')
        self.affixd = None
        self.hosts = []
        (self.data / 'trust.d').mkdir(mode=0o755)
        shutil.copy(self.work.public, self.data / 'trust.d' / 'test.pub')
        settings = AFFIXD_SETTINGS.format(stale=stale)
        if is_secure:
            self.certificate, key = self.data / 'server.pem', self.data / 'server.key'
            fixture.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
                         '-subj', '/CN=affixd', '-addext', f'subjectAltName=IP:{ADDRESS}', '-keyout', key, '-out', self.certificate])
            settings += f'tls_certificate: {self.certificate}\ntls_key: {key}\n'
        (self.data / 'affixd.yaml').write_text(settings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda one: one.close(), self.hosts))
        if self.affixd:
            self.stop()
        self.switch.close()
        self.work.close()
        shutil.rmtree(self.data, ignore_errors=True)
        self.log_path.unlink(missing_ok=True)

    # affixd

    def start(self):
        with open(self.log_path, 'ab') as log:
            self.affixd = subprocess.Popen(
                self.switch.command(['setpriv', '--pdeathsig', 'KILL', '--', AFFIXD, 'serve', '--data', self.data,
                                     '--config', self.data / 'affixd.yaml', '--listen', f'{ADDRESS}:{PORT}']),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self.answers, lambda: f'affixd does not answer:\n{self.log()}', 60)

    def answers(self):
        """affixd does, to the administrator."""
        if self.affixd.poll() is not None:
            raise AssertionError(f'affixd ended with {self.affixd.returncode}:\n{self.log()}')
        return (self.data / 'admin-token').exists() and self.try_cli('hosts').returncode == 0

    def stop(self):
        self.affixd.send_signal(signal.SIGTERM)
        code = self.affixd.wait(60)
        self.affixd = None
        return code

    def kill(self):
        """affixd gone, in the middle of whatever it does."""
        self.affixd.kill()
        self.affixd.wait()
        self.affixd = None

    def log(self):
        return self.log_path.read_text(errors='replace')[-8000:]

    # the operator

    def command(self, words):
        trust = ['--ca', self.certificate] if self.is_secure else []
        return self.switch.command(
            [fixture.AFFIX, 'fleet', '--server', self.url, *trust, '--token-file', self.data / 'admin-token', *words])

    def try_cli(self, *words):
        return fixture.run(self.command(words), check=False)

    def cli(self, *words):
        return fixture.run(self.command(words)).stdout

    def json(self, *words):
        return json.loads(self.cli(*words, '--json'))

    def items(self, *words):
        return self.json(*words)['items']

    def compare(self):
        """What tests/fleet/compare says of affixd and the hosts that run."""
        trust = ['--ca', self.certificate] if self.is_secure else []
        pids = [f'{one.name}={one.leader}' for one in self.hosts if one.is_running]
        return fixture.run(self.switch.command([COMPARE, '--server', self.url, *trust, '--data', self.data, *pids]), check=False)

    def rollout_hosts(self, rollout):
        """How each host of a rollout fared, from the database: no command prints it."""
        with contextlib.closing(sqlite3.connect(f'file:{self.data}/affixd.db?mode=ro', uri=True)) as database:
            return database.execute('SELECT h.name, r.wave, r.outcome, r.reason FROM rollout_host r JOIN host h ON h.id = r.host '
                                    'WHERE r.rollout = ?', [rollout]).fetchall()

    def join_token(self, name='test'):
        return self.json('token', 'create', name)['token']

    def publish(self, addon):
        """Builds, signs, imports and approves; the bundle's path."""
        bundle = self.work.bundle(addon)
        self.cli('import', bundle)
        self.cli('approve', addon.id, addon.version)
        return bundle

    def assign(self, *words):
        """The assignment's number."""
        return self.json('assign', *words)['id']

    # the hosts

    def make_hosts(self, names):
        """A host for each name, with affix and the key, that knows no server yet and does not run; all at once."""
        first, staged = len(self.hosts) + 1, self.work.fresh('installed')

        def make(number, name):
            one = FleetHost(name, number, self.switch)
            self.hosts.append(one)
            return one

        with concurrent.futures.ThreadPoolExecutor() as pool:
            installed = pool.submit(host.install_into, staged)
            made = list(pool.map(make, range(first, first + len(names)), names))
            installed.result()
        self.hosts.sort(key=lambda one: one.number)
        for one in made:
            fixture.run(['cp', '-a', f'{staged}/.', one.root])
            one.put(self.work.public, '/etc/affix/trust.d/test.pub', mode=0o644)
        return made

    def add_hosts(self, labels, removal=3, made=None):
        """Boots a host per name, all at once: {name: {label: value}}; returns them by name. MADE: what make_hosts() made of the names."""
        token = self.join_token('hosts')
        made = made or self.make_hosts(labels)
        server = {'url': self.url, 'transport': self.transport, 'token_file': '/etc/affix/join-token'}
        if self.is_secure:
            server['ca_file'] = '/etc/affix/fleet.pem'
        else:
            server['plaintext'] = True
        for one in made:
            if self.is_secure:
                one.put(self.certificate, '/etc/affix/fleet.pem', mode=0o644)
            one.write('/etc/affix/agent.yaml', AGENT_SETTINGS.format(
                server=json.dumps(server), labels=json.dumps(labels[one.name]), removal=removal))
            one.write('/etc/affix/join-token', token + '\n')
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda one: one.boot(timeout=LONG), made))
        return {one.name: one for one in made}


class Case(unittest.TestCase):
    """Hosts, an affixd and what tests ask of them. After each test the fleet is compared with what affixd says of it."""

    labels = {}
    options = {}
    removal = 3

    @classmethod
    def setUpClass(cls):
        reason = unavailable()
        if reason:
            print(reason, file=sys.stderr)
            raise SystemExit(host.SKIP)
        cls.fleet = Fleet(**cls.options)
        cls.addClassCleanup(cls.fleet.close)
        cls.fleet.start()
        cls.hosts = cls.fleet.add_hosts(cls.labels, cls.removal)
        until(lambda: sorted(item['name'] for item in cls.fleet.items('hosts', '--presence', 'connected')) == sorted(cls.labels),
              lambda: f"not all hosts came: {cls.fleet.cli('hosts')}{[one.log() for one in cls.hosts.values()]}")

    def tearDown(self):
        self.assertComparable()

    def addon(self, identifier, version, options='', window=1):
        addon = self.fleet.work.addon(identifier, version, options)
        addon.manifest['health']['window_seconds'] = window
        return addon

    def status(self, name, identifier):
        """What affixd says of an add-on on a host, or None."""
        items = self.fleet.items('status', '--host', name, '--addon', identifier)
        return items[0] if items else None

    def wait(self, names, identifier, **wanted):
        """Waits until affixd says so of all hosts; `drift` means that it names this kind."""
        def is_so(item):
            return item is not None and all(
                value in item['drift'] if key == 'drift' else item[key] == value for key, value in wanted.items())
        found = {}
        def all_are():
            found.update({name: self.status(name, identifier) for name in names})
            return all(map(is_so, found.values()))
        names = [names] if isinstance(names, str) else names
        until(all_are, lambda: f'{wanted}, but {found}\n' + '\n'.join(self.hosts[name].log() for name in names))
        return found[names[0]]

    def wait_gone(self, names, identifier):
        """Waits until nothing of an add-on is left on the hosts, and affixd knows that."""
        for name in [names] if isinstance(names, str) else names:
            until(lambda one=self.hosts[name]: not one.path(f'/opt/affix/{identifier}').exists(),
                  lambda one=self.hosts[name]: f'{identifier} stayed on {one.name}:\n{one.log()}')
            until(lambda name=name: (self.status(name, identifier) or {'running': None})['running'] is None,
                  f'affixd was not told that {identifier} is gone from {name}')

    def cycles(self, name, count=2):
        """Waits until the agent has looked at its host that often: the first look may have begun before, those after it have not."""
        def looked():
            return self.hosts[name].log(100000).count('drift: done')
        before = looked()
        until(lambda: looked() >= before + count, 'the agent does not look at its host any more')

    def assertRuns(self, names, identifier, version):
        for name in [names] if isinstance(names, str) else names:
            self.assertEqual(self.hosts[name].executable(identifier), f'/opt/affix/{identifier}/versions/{version}/{identifier}', name)

    def assertComparable(self):
        """The fleet comes to rest in a state in which all witnesses agree."""
        said = []
        def agree():
            done = self.fleet.compare()
            said[:] = [done.stdout + done.stderr]
            return done.returncode == 0
        until(agree, lambda: f'affixd and its hosts differ:\n{said[0]}{self.fleet.log()}', 60)
