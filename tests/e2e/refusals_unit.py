# SPDX-License-Identifier: Apache-2.0
"""Refusals: what manifest, schema and units of a well-formed, well-signed bundle may not say."""

import json

import fixture
import hostile
from refusals import TREE, case, examine


def tried(place, names, addon, **how):
    """Refused where it arrives, and nothing is built of it where it is made."""
    bundle = place.bundle(addon=addon)
    place.refuses(names, 'install', bundle, **how)
    examine(place, bundle, names if names in ('bad-manifest', 'bad-schema') else None)
    if place.way != TREE or any(isinstance(content, bytes) for content in (addon.manifest, *addon.units.values())):
        return
    source, out, program = (place.work.fresh(name) for name in ('source', 'out', 'program'))
    source.mkdir()
    for name, data in hostile.files(addon).items():
        if name != addon.id:
            (source / name).write_bytes(data)
    out.mkdir()
    program.write_bytes(hostile.elf())
    done = fixture.affix(['build', source, '--bin', f'linux/{fixture.ARCH}={program}', '-o', out])
    place.test.assertIn(done.returncode, (0, 1), done)
    # What the host forbids is not the author's to know.
    if not set(names.split()) <= {'capability-not-allowed', 'user-not-allowed', 'unsupported'}:
        place.test.assertEqual((done.returncode, list(out.iterdir())), (1, []), done)


# --- the manifest ---------------------------------------------------------------------------------


def manifest(title, change, names='bad-manifest'):
    """CHANGE edits the dictionary, or returns what stands there in its stead."""
    @case(names, f'a manifest {title}', dense=True)
    def refuse(place):
        addon = place.addon()
        text = change(addon.manifest)
        if isinstance(text, (str, bytes)):
            addon.manifest = text
        tried(place, names, addon)


def put(path, value):
    """Sets a member of a member."""
    def change(manifest):
        *parents, last = path.split('.')
        for parent in parents:
            manifest = manifest.setdefault(parent, {})
        manifest[last] = value
    return change


for path, value in (
    ('unknown', 1), ('Id', 'x'), ('requires.unknown', []), ('exec.command', 'x'), ('health.retries', 1), ('resources.cpu', 1),
    ('id', '../x'), ('id', 'updater'), ('id', 'updater-x'), ('id', 'agent'), ('id', 'current'), ('id', 'versions'), ('id', 'UPPER'), ('id', ''),
    ('id', 'a--b'), ('id', '-a'), ('id', 'a_b'), ('id', 'a' * 26), ('id', 'é'), ('id', 7), ('id', ['x']), ('id', None),
    ('version', '1.0'), ('version', 'v1.0.0'), ('version', '1.0.0/..'), ('version', '..'), ('version', 'stable'), ('version', 1.0),
    ('version', '1.0.0-' + 'a' * 60), ('version', '1.0.0\n'), ('name', 'a\nb'), ('name', 'a\x1b[31m'), ('name', 'x' * 129), ('name', ''),
    ('kind', 'wasm'), ('delivery', 'carrier-pigeon'), ('supervision', 'systemd'), ('supervision', 'cron'), ('capabilities', []),
    ('capabilities', 'x'), ('capabilities', ['a b']), ('requires.base_agent', 'newest'), ('requires.base_agent', ''),
    ('requires.platforms', []), ('requires.platforms', ['plan9']), ('requires.os_capabilities', ['cap_everything']),
    ('requires.os_capabilities', ['all']), ('requires.os_capabilities', ['=ep']), ('requires.os_capabilities', ['0x3fffffffff']),
    ('requires.os_capabilities', ['cap_net_raw+eip']), ('requires.os_capabilities', ['cap_net_raw,cap_sys_ptrace']),
    ('requires.os_capabilities', ['cap_net_raw', 'CAP_NET_RAW']), ('requires.run_as', 'a b'), ('requires.run_as', '0'), ('requires.run_as', '../x'),
    ('requires.run_as', '-x'), ('exec.binary', '../x'), ('exec.binary', '/bin/sh'), ('exec.binary', ''), ('exec.binary', '-x'),
    ('exec.binary', '.x'), ('exec.binary', 'addon.yaml'), ('exec.file_capabilities', 'yes'), ('config_schema', '../schema.json'),
    ('config_schema', 'schema.yaml'), ('config_schema', '/etc/passwd'), ('state_dirs', ['/etc']), ('state_dirs', ['/var/lib/affix/updater']),
    ('state_dirs', ['/var/lib/affix/../x']), ('state_dirs', ['/opt/affix/x']), ('state_dirs', ['relative']), ('state_dirs', ['/']),
    ('resources.memory_max_bytes', -1), ('resources.memory_max_bytes', 1.5), ('resources.memory_max_bytes', '64M'),
    ('resources.memory_max_bytes', 1 << 64), ('resources.tasks_max', 0), ('resources.slice', 'a/b.slice'), ('resources.slice', 'a\n.slice'),
    *(('resources.slice', f'{name}.slice') for name in ('a+b', 'a--b', 'a-', 'user-0', 'machine')),
    ('resources.slice', 'x.service'), ('resources', {'memory_high_bytes': 2 << 20, 'memory_max_bytes': 1 << 20}),
    ('health.window_seconds', 0), ('health.window_seconds', 901), ('health.window_seconds', -1), ('health.max_restarts', 101),
    ('health.ready_socket', '/run/other/socket'), ('health.ready_socket', '/run/affix/updater.sock'), ('health.ready_socket', 'ready.sock'),
    ('health.run_once', True), ('ipc', 'no protocol'), ('ipc', 'x/0'),
):
    manifest(f'in which {path} is {value!r}', put(path, value), 'bad-manifest identity-mismatch' if path == 'id' else 'bad-manifest')

