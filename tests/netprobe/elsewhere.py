# SPDX-License-Identifier: Apache-2.0
"""Senders that a kernel does not see as others: a program of 32 bits, and what a queue of netfilter gives back."""

import os
import pathlib
import shutil
import socket
import struct
import subprocess
import unittest


# read(0, buffer, 1); sendto(3, buffer, 1, 0, 0, 0); write(1, buffer, 1); and so on until the input ends.
CODE = bytes.fromhex('b803000000 31db b9{buffer} ba01000000 cd80 85c0 7e20 b871010000 bb03000000 31f6 31ff 31ed cd80 b804000000 bb01000000 cd80 ebc9'
                     'b801000000 31db cd80'.format(buffer=struct.pack('<I', 0x10000 + 52 + 32 + 256).hex()))
NETLINK_NETFILTER = 12
VERDICT, CONFIG = 0x301, 0x302
BIND, PARAMETERS = 1, 2
COPY_META = 1
NF_ACCEPT = 1


def program_of_32_bits(path):
    """Writes an ELF of x86 that sends a byte on descriptor 3 for each byte of its input, and then says that byte."""
    size = 52 + 32 + 256 + 1
    head = struct.pack('<16sHHIIIIIHHHHHH', b'\x7fELF\1\1\1', 2, 3, 1, 0x10000 + 84, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack('<8I', 1, 0, 0x10000, 0x10000, size, size, 7, 0x1000)
    pathlib.Path(path).write_bytes((head + segment + CODE).ljust(size, b'\0'))
    os.chmod(path, 0o755)


def attribute(kind, data):
    return struct.pack('HH', 4 + len(data), kind) + data.ljust((len(data) + 3) & ~3, b'\0')


class Queue:
    """netfilter's queue *number* in this network: what goes to *port* over loopback waits there until give_back(), by whoever calls that."""

    def __init__(self, number, port):
        self.number = number
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.socket.bind((0, 0))
        self.send(CONFIG, attribute(1, struct.pack('!BxH', BIND, socket.AF_UNSPEC)))
        self.send(CONFIG, attribute(PARAMETERS, struct.pack('!IB', 0, COPY_META)))
        self.rules = [(program, '-w', 'OUTPUT', '-o', 'lo', '-p', protocol, '--dport', str(port), '-j', 'NFQUEUE', '--queue-num', str(number))
                      for program, protocol in ((self.program(), 'tcp'), (self.program(), 'udp'))]
        self.change('-A')

    def change(self, how):
        for program, wait, *rule in self.rules:
            subprocess.run([program, wait, how, *rule], check=True)

    @staticmethod
    def program():
        """Kernels know one kind of tables, or both."""
        for program in ('iptables-legacy', 'iptables-nft'):
            tried = ['-w', '-A', 'OUTPUT', '-p', 'udp', '--dport', '1', '-j', 'NFQUEUE', '--queue-num', '1']
            if shutil.which(program) and subprocess.run([program, *tried], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return program
        raise unittest.SkipTest('the kernel has no NFQUEUE')

    def send(self, kind, attributes):
        # Of what is wrong there is an answer.
        body = struct.pack('!BBH', socket.AF_UNSPEC, 0, self.number) + attributes
        self.socket.send(struct.pack('IHHII', 16 + len(body), kind, 1, 0, 0) + body)

    def give_back(self):
        """Each packet, as they come, for ever."""
        while True:
            data = self.socket.recv(65536)
            _, kind = struct.unpack_from('IH', data)
            if kind != 0x300:
                raise OSError(f'netfilter says {data.hex()}')
            # The first attribute has the packet's number, as it came.
            self.send(VERDICT, attribute(2, struct.pack('!I', NF_ACCEPT) + data[24:28]))

    def close(self):
        self.socket.close()
        self.change('-D')
