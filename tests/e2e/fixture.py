# SPDX-License-Identifier: Apache-2.0
"""What end-to-end tests are made of: keys, add-ons from the misbehaving daemon, signed bundles, results.

    work = fixture.Workshop()                       # a directory of its own with a key pair
    addon = work.addon('probe', '1.0.0', options='--notify', unit={'Service': {'Type': 'notify'}})
    bundle = work.bundle(addon)                     # built by `affix build`, signed by `affix sign`
    result = fixture.affix(['install', bundle, '--root', tree])

The daemon is tests/assets/daemon.c; its options say how it behaves. The manifest and the unit are plain dictionaries,
so that a test changes one key and leaves the rest alone.
"""

import copy
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get('AFFIX_BUILD', TOP / 'build')).resolve()
sys.path.insert(0, str(TOP / 'tests' / 'lib'))

AFFIX = BUILD / 'bin' / 'affix'
UPDATER = BUILD / 'bin' / 'affix-updater'
DAEMON = BUILD / 'tests' / 'assets' / 'affix-test-daemon'
ARCH = {'x86_64': 'amd64', 'aarch64': 'arm64'}[os.uname().machine]

SCHEMA = {
    '$schema': 'https://json-schema.org/draft/2020-12/schema',
    'type': 'object',
    'properties': {'secret': {'type': 'string', 'x-affix-local': True}, 'level': {'type': 'integer', 'minimum': 0}},
}


def run(command, check=True, **arguments):
    """A command on this machine; its output as text. Fails with what it printed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **arguments)
    if check and done.returncode != 0:
        raise AssertionError(f'{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}')
    return done


def affix(arguments, check=False, **more):
    return run([AFFIX, *arguments], check=check, **more)


class Addon:
    """The sources of an add-on, as dictionaries, until write() puts them into a directory."""

    def __init__(self, identifier, version, options='', supervision='systemd-service', timer=None):
        self.id, self.version, self.options = identifier, version, options
        self.manifest = {
            'id': identifier, 'name': identifier, 'version': version, 'kind': 'native',
            'delivery': 'pushed-artifact', 'supervision': supervision, 'capabilities': ['test'],
            'requires': {'base_agent': '>=0.1.0', 'platforms': ['linux'], 'os_capabilities': []},
            'exec': {'binary': identifier}, 'config_schema': 'config.schema.json',
            'health': {'window_seconds': 1},
        }
        service = {
            'Unit': {'Description': f'test {identifier}'},
            'Service': {
                'Type': 'exec', 'User': f'affix-{identifier}',
                'ExecStart': f'/opt/affix/{identifier}/current/{identifier}',
            },
            'Install': {'WantedBy': 'multi-user.target'},
        }
        self.units = {f'affix-{identifier}.service': service}
        if timer is not None:
            del service['Install']
            service['Service']['Type'] = 'oneshot'
            self.units[f'affix-{identifier}.timer'] = {
                'Timer': timer, 'Install': {'WantedBy': 'timers.target'}}
        self.schema = copy.deepcopy(SCHEMA)
        self.extra = {}

    @property
    def service(self):
        return self.units[f'affix-{self.id}.service']

    def write(self, directory):
        directory.mkdir(parents=True)
        # JSON is YAML.
        (directory / 'addon.yaml').write_text(json.dumps(self.manifest, indent=2) + '\n')
        (directory / 'config.schema.json').write_text(json.dumps(self.schema, indent=2) + '\n')
        for name, sections in self.units.items():
            (directory / name).write_text(sections if isinstance(sections, str) else unit_text(sections))
        for name, text in self.extra.items():
            (directory / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def unit_text(sections):
    text = ''
    for section, entries in sections.items():
        text += f'[{section}]\n'
        for key, values in entries.items():
            for value in values if isinstance(values, list) else [values]:
                text += f'{key}={value}\n'
        text += '\n'
    return text


class Workshop:
    """A directory with a key pair, in which bundles are made. Goes with the context."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix='affix-workshop-'))
        self.serial = 0
        self.created = 1_790_000_000
        self.public, self.secret = self.keygen('test')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def keygen(self, name):
        public, secret = self.path / f'{name}.pub', self.path / f'{name}.sec'
        affix(['keygen', '-W', '-p', public, '-s', secret], check=True)
        return public, secret

    def fresh(self, name):
        self.serial += 1
        return self.path / f'{self.serial:03}-{name}'

    def addon(self, identifier, version, options='', **arguments):
        return Addon(identifier, version, options, **arguments)

    def binary(self, addon):
        """A copy of the daemon that behaves as the add-on's options say."""
        path = self.fresh(addon.id)
        path.write_bytes(DAEMON.read_bytes() + f'\naffix-test-daemon {addon.version} {addon.options}'.rstrip().encode() + b'\n')
        path.chmod(0o755)
        return path

    def build(self, addon, arch=ARCH, binary=None, entries=()):
        """An unsigned bundle. Entries are further files, by path."""
        source, out = self.fresh(f'{addon.id}-source'), self.fresh(f'{addon.id}-out')
        addon.write(source)
        out.mkdir()
        more = [word for path in entries for word in ('--entry', path)]
        affix(['build', source, '--bin', f'linux/{arch}={binary or self.binary(addon)}', *more, '-o', out], check=True)
        return next(out.glob('*.tar.zst'))

    def sign(self, bundle, secret=None, arguments=(), created=None):
        """Signs; each signature is made a minute after the last one, unless `created` says otherwise."""
        self.created += 60
        affix(['sign', '-s', secret or self.secret, *arguments, bundle], check=True,
              env={**os.environ, 'SOURCE_DATE_EPOCH': str(created or self.created)})
        return bundle

    def bundle(self, addon, **arguments):
        sign = {key: arguments.pop(key) for key in ('secret', 'created') if key in arguments}
        return self.sign(self.build(addon, **arguments), **sign)

    def netprobe(self, version):
        """addons/netprobe as it is in the tree, but for its version and how long it is watched."""
        source, out = self.fresh('netprobe-source'), self.fresh('netprobe-out')
        shutil.copytree(TOP / 'addons/netprobe', source)
        manifest = source / 'addon.yaml'
        text = manifest.read_text().replace('\nversion: 0.1.0\n', f'\nversion: {version}\n')
        manifest.write_text(text.replace('window_seconds: 10', 'window_seconds: 2'))
        out.mkdir()
        affix(['build', source, '--bin', f"linux/{ARCH}={BUILD / 'src/netprobe/affix-netprobe'}", '-o', out], check=True)
        return self.sign(next(out.glob('*.tar.zst')))

    def tree(self):
        """A bare directory tree that trusts the key."""
        root = self.fresh('tree')
        trust = root / 'etc' / 'affix' / 'trust.d'
        trust.mkdir(parents=True)
        for directory in ('opt', 'usr', 'var/lib', 'etc/systemd/system'):
            (root / directory).mkdir(parents=True, exist_ok=True)
        (root / 'etc/passwd').write_text('root:x:0:0:root:/root:/bin/bash\n')
        (root / 'etc/group').write_text('root:x:0:\n')
        shutil.copy(self.public, trust / 'test.pub')
        (trust / 'test.pub').chmod(0o644)
        return root