for key in ('id', 'name', 'version', 'kind', 'delivery', 'supervision', 'capabilities', 'requires', 'exec', 'config_schema'):
    manifest(f'without {key}', lambda manifest, key=key: manifest.pop(key) and None)

for title, change in {
    'that is empty': lambda manifest: '',
    'that is a list': lambda manifest: '[]',
    'that is a word': lambda manifest: 'hello',
    'with a key twice': lambda manifest: json.dumps(manifest)[:-1] + ', "name": "again"}',
    'with a key of a member twice': lambda manifest: json.dumps(manifest).replace('"binary"', '"binary": "x", "binary"'),
    'with an anchor': lambda manifest: json.dumps({**manifest, 'name': 'X'}).replace('"X"', '&a "X"'),
    'with an alias': lambda manifest: json.dumps({**manifest, 'name': 'X'}).replace('"X"', '*a'),
    'with aliases that grow': lambda manifest: 'a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n',
    'with a tag': lambda manifest: json.dumps({**manifest, 'name': 'X'}).replace('"X"', '!!python/object:os.system "X"'),
    'with a merge key': lambda manifest: json.dumps(manifest)[:-1] + ', "<<": {"name": "x"}}',
    'with a directive': lambda manifest: '%YAML 1.1\n---\n' + json.dumps(manifest),
    'of two documents': lambda manifest: json.dumps(manifest) + '\n---\n' + json.dumps(manifest),
    'nested too deep': lambda manifest: json.dumps(manifest)[:-1] + ', "x-deep": ' + '[' * 3000 + ']' * 3000 + '}',
    'with a NUL': lambda manifest: json.dumps(manifest).encode() + b'\0',
    'that is no UTF-8': lambda manifest: json.dumps(manifest).encode() + b'# \xff\n',
    'in UTF-16': lambda manifest: json.dumps(manifest).encode('utf-16'),
    'with too many members': lambda manifest: json.dumps({**manifest, **{f'x-{i}': 1 for i in range(20000)}})[: 250 << 10],
    'of a megabyte of blanks in a line': lambda manifest: ' ' * (200 << 10) + json.dumps(manifest),
}.items():
    manifest(title, change)

manifest('that wants to be delivered by a package', put('delivery', 'os-package'), 'unsupported')
manifest('that wants to be a sidecar of the agent', put('supervision', 'agent-sidecar'), 'unsupported')
manifest('that wants to be a helper', put('supervision', 'ephemeral-helper'), 'unsupported')


@case('bad-manifest', 'a manifest whose sentences are hostile')
def hostile_text(place):
    """Bytes of the manifest that get into a sentence cannot do anything to a terminal: refuses() looks."""
    for text in ('\x1b]0;owned\x07', 'a\nbad-signature: no', '\u202e\u2066', '\x9b31m', 'x' * 100000, '%s%n%1000000d'):
        for change in (put(f'key {text}', 1), put('kind', text), put('requires.os_capabilities', [text]), put('exec.binary', text)):
            addon = place.addon()
            change(addon.manifest)
            place.refuses('bad-manifest', 'install', place.bundle(addon=addon))


