#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the kernel of Debian 12 finds in an image into which add-ons were put: it mounts it, in a VM, and its listing is that of a
directory into which the same add-ons were installed: type, mode, owner, content, link targets, file capabilities. Then it writes to it.
"""

import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import images
import scenario
import vm
from images import fixture

SKIP = 77
# Run by busybox in the guest, and here, where the tree is. Of what the accounts and records say, tests/image/test-inject.py has more.
LIST = '''cd "$1"
find . -path ./lost+found -prune -o -path ./var/lib/affix -prune -o -print | sort | while read -r path; do
	if [ -L "$path" ]; then echo "$path l $(readlink "$path")"; continue; fi
	echo "$path $(stat -c '%f %u %g' "$path") $([ -f "$path" ] && sha256sum <"$path")"
done
getcap -r . | sort
'''
INIT = '''#!/bin/busybox sh
export PATH=/bin
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in %s; do insmod /modules/$module.ko; done
mount -t ext4 /dev/vda /mnt && echo "@@ begin"
sh /list /mnt
echo "@@ end"
echo more >/mnt/etc/systemd/system/new-file && mkdir /mnt/opt/affix/new && rm -r /mnt/opt/affix/probe && umount /mnt && echo "@@ written"
poweroff -f
''' % ' '.join(vm.DISK_MODULES)


def unavailable():
    if os.getuid() != 0:
        return 'owners of files in a tree need root'
    if platform.machine() != 'x86_64':
        return 'the VM is one of x86_64'
    for program in ('qemu-system-x86_64', 'busybox', 'cpio', 'getcap'):
        if not shutil.which(program):
            return f'{program} is not installed'
    return None


def initramfs(directory, kernel):
    tree = directory / 'tree'
    for name in ('bin', 'proc', 'sys', 'dev', 'mnt', 'modules'):
        (tree / name).mkdir(parents=True)
    getcap = shutil.which('getcap')
    libraries = re.findall(r'(/\S+) \(0x', fixture.run(['ldd', getcap]).stdout)
    for path, target in ((shutil.which('busybox'), '/bin/busybox'), (getcap, '/bin/getcap'), *((name, name) for name in libraries)):
        place = pathlib.Path(f'{tree}{target}')
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(path), place)
    for module in vm.DISK_MODULES:
        shutil.copy(next(kernel.glob(f'lib/modules/*/kernel/drivers/*/{module}.ko')), tree / 'modules')
    (tree / 'list').write_text(LIST)
    (tree / 'init').write_text(INIT)
    (tree / 'init').chmod(0o755)
    with open(directory / 'initramfs', 'wb') as out:
        subprocess.run('find . | cpio -o -H newc --quiet', shell=True, cwd=tree, stdout=out, check=True)
    return directory / 'initramfs'


def boot(image):
    """What the guest prints that has the image."""
    kernel = vm.kernel_tree()
    with tempfile.TemporaryDirectory(prefix='affix-vm-') as name:
        done = subprocess.run(
            ['qemu-system-x86_64', '-accel', 'tcg', '-machine', 'q35', '-cpu', 'max', '-m', '512', '-nodefaults',
             '-no-reboot', '-display', 'none', '-serial', 'stdio', '-kernel', next((kernel / 'boot').glob('vmlinuz-*')),
             '-initrd', initramfs(pathlib.Path(name), kernel), '-drive', f'file={image},format=raw,if=virtio',
             '-append', 'console=ttyS0 quiet panic=-1'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200, check=False)
    return done.stdout.decode(errors='replace').replace('\r', '')


class OnTheKernelOfDebian12(unittest.TestCase):
    def test_it_sees_the_tree_of_a_directory_and_can_go_on(self):
        with scenario.Scenario('install') as story:
            addon = story.work.addon('fcap', '1.0.0')
            addon.manifest['requires']['os_capabilities'] = ['cap_net_raw']
            addon.manifest['exec']['file_capabilities'] = True
            capable = story.work.bundle(addon)
            image = images.make(story.tree, story.work.fresh('disk.img'))
            words = ['image', 'inject', '--trust', story.tree / 'etc/affix/trust.d', '--config', f'{scenario.ID}={story.config}', image]
            bundle = next(word for word in story.command.split() if word.endswith('.tar.zst'))
            fixture.affix([*words, bundle, capable], check=True)
            story.run(story.command, story.tree)
            story.install(story.tree, capable)
            listing = story.work.fresh('list')
            listing.write_text(LIST)
            wanted = fixture.run(['busybox', 'sh', listing, story.tree]).stdout
            said = boot(image)
            self.assertIn('@@ begin\n', said)
            self.assertEqual(said.partition('@@ begin\n')[2].partition('@@ end')[0].splitlines(), wanted.splitlines())
            self.assertIn('cap_net_raw=ep', wanted)
            self.assertIn('@@ written', said)
            images.check(image)


if __name__ == '__main__':
    why_not = unavailable()
    if why_not:
        print(f'SKIP: {why_not}')
        sys.exit(SKIP)
    unittest.main(verbosity=2)
