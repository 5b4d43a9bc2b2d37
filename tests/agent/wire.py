# SPDX-License-Identifier: Apache-2.0
"""Protobuf's wire format, as far as OpAMP needs it, by field numbers.

    message = wire.text(1, 'a') + wire.message(5, wire.number(1, 1))
    wire.parse(message)                  # {1: [b'a'], 5: [b'\\x08\\x01']}
"""


def varint(value):
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def data(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def text(field, value):
    return data(field, value.encode())


def entry(field, key, value):
    """An entry of a map from text to a message."""
    return data(field, text(1, key) + data(2, value))


def read_varint(buffer, at):
    value = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def parse(buffer):
    """{field: [values]}; bytes for everything with a length, numbers for the rest."""
    fields, at = {}, 0
    while at < len(buffer):
        tag, at = read_varint(buffer, at)
        kind = tag & 7
        if kind == 0:
            value, at = read_varint(buffer, at)
        elif kind == 1:
            value, at = int.from_bytes(buffer[at:at + 8], 'little'), at + 8
        elif kind == 2:
            size, at = read_varint(buffer, at)
            value, at = buffer[at:at + size], at + size
        elif kind == 5:
            value, at = int.from_bytes(buffer[at:at + 4], 'little'), at + 4
        else:
            raise ValueError(f'wire type {kind}')
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def mapping(fields, field):
    """A map from text to messages, parsed."""
    result = {}
    for item in fields.get(field, []):
        pair = parse(item)
        result[pair[1][0].decode()] = parse(pair.get(2, [b''])[0])
    return result


def first(fields, field, default=None):
    return fields.get(field, [default])[0]