# --- the schema -----------------------------------------------------------------------------------

for title, schema in {
    'is empty': '', 'is no JSON': '{', 'is a list': '[]', 'is true': 'true', 'is a number': '7',
    'has a key twice': '{"type": "object", "type": "object"}',
    'has bytes behind its end': '{"type": "object"} x',
    'is nested too deep': '{"not":' * 100 + '{}' + '}' * 100,
    'is nested without end': '[' * 100000,
    'refers to a file': {'$ref': 'file:///etc/passwd'},
    'refers to another host': {'$ref': 'https://example.org/schema.json'},
    'refers to nothing': {'$ref': '#/$defs/none'},
    'is of another draft': {'$schema': 'http://json-schema.org/draft-07/schema#'},
    'has a keyword nobody knows': {'requird': ['x']},
    'has a type nobody knows': {'type': 'integre'},
    'has a broken pattern': {'properties': {'x': {'pattern': '(('}}},
    'has a pattern of 2000 bytes': {'properties': {'x': {'pattern': 'a' * 2000}}},
    'has a minimum that is text': {'properties': {'x': {'minimum': 'low'}}},
    'has a negative length': {'properties': {'x': {'minLength': -1}}},
    'has a number out of range': '{"properties": {"x": {"maximum": 1e999}}}',
    'is no UTF-8': b'{"title": "\xff"}',
    'has a NUL': b'{"title": "a"}\0',
}.items():
    @case('bad-schema', f'a schema that {title}', dense=True)
    def bad_schema(place, schema=schema):
        addon = place.addon()
        addon.schema = schema
        tried(place, 'bad-schema', addon)


# --- units ----------------------------------------------------------------------------------------


def unit(names, lines, section='Service', title=None):
    """Lines that a section of the service has on top; {id} is the add-on."""
    @case(names, f'a unit with {title or lines!r}', dense=True)
    def refuse(place):
        addon = place.addon()
        text = fixture.unit_text(addon.service)
        addon.units = {f'affix-{place.id}.service': text.replace(f'[{section}]\n', f'[{section}]\n' + lines.replace('{id}', place.id) + '\n')}
        tried(place, names, addon)


OWN = '/opt/affix/{id}/current/{id}'

for lines in ('User=root', 'User=0', 'User=nobody', 'User=', 'User=affix', 'User=affix-{id}x', 'Group=root', 'Group=affix', 'DynamicUser=yes',
              'SupplementaryGroups=shadow', 'PAMName=login'):
    unit('unit-user unit-directive', lines)

for lines in ('AmbientCapabilities=CAP_SYS_ADMIN', 'AmbientCapabilities=cap_sys_admin', 'AmbientCapabilities=~', 'AmbientCapabilities=all',
              'AmbientCapabilities=CAP_NET_RAW', 'AmbientCapabilities=~CAP_KILL', 'CapabilityBoundingSet=CAP_SYS_PTRACE', 'CapabilityBoundingSet=~',
              'CapabilityBoundingSet=~CAP_NET_RAW', 'CapabilityBoundingSet=0xffff', 'AmbientCapabilities=CAP_SYS_ADMIN\nAmbientCapabilities=',
              'NoNewPrivileges=no', 'SecureBits=keep-caps', 'AmbientCapabilities=CAP_NET_RAW,CAP_SYS_PTRACE'):
    unit('unit-capability unit-directive', lines)

COMMANDS = ('ExecStart', 'ExecStartPre', 'ExecStartPost', 'ExecCondition', 'ExecReload', 'ExecStop', 'ExecStopPost')
for key in COMMANDS:
    for program in ('/bin/sh -c "id"', '/opt/affix/other/current/other', '/opt/affix/{id}/current/other', '/var/lib/affix/{id}/x'):
        unit('unit-exec', f'{key}={program}')
for prefix in '+!:@|':
    unit('unit-exec', f'ExecStartPre={prefix}{OWN}')
    unit('unit-exec', f'ExecStartPre=-{prefix}{OWN}')
