#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affix image build: a Debian tree as an OCI image of several layers made by umoci, against what umoci unpacks of it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import layers as L

AFFIX = pathlib.Path(os.environ['AFFIX_BUILD']) / 'bin' / 'affix'
LIB = pathlib.Path(__file__).resolve().parent.parent / 'lib'


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def umoci(*words):
    run('umoci', *words)


def change_packages(root):
    """What a layer of an image usually is: some files new, some changed, some gone."""
    shutil.rmtree(root / 'usr/share/bash-completion', ignore_errors=True)
    (root / 'etc/motd').write_text('changed\n')
    (root / 'etc/issue').unlink()
    run('setcap', 'cap_net_raw+ep', root / 'usr/bin/strace')
    (root / 'srv/data').mkdir()
    for number in range(300):
        (root / f'srv/data/{number}').write_bytes(os.urandom(number))
    os.link(root / 'srv/data/1', root / 'srv/one')
    os.chown(root / 'srv/data/2', 70000, 4000000000)
    os.setxattr(root / 'srv/data/3', 'user.note', b'\x00\xff')
    run('setfacl', '-m', 'u:70001:r', root / 'srv/data/4')
    os.utime(root / 'srv/data/5', ns=(0, 1_234_567_890_987_654_321))


def change_more(root):
    """A directory comes anew, hard links lose one of their names, a file becomes a directory."""
    shutil.rmtree(root / 'srv/data')
    (root / 'srv/data').mkdir(mode=0o700)
    (root / 'srv/data/fresh').write_bytes(bytes(100000) + b'end')
    (root / 'etc/motd').unlink()
    (root / 'etc/motd').mkdir()
    (root / 'etc/motd/part').symlink_to('/etc/hosts')
    perl = next((path for path in (root / 'usr/bin').iterdir() if path.stat(follow_symlinks=False).st_nlink > 1), None)
    if perl:
        content = perl.read_bytes()
        perl.unlink()
        perl.write_bytes(content + b'\n')


def make_image(directory, tree):
    """The path of a layout, and its layers' files, lowest first."""
    layout, bundle = directory / 'oci', directory / 'bundle'
    umoci('init', '--layout', layout)
    umoci('new', '--image', f'{layout}:debian')
    umoci('unpack', '--image', f'{layout}:debian', bundle)
    root = bundle / 'rootfs'
    run('cp', '-a', f'{tree}/.', root)
    umoci('repack', '--refresh-bundle', '--image', f'{layout}:debian', bundle)
    for change in (change_packages, change_more):
        change(root)
        umoci('repack', '--refresh-bundle', '--image', f'{layout}:debian', bundle)
    index = json.loads((layout / 'index.json').read_text())
    manifest = json.loads((layout / 'blobs/sha256' / index['manifests'][0]['digest'].split(':')[1]).read_text())
    return layout, [layout / 'blobs/sha256' / layer['digest'].split(':')[1] for layer in manifest['layers']]


def same_bytes(directory, blobs, image):
    """The layers one by one are the same image."""
    run(AFFIX, 'image', 'build', *blobs, '-o', directory / 'again.ext4')
    return [] if L.digest_of(image) == L.digest_of(directory / 'again.ext4') else ['the layers of the layout make another image']


def wrong_digest(directory, layout, blob):
    """A changed byte that changes no content."""
    data = bytearray(blob.read_bytes())
    data[5] ^= 1  # gzip's time, which no unpacker looks at
    blob.write_bytes(data)
    done = subprocess.run([AFFIX, 'image', 'build', f'oci:{layout}:debian', '-o', directory / 'bad.ext4'], text=True, stderr=subprocess.PIPE, check=False)
    if done.returncode == 1 and done.stderr.startswith('bad-digest: ') and not (directory / 'bad.ext4').exists():
        return []
    return [f'a changed layer: exit code {done.returncode}, {done.stderr}']


def alter(root):
    """The least that can be wrong, one thing each: the paths where the comparison must see it, and nowhere else."""
    names = sorted(path for path in (root / 'usr/bin').iterdir() if path.is_file() and not path.is_symlink())
    capable = next(path for path in names if 'security.capability' in os.listxattr(path))
    value = bytearray(os.getxattr(capable, 'security.capability'))
    value[5] ^= 1
    os.setxattr(capable, 'security.capability', bytes(value))
    alone = next(path for path in names if path != capable and path.stat().st_nlink == 1)
    took = alone.stat().st_mtime_ns
    os.utime(alone, ns=(took, took + 1))
    # A name becomes a file of its own that is equal in all else.
    linked = next(path for path in sorted(root.rglob('*')) if path.is_file() and not path.is_symlink() and path.stat().st_nlink > 1)
    others = [path for path in linked.parent.iterdir() if path.samefile(linked)]
    directory = linked.parent.stat()
    shutil.copy2(linked, linked.with_name(linked.name + '~'))
    status = linked.stat()
    linked.with_name(linked.name + '~').rename(linked)
    os.chown(linked, status.st_uid, status.st_gid)
    os.utime(linked.parent, ns=(directory.st_atime_ns, directory.st_mtime_ns))
    return {'/' + str(path.relative_to(root)) for path in (capable, alone, *others)}


def not_found(reference, found):
    """What the comparison does not see of what was altered on purpose, or sees beside it."""
    altered = alter(reference)
    said = {line.partition(': ')[0] for line in L.differences(L.list_tree(str(reference)), found)} - {'/'}
    return [f'altered {sorted(altered)}, and seen {sorted(said)}'] if said != altered else []


def main():
    reason = L.can_mount() or (None if shutil.which('umoci') else 'umoci is not installed')
    if reason:
        print(reason, file=sys.stderr)
        return 77
    found = subprocess.run([LIB / 'scratch-root'], text=True, stdout=subprocess.PIPE, check=False)
    if found.returncode != 0:
        return found.returncode
    directory = pathlib.Path(tempfile.mkdtemp())
    try:
        layout, blobs = make_image(directory, found.stdout.strip())
        assert len(blobs) == 3, blobs
        umoci('unpack', '--image', f'{layout}:debian', directory / 'reference')
        expected = L.list_tree(str(directory / 'reference/rootfs'))
        image = directory / 'root.ext4'
        began = time.monotonic()
        run(AFFIX, 'image', 'build', f'oci:{layout}:debian', '-o', image)
        print(f'{len(expected)} files: built in {time.monotonic() - began:.1f} s')
        run('e2fsck', '-fn', image)
        with L.mounted(image) as root:
            # umoci leaves the root's own attributes to the directory that it unpacks into.
            seen = L.list_tree(root)
            lines = [line for line in L.differences(expected, seen) if not line.startswith('/: ')]
        lines += not_found(directory / 'reference/rootfs', seen)
        lines += same_bytes(directory, blobs, image) + wrong_digest(directory, layout, blobs[1])
        print('\n'.join(lines))
        return 1 if lines else 0
    finally:
        shutil.rmtree(directory)


sys.exit(main())
