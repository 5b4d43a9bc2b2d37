# SPDX-License-Identifier: Apache-2.0
"""Images for tests: made by mke2fs and sfdisk, looked into by e2fsck and debugfs.

    images.make(tree, path, ['-t', 'ext4', '-b', '1024'], size='32M')
    images.check(path)                       # e2fsck -fn has nothing to say
    with images.unpacked(path) as directory: # what debugfs sees, as a tree with owners and file capabilities
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
for place in ('e2e', 'fault', 'lib'):
    sys.path.insert(0, str(HERE.parent / place))
os.environ['PATH'] += ':/usr/sbin:/sbin'

import fixture  # noqa: E402

CAPABILITY = 'security.capability'


def make(tree, path, options=('-t', 'ext4', '-b', '4096'), size='24M'):
    """A file system with the content of a tree."""
    pathlib.Path(path).unlink(missing_ok=True)
    fixture.run(['mke2fs', '-q', '-F', *options, '-d', tree, path, size])
    return pathlib.Path(path)


def check(image):
    """What e2fsck finds, as an assertion: nothing."""
    done = fixture.run(['e2fsck', '-fn', image], check=False)
    complaints = [line for line in done.stdout.splitlines() if re.search(r'\?|should|invalid|Error|error|checksum', line)]
    if done.returncode != 0 or complaints:
        raise AssertionError(f'e2fsck -fn {image} ended with {done.returncode}:\n{done.stdout}{done.stderr}')


def used_bytes(image, layout=None):
    """The bytes of an image but for the blocks that are free, in it or in the image *layout*: those are nobody's."""
    data = bytearray(pathlib.Path(image).read_bytes())
    text = fixture.run(['dumpe2fs', layout or image]).stdout
    size = int(re.search(r'^Block size: +(\d+)', text, re.MULTILINE)[1])
    for ranges in re.findall(r'^  Free blocks: (.*)$', text, re.MULTILINE):
        for first, last in re.findall(r'(\d+)(?:-(\d+))?', ranges):
            begin, end = int(first) * size, (int(last or first) + 1) * size
            data[begin:end] = bytes(end - begin)
    return bytes(data)


def debugfs(image, commands, write=False):
    """The output of each command."""
    outputs = []
    script = ''.join(f'{command}\n' for command in commands)
    done = fixture.run(['debugfs', *(['-w'] if write else []), '-f', '-', image], input=script)
    for part in done.stdout.split('debugfs: ')[1:]:
        outputs.append(part.partition('\n')[2])
    return outputs


def set_capabilities(image, directory):
    """rdump leaves attributes out."""
    files = [path for path in directory.rglob('*') if path.is_file() and not path.is_symlink()]
    names = ['/' + str(path.relative_to(directory)) for path in files]
    for path, name, listed in zip(files, names, debugfs(image, [f'ea_list "{name}"' for name in names])):
        if CAPABILITY in listed:
            with tempfile.NamedTemporaryFile() as value:
                debugfs(image, [f'ea_get -f {value.name} "{name}" {CAPABILITY}'])
                os.setxattr(path, CAPABILITY, pathlib.Path(value.name).read_bytes())


@contextlib.contextmanager
def unpacked(image, parent=None):
    """A directory with what is in an image, by debugfs; goes with the context."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix='affix-unpacked-', dir=parent))
    try:
        debugfs(image, [f'rdump / {directory}'])
        set_capabilities(image, directory)
        shutil.rmtree(directory / 'lost+found', ignore_errors=True)
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def disk(image, path, label, before=1):
    """A disk image with a file system as its second partition, behind one of *before* MiB."""
    size = image.stat().st_size
    sectors = size // 512
    start = 2048 * (1 + before)
    with open(path, 'wb') as file:
        file.truncate((start + sectors + 4096) * 512)
    script = f'label: {label}\nstart=2048, size={2048 * before}\nstart={start}, size={sectors}\n'
    subprocess.run(['sfdisk', '-q', str(path)], input=script, text=True, check=True, stdout=subprocess.DEVNULL)
    fixture.run(['dd', f'if={image}', f'of={path}', 'bs=1M', f'seek={1 + before}', 'conv=notrunc', 'status=none'])
    return pathlib.Path(path), start * 512


def part(path, offset, size, into):
    """A partition's bytes as a file."""
    with open(path, 'rb') as source, open(into, 'wb') as target:
        source.seek(offset)
        target.write(source.read(size))
    return pathlib.Path(into)