for lines in ('ExecStart=-!!' + OWN, 'ExecStart=+/bin/sh', 'ExecStart=sh', 'ExecStart={id}', 'ExecStart=./{id}', 'ExecStart="' + OWN + '"',
              'ExecStart=/opt/affix/{id}/current/../../../../bin/sh', 'ExecStart=//opt/affix/{id}/current/{id}', 'ExecStart=/opt/affix/{id}/current//{id}',
              'ExecStart=/opt/affix/{id}/current/./{id}', 'ExecStart=/opt/affix/{id}/versions/1.0.0/{id}', 'ExecStart=%h/x', 'ExecStart=/opt/affix/%p/current/{id}',
              'ExecStart=$SHELL', 'ExecStart=/usr/bin/env ' + OWN, 'ExecStart=/lib64/ld-linux-x86-64.so.2 ' + OWN, 'ExecStart=/opt/affix/{id}/current/\\x7bid}',
              f'ExecStartPre={OWN} ; /bin/sh -c id', f'ExecStartPre={OWN} ;', f'ExecStartPre={OWN} %i', f'ExecStartPre={OWN} "unclosed',
              'ExecReload=/bin/kill -HUP 1', 'ExecReload=/bin/kill -9 $MAINPID', 'ExecReload=/bin/kill -HUP $MAINPID 1', 'ExecReload=/bin/kill -HUP -1'):
    unit('unit-exec', lines)

for lines in ('EnvironmentFile=/etc/environment', 'EnvironmentFile=-/var/lib/affix/{id}/env', 'RootDirectory=/', 'RootDirectory=/var/lib/affix/{id}',
              'RootImage=/x', 'BindPaths=/etc', 'BindPaths=/:/mnt', 'BindReadOnlyPaths=/root', 'BindReadOnlyPaths=/etc/shadow', 'BindReadOnlyPaths=/usr:/etc',
              'ReadWritePaths=/etc', 'ReadWritePaths=/', 'ReadWritePaths=/var/lib/affix', 'ReadOnlyPaths=/root', 'InaccessiblePaths=/home/..', 'LoadCredential=x:/etc/shadow',
              'LoadCredential=config:/etc/shadow', 'SetCredential=config:{}', 'LoadCredentialEncrypted=x:/x', 'ImportCredential=*', 'StateDirectory=../../etc', 'StateDirectory=affix',
              'StateDirectory=affix/updater', 'StateDirectory=affix/other', 'StateDirectory=affix/{id}/a/b', 'StateDirectory={id}', 'StateDirectory=affix/{id}:x',
              'RuntimeDirectory=affix', 'RuntimeDirectory=.', 'CacheDirectory=/x', 'LogsDirectory=affix/../x', 'ConfigurationDirectory=affix/{id}', 'WorkingDirectory=/',
              'WorkingDirectory=~', 'WorkingDirectory=/etc', 'PIDFile=/run/x', 'TTYPath=/dev/tty1', 'NetworkNamespacePath=/proc/1/ns/net', 'MountImages=/x:/y',
              'ExtensionImages=/x', 'TemporaryFileSystem=/etc', 'OpenFile=/etc/shadow', 'StandardOutput=file:/etc/passwd', 'StandardOutput=append:/x',
              'StandardInput=file:/etc/shadow', 'LogNamespace=x', 'ReadWritePaths=/var/lib/affix/{id}/..', 'ConditionPathExists=/root/.ssh'):
    unit('unit-path unit-directive', lines, section='Unit' if lines.startswith('Condition') else 'Service')

for lines in ('EnvironmentFile=/var/lib/affix/{id}/env', 'ReadWritePaths=/etc/affix', 'StateDirectory=affix/agent', 'RootDirectory=/srv'):
    unit('unit-path', lines)

for lines in ('Wants=sshd.service', 'Requires=sshd.service', 'Requisite=x.service', 'BindsTo=dbus.service', 'PartOf=x.service', 'Upholds=x.service', 'Conflicts=sshd.service',
              'Conflicts=affix-updater.socket', 'OnFailure=reboot.target', 'OnSuccess=poweroff.target', 'Before=sysinit.target', 'Before=shutdown.target', 'After=affix-other.service',
              'JoinsNamespaceOf=x.service', 'PropagatesReloadTo=x.service', 'StopPropagatedFrom=x.service', 'Wants=affix-{id}x.service', 'Wants=reboot.target', 'Wants=rescue.target',
              'After=a.service multi-user.target', 'Requires=default.target', 'DefaultDependencies=no', 'RequiresMountsFor=/x', 'StartLimitAction=reboot', 'FailureAction=poweroff-immediate',
              'SuccessAction=exit', 'JobTimeoutAction=reboot', 'RebootArgument=x', 'AllowIsolate=yes', 'RefuseManualStop=yes', 'IgnoreOnIsolate=yes', 'StopWhenUnneeded=yes', 'After='):
    unit('unit-foreign unit-directive', lines, section='Unit')
