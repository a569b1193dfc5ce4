"""Readers of motley's exports that know nothing of motley: parquet (as far as it is written) and TFRecord event files."""

import struct


# --- parquet ---


class Compact:
    """Thrift's compact protocol: structures as {field: value}."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def varint(self):
        n = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return n

    def integer(self):
        n = self.varint()
        return (n >> 1) ^ -(n & 1)

    def value(self, kind):
        if kind in (4, 5, 6):
            return self.integer()
        if kind == 8:
            n = self.varint()
            self.at += n
            return self.data[self.at - n : self.at]
        if kind == 9:
            head = self.data[self.at]
            self.at += 1
            n = self.varint() if head >> 4 == 15 else head >> 4
            return [self.value(head & 15) for _ in range(n)]
        if kind == 12:
            return self.structure()
        raise ValueError(f"type {kind}")

    def structure(self):
        out, field = {}, 0
        while True:
            head = self.data[self.at]
            self.at += 1
            if head == 0:
                return out
            assert head >> 4, "a long field header"
            field += head >> 4
            out[field] = self.value(head & 15)


def read_parquet(path):
    """columns {name: list}, key-values {key: text}, rows of each row group"""
    data = path.read_bytes()
    assert data[:4] == b"PAR1" and data[-4:] == b"PAR1"
    n = struct.unpack("<I", data[-8:-4])[0]
    footer = Compact(data[-8 - n : -8])
    meta = footer.structure()
    assert footer.at == n
    root, *leaves = meta[2]
    assert root[5] == len(leaves) and all(leaf[3] == 0 for leaf in leaves)
    columns = {leaf[4].decode(): [] for leaf in leaves}
    for group in meta[4]:
        assert len(group[1]) == len(leaves)
        total = 0
        for leaf, chunk in zip(leaves, group[1]):
            about = chunk[3]
            assert about[1] == leaf[1] and about[3] == [leaf[4]] and about[4] == 0 and about[5] == group[3]
            page = Compact(data[about[9] : about[9] + about[7]])
            header = page.structure()
            assert header[1] == 0 and header[2] == header[3] and header[5][1] == group[3] and header[5][2] == 0
            body = page.data[page.at :]
            assert len(body) == header[2] and about[6] == about[7]
            total += about[7]
            values = columns[leaf[4].decode()]
            if leaf[1] == 6:
                at = 0
                for _ in range(group[3]):
                    size = struct.unpack_from("<I", body, at)[0]
                    values.append(body[at + 4 : at + 4 + size].decode())
                    at += 4 + size
                assert at == len(body)
            else:
                code = {2: "q", 4: "f", 5: "d"}[leaf[1]]
                values.extend(struct.unpack(f"<{group[3]}{code}", body))
        assert total == group[2]
    assert meta[3] == sum(g[3] for g in meta[4]) == len(columns[leaves[0][4].decode()])
    return columns, {kv[1].decode(): kv[2].decode() for kv in meta[5]}, [g[3] for g in meta[4]]


# --- event files ---


def crc32c(data):
    """Bit by bit, from the polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def message(data):
    """Protobuf fields [(number, value)]: varints and fixed as ints of their bits, the rest as bytes."""
    out, at = [], 0

    def varint():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return n

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(tag & 7) or varint()
            value = data[at : at + size]
            assert len(value) == size
            at += size
        out.append((tag >> 3, value))
    return out


def read_events(path):
    """[(wall time, step, {tag: value})], the first record's version text"""
    data, at, events, version = path.read_bytes(), 0, [], None
    while at < len(data):
        length, check = struct.unpack_from("<QI", data, at)
        assert check == masked(data[at : at + 8]), "length check"
        body = data[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(body), "data check"
        at += 16 + length
        fields = dict(message(body))
        wall = struct.unpack("<d", fields[1])[0]
        if 3 in fields:
            assert version is None and not events
            version = fields[3].decode()
            continue
        scalars = {}
        for number, value in message(fields[5]):
            assert number == 1
            one = dict(message(value))
            assert one[1].decode() not in scalars, one[1]
            scalars[one[1].decode()] = struct.unpack("<f", one[2])[0]
        events.append((wall, fields.get(2, 0), scalars))
    return events, version
