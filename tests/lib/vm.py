#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""VMs of tests: Debian's kernel under QEMU, by KVM where it works and TCG otherwise, with an image as its root, and sockets that
are its serial ports. No root is needed, and nothing of the network but loopback.

    with vm.Machine(image, directory, ports=['org.affix.guestd.0']) as machine:
        machine.sockets['org.affix.guestd.0']        # path of a Unix socket
        machine.wait(60)                             # QEMU's exit code
        machine.console()                            # what the guest printed
"""

import os
import pathlib
import platform
import re
import shutil
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
# What a guest needs to find its root, in the order of loading; ext4 is in the kernel.
DISK_MODULES = ('virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci', 'virtio_blk')
PROGRAMS = ('qemu-system-x86_64', 'busybox', 'cpio', 'depmod')
INIT = '''#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in %s; do /bin/busybox insmod /modules/$module.ko; done
/bin/busybox mount -t ext4 /dev/vda /root && /bin/busybox mount -o move /dev /root/dev && exec /bin/busybox switch_root /root /sbin/init
''' % ' '.join(DISK_MODULES)
# /dev/kvm may be there, run a boot sector, and no kernel: one that runs says its first words within a second.
KVM_SECONDS = 5


def unavailable():
    """Why there can be no VM here, or None."""
    if platform.machine() != 'x86_64':
        return 'the VM is one of x86_64'
    os.environ['PATH'] += ':/usr/sbin:/sbin'
    for program in PROGRAMS:
        if not shutil.which(program):
            return f'{program} is not installed'
    return None


def package(name):
    """A directory with what is in Debian's package."""
    done = subprocess.run([TOP / 'tests/setup', 'deb', name], stdout=subprocess.PIPE, text=True, check=True)
    return pathlib.Path(done.stdout.strip())


def kernel_tree():
    """Debian's newest kernel for machines that are VMs, unpacked."""
    listed = subprocess.run(['apt-cache', 'depends', 'linux-image-cloud-amd64'], stdout=subprocess.PIPE, text=True, check=True).stdout
    return package(re.search(r'Depends: (\S+)', listed).group(1))


def vmlinuz(kernel):
    """The image in such a tree."""
    return next((kernel / 'boot').glob('vmlinuz-*'))


def pack(tree, archive):
    """*tree* as the initramfs *archive*."""
    with open(archive, 'wb') as out:
        subprocess.run('find . | cpio -o -H newc --quiet', shell=True, cwd=tree, stdout=out, check=True)
    return archive


def modules(kernel, directory, names):
    """A tree of those modules and what they need, as depmod leaves it: for `affix image build --kernel-modules`."""
    source = next(kernel.glob('lib/modules/*'))
    target = directory / 'lib/modules' / source.name
    target.mkdir(parents=True)
    for name in ('modules.order', 'modules.builtin', 'modules.builtin.modinfo'):
        shutil.copy(source / name, target)
    wanted, seen = list(names), set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        path = next(path for path in source.rglob('*.ko') if path.stem.replace('-', '_') == name.replace('-', '_'))
        (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / path.relative_to(source))
        needs = subprocess.run(['modinfo', '-F', 'depends', path], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        wanted += [need for need in needs.split(',') if need]
    subprocess.run(['depmod', '-b', directory, source.name], check=True)
    return target


def initramfs(directory, kernel):
    """An archive that mounts the first disk and goes on there."""
    tree = directory / 'initramfs.d'
    for name in ('bin', 'dev', 'root', 'modules'):
        (tree / name).mkdir(parents=True)
    shutil.copy(shutil.which('busybox'), tree / 'bin/busybox')
    for name in DISK_MODULES:
        shutil.copy(next(kernel.glob(f'lib/modules/*/kernel/drivers/*/{name}.ko')), tree / 'modules')
    (tree / 'init').write_text(INIT)
    (tree / 'init').chmod(0o755)
    return pack(tree, directory / 'initramfs')


class Machine:
    """One processor, 512 MiB, a disk, a network that leads nowhere, and ports of virtio-serial. Ends with the context."""

    def __init__(self, image, directory, ports, append=''):
        self.log = directory / 'console'
        self.sockets = {name: directory / f'{name}.sock' for name in ports}
        kernel = kernel_tree()
        options = ['-machine', 'q35', '-cpu', 'max', '-smp', '1', '-m', '512', '-nodefaults', '-no-reboot', '-display', 'none',
                   '-serial', f'file:{self.log}', '-kernel', vmlinuz(kernel), '-initrd', initramfs(directory, kernel),
                   '-drive', f'file={image},format=raw,if=virtio,cache=writeback',
                   '-netdev', 'user,id=net,restrict=on', '-device', 'virtio-net-pci,netdev=net,romfile=', '-device', 'virtio-serial-pci',
                   '-append', f'console=ttyS0 earlyprintk=ttyS0 panic=-1 {append}']
        for number, (name, path) in enumerate(self.sockets.items()):
            options += ['-chardev', f'socket,id=port{number},path={path},server=on,wait=off', '-device', f'virtserialport,chardev=port{number},name={name}']
        if not (os.access('/dev/kvm', os.R_OK | os.W_OK) and self.start('kvm', options) and self.speaks()):
            self.start('tcg', options)

    def start(self, accelerator, options):
        """Whether there is a machine, with its ports; the one that was there before may have left sockets."""
        for path in self.sockets.values():
            path.unlink(missing_ok=True)
        self.accelerator = accelerator
        self.process = subprocess.Popen(['qemu-system-x86_64', '-accel', accelerator, *options], stdin=subprocess.DEVNULL)
        while self.process.poll() is None and not all(path.exists() for path in self.sockets.values()):
            time.sleep(0.02)
        return self.process.poll() is None

    def speaks(self):
        """Whether the kernel says a word; if not, the machine is ended."""
        end = time.monotonic() + KVM_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            if self.console():
                return True
            time.sleep(0.1)
        self.process.kill()
        self.process.wait()
        return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def wait(self, seconds):
        return self.process.wait(seconds)

    def console(self):
        return self.log.read_bytes().decode(errors='replace').replace('\r', '') if self.log.exists() else ''