for lines in ('Alias=sshd.service', 'Alias=affix-{id}2.service', 'Also=sshd.service', 'RequiredBy=multi-user.target', 'RequiredBy=sshd.service', 'WantedBy=sysinit.target', 'WantedBy=basic.target', 'WantedBy=network.target',
              'WantedBy=sshd.service', 'WantedBy=reboot.target', 'WantedBy=../x.target', 'WantedBy=x', 'UpheldBy=multi-user.target', 'DefaultInstance=x', 'WantedBy=default.target'):
    unit('unit-foreign unit-directive unit-name', lines, section='Install')
for lines in ('Slice=system.slice', 'Slice=-.slice', 'Sockets=x.socket', 'BusName=org.freedesktop.systemd1'):
    unit('unit-foreign unit-directive', lines)

for lines in ('Environment=LD_PRELOAD=/x.so', 'Environment="A=1" "LD_LIBRARY_PATH=/x"', 'Environment=LD_AUDIT=x', 'Environment=GLIBC_TUNABLES=x', 'Environment=PATH=/x',
              'Environment=PYTHONPATH=/x', 'Environment=BASH_ENV=/x', 'Environment=NOTIFY_SOCKET=/x', 'Environment=CREDENTIALS_DIRECTORY=/x', 'Environment=A', 'Environment=A=%H',
              'Environment="LD_PREL\\x4fAD=/x"', "Environment='unclosed", 'PassEnvironment=PATH', 'UnsetEnvironment=PATH', 'Delegate=yes', 'DeviceAllow=/dev/sda rw', 'DevicePolicy=open',
              'Type=forking', 'Type=dbus', 'Type=idle', 'Type=notify-reload', 'GuessMainPID=no', 'NotifyAccess=all', 'KillMode=none', 'KillMode=process', 'SendSIGKILL=no',
              'KillSignal=SIGCONT', 'TimeoutStopSec=infinity', 'TimeoutStopSec=0', 'TimeoutStopSec=11min', 'Restart=sometimes', 'RestartSec=-1', 'Nice=-20', 'Nice=nan', 'OOMScoreAdjust=-1000',
              'CPUSchedulingPolicy=fifo', 'CPUSchedulingPriority=99', 'IOSchedulingClass=realtime', 'CoredumpFilter=all', 'LimitNOFILE=-1', 'LimitNOFILE=99999999999999999999999', 'MemoryMax=-1',
              'MemoryMax=NaN', 'TasksMax=1e99', 'CPUQuota=-5%', 'RestrictSUIDSGID=no', 'SystemCallFilter=no_such_call', 'SystemCallFilter=@everything', 'Personality=x86', 'UtmpIdentifier=x',
              'IPAddressAllow=everywhere', 'IPIngressFilterPath=/x', 'BPFProgram=x:/y', 'SocketBindAllow=any', 'USBFunctionStrings=/x', 'SELinuxContext=x', 'AppArmorProfile=x',
              'SmackProcessLabel=x', 'MountFlags=shared', 'UMask=9999', 'UMask=0000x', 'StateDirectoryMode=4755', 'FileDescriptorStoreMax=9', 'RootEphemeral=yes', 'NUMAPolicy=bind',
              'SyslogIdentifier=a b', 'SyslogIdentifier=%i', 'X-Unknown=1', 'execstart=/bin/sh', 'User =root', 'Exec Start=/x', 'MemoryMax=1G\\\n;\nUser=root', 'LogExtraFields=A=B',
              'PrivateNetwork=maybe', 'TimerSlackNSec=x', 'ProtectSystem=never', 'RemoveIPC=2', 'TTYReset=yes', 'ExitType=cgroup', 'WatchdogSec=100y'):
    unit('unit-directive unit-user unit-path bad-unit unit-exec', lines)

for section in ('Socket', 'Timer', 'Path', 'Mount', 'X-Vendor', 'service', 'Service ', ''):
    unit('unit-directive bad-unit', f'\n[{section}]\nListenStream=/run/x\n[Unit]', section='Unit', title=f'a section [{section}]')

for title, lines in {
    'a continued line that hides a directive': 'Nice=1 \\\nUser=root',
    'a comment that is continued': '# comment \\\nUser=root',
    'a continued line with a comment in it': 'Nice=1 \\\n# comment\nUser=root',
    'a blank behind a backslash': 'Environment=A=1 \\ \nB=2',
    'DOS line ends': 'Nice=1\r',
    'a carriage return that hides the rest of a line': 'Nice=1\rUser=root',
    'a vertical tab': 'Nice=1\x0bUser=root',
    'an escape sequence': 'SyslogIdentifier=\x1b[31m',
    'a byte order mark': '\ufeffUser=root',
    'a line separator': 'Nice=1\u2028User=root',
    'a line that is no assignment': 'User root',
    'an assignment without a key': '=root',
    'a line of 5000 bytes': 'Environment=A=' + 'x' * 5000,
    'a line of 5000 bytes by continuation': 'Environment=A=' + 'x\\\n' * 5000,
    'an include': '.include /etc/passwd',
    'a section that is not closed': '[Service',
    'a no-break space': 'User\u00a0=root',
    'text that runs from right to left': 'SyslogIdentifier=\u202eabc',
}.items():
    unit('bad-unit unit-directive unit-user unit-exec', lines, title=title)

unit('bad-unit', 'Restart=always\nRestartSec=0\n[Unit]\nStartLimitIntervalSec=0\n[Service]', title='restarts without a limit')


def raw_unit(names, title, text):
    """A whole unit."""
    @case(names, f'a unit {title}', dense=True)
    def refuse(place):
        addon = place.addon()
        addon.units = {f'affix-{place.id}.service': text.replace(b'{id}', place.id.encode()) if isinstance(text, bytes) else text.replace('{id}', place.id)}
        tried(place, names, addon)


raw_unit('unit-foreign', 'that stops another', '[Unit]\nConflicts=sshd.service\n[Service]\nUser=affix-{id}\nExecStart=' + OWN + '\n')
raw_unit('unit-directive', 'that preloads a library', '[Service]\nUser=affix-{id}\nEnvironment=LD_PRELOAD=/x.so\nExecStart=' + OWN + '\n')
raw_unit('bad-unit', 'that is empty', '')
raw_unit('bad-unit', 'that is to run once', '[Service]\nType=oneshot\nUser=affix-{id}\nExecStart=' + OWN + '\n')
raw_unit('unit-exec', 'whose command was taken back', '[Service]\nUser=affix-{id}\nExecStart=' + OWN + '\nExecStart=\n')
raw_unit('unit-user', 'whose user was taken back', '[Service]\nUser=affix-{id}\nUser=\nExecStart=' + OWN + '\n')
raw_unit('bad-unit', 'with a directive before any section', 'User=root\n[Service]\nUser=affix-{id}\nExecStart=' + OWN + '\n')
raw_unit('bad-unit', 'with a NUL', b'[Service]\nUser=affix-{id}\nExecStart=' + OWN.encode() + b'\n#\0\nUser=root\n')
raw_unit('bad-unit', 'that is no UTF-8', b'[Service]\nUser=affix-{id}\nExecStart=' + OWN.encode() + b'\nSyslogIdentifier=\xff\n')
raw_unit('bad-unit unit-user unit-exec', 'in UTF-16', '[Service]\nUser=affix-{id}\n'.encode('utf-16'))
raw_unit('unit-user', 'without a user', '[Service]\nExecStart=' + OWN + '\n')
raw_unit('unit-exec', 'without a command', '[Service]\nUser=affix-{id}\n')
raw_unit('unit-exec', 'with two commands', '[Service]\nUser=affix-{id}\nExecStart=' + OWN + '\nExecStart=' + OWN + '\n')
raw_unit('bad-unit unit-directive', 'that does not end', b'[Service]\nUser=affix-{id}\nExecStart=' + OWN.encode() + b' \\')
raw_unit('bad-unit', 'that is a program', hostile.elf())

GOOD_UNIT = '[Service]\nUser=affix-{id}\nExecStart=' + OWN + '\n'
for name in ('sshd.service', 'affix.service', 'affix-updater.service', 'affix-{id}@.service', 'affix-{id}@x.service', 'affix-{id}x.service', 'affix-{id}-x.service', 'affix-{id}_.service',
             'affix-{id}_A.service', 'affix-{id}_a_b.service', 'affix-{id}_a..service', 'affix-{id}_' + 'a' * 65 + '.service', 'Affix-{id}.service', 'affix-other.timer', 'x.timer'):
    @case('unit-name bad-entry-name duplicate-entry', f'a unit called {name}', dense=True)
    def misnamed(place, name=name):
        addon = place.addon()
        addon.units[name.replace('{id}', place.id)] = GOOD_UNIT.replace('{id}', place.id)
        tried(place, 'unit-name bad-entry-name duplicate-entry', addon)

@case('unit-name', "a unit that is called like the host's own")
def foreign_name(place):
    for name in ('sshd.service', 'affix-updater.service', f'affix-{place.id}x.service'):
        addon = place.addon()
        addon.units[name] = GOOD_UNIT.replace('{id}', place.id)
        place.refuses('unit-name', 'install', place.bundle(addon=addon))


@case('bad-unit', 'two units of which either could be the primary')
def two_primaries(place):
    addon = place.addon()
    addon.units[f'affix-{place.id}_two.service'] = addon.service
    tried(place, 'bad-unit', addon)


for names, lines in (('bad-unit', ''), ('unit-directive', 'OnCalendar=sometimes'), ('unit-directive', 'OnCalendar=*-*-* 25:00'), ('unit-directive', 'OnBootSec=-1'),
                     ('unit-foreign', 'OnCalendar=daily\nUnit=sshd.service'), ('unit-foreign', 'OnCalendar=daily\nUnit=reboot.target'), ('unit-directive', 'OnCalendar=daily\nWakeSystem=yes'),
                     ('unit-directive', 'OnCalendar=daily\nOnClockChange=yes'), ('unit-directive bad-unit', 'OnCalendar=daily\nUnit=affix-{id}.service\nUnit=affix-{id}.service')):
    @case(names, f'a timer with {lines!r}', dense=True)
    def timer(place, names=names, lines=lines):
        addon = place.addon(supervision='systemd-timer', timer={'X': 'X'})
        addon.units[f'affix-{place.id}.timer'] = f'[Timer]\n{lines}\n[Install]\nWantedBy=timers.target\n'.replace('{id}', place.id)
        tried(place, names, addon)


# --- what the host allows -------------------------------------------------------------------------


@case('capability-not-allowed', "a capability outside the host's list")
def capability(place):
    for asked in ('cap_sys_admin', 'CAP_SYS_PTRACE', 'sys_module', 'cap_setuid'):
        addon = place.addon()
        addon.manifest['requires']['os_capabilities'] = [asked]
        tried(place, 'capability-not-allowed', addon)
    addon = place.addon()
    addon.manifest['requires']['os_capabilities'] = ['cap_net_raw']
    bundle = place.bundle(addon=addon)
    place.policy('capabilities: [cap_bpf]\n')
    place.refuses('capability-not-allowed', 'install', bundle)
    place.policy('capabilities: []\n')
    place.refuses('capability-not-allowed', 'install', bundle)


@case('capability-not-allowed', 'a request that grants more than the manifest asks for')
def granted(place):
    place.refuses('capability-not-allowed', 'install', place.bundle(), '--capabilities', 'cap_net_raw')


@case('unit-capability', 'a unit that wants what the request took away')
def narrowed(place):
    addon = place.addon()
    addon.manifest['requires']['os_capabilities'] = ['cap_net_raw', 'cap_bpf']
    addon.service['Service']['AmbientCapabilities'] = 'CAP_SYS_ADMIN'
    place.refuses('unit-capability', 'install', place.bundle(addon=addon), '--capabilities', 'cap_bpf')


@case('user-not-allowed', 'a user that the host does not allow to the add-on')
def user(place):
    for name in ('root', 'nobody', 'affix', 'affix-other', 'daemon'):
        addon = place.addon()
        addon.manifest['requires']['run_as'] = name
        addon.service['Service']['User'] = name
        place.refuses('user-not-allowed', 'install', place.bundle(addon=addon))
    addon = place.addon()
    addon.manifest['requires']['run_as'] = 'root'
    addon.service['Service']['User'] = 'root'
    bundle = place.bundle(addon=addon)
    place.policy('users:\n  another: root\n')
    place.refuses('user-not-allowed', 'install', bundle)
    place.policy(f'users:\n  {place.id}: [daemon, nobody]\n')
    place.refuses('user-not-allowed', 'install', bundle)
