"""Fixtures of coded symbols, made from docs/protocol.md alone: `python3 symbols.py > symbols.json`."""

import hashlib
import json

WORD = (1 << 64) - 1
ABOUT = (
    "Coded symbols by an independent implementation of docs/protocol.md: ids and keys in hex, hashes and "
    "checks as hexadecimal numbers, sums as the bytes that travel. The ids of a set are those from 0 on, "
    "where id `n` is `n` as four little-endian bytes, eight times over."
)


def siphash(key, data):
    """SipHash-2-4, after the paper."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotated(word, bits):
        return (word << bits | word >> 64 - bits) & WORD

    def rounds(count):
        for _ in range(count):
            v[0] = v[0] + v[1] & WORD
            v[1] = rotated(v[1], 13) ^ v[0]
            v[0] = rotated(v[0], 32)
            v[2] = v[2] + v[3] & WORD
            v[3] = rotated(v[3], 16) ^ v[2]
            v[0] = v[0] + v[3] & WORD
            v[3] = rotated(v[3], 21) ^ v[0]
            v[2] = v[2] + v[1] & WORD
            v[1] = rotated(v[1], 17) ^ v[2]
            v[2] = rotated(v[2], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def draw(seed, number):
    z = seed + (number + 1) * 0x9E3779B97F4A7C15 & WORD
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB & WORD
    z ^= z >> 31
    return max(z >> 32, z & 0xFFFFFFFF)


def indices(seed):
    """All indices of an id with this hash, in order."""
    yield 0
    index, stage, number = 0, 0, 0
    while True:
        value, number = draw(seed, number), number + 1
        end = min(1 << 14 + 3 * stage, 1 << 30)
        following = end
        if value:
            # The smallest odd weight above w * 2^32 / v.
            weight = (2 * index + 3 << 32) // value + 1
            following = ((weight | 1) - 3) // 2
        if following < end:
            index = following
            yield index
        elif end == 1 << 30:
            return
        else:
            index, stage = end - 1, stage + 1
            number = stage << 32


def symbols(key, ids, start, end):
    """Sum, check and count at the indices from `start` to `end`."""
    made = [[0, 0, 0] for _ in range(start, end)]
    for id in ids:
        seed = siphash(key, id[:8])
        for index in indices(seed):
            if index >= end:
                break
            if index >= start:
                symbol = made[index - start]
                symbol[0] ^= int.from_bytes(id[:8], "little")
                symbol[1] ^= seed & 0xFFFFFFFF
                symbol[2] += 1
    return made


def encoded(made, start, count):
    out = b""
    for index, (sum, check, held) in enumerate(made, start):
        deviation = held - (4 * count + index + 2) // (2 * index + 4)
        number = 2 * deviation if deviation >= 0 else -2 * deviation - 1
        out += sum.to_bytes(8, "little") + check.to_bytes(4, "little")
        while number > 127:
            out += bytes([number & 127 | 128])
            number >>= 7
        out += bytes([number])
    return out


def mapping(key, id):
    seed = siphash(key, id[:8])
    found = list(indices(seed))
    return {
        "key": key.hex(),
        "id": id.hex(),
        "hash": f"{seed:016x}",
        "indices": found[:20],
        "from_16384": [index for index in found if index >= 16384][:8],
        "last": found[-1],
        "indices_in_all": len(found),
    }


def set_of(key, count, start, length):
    ids = [number.to_bytes(4, "little") * 8 for number in range(count)]
    made = symbols(key, ids, start, start + length)
    return {
        "key": key.hex(),
        "ids": count,
        "from": start,
        "symbols": [
            {"sum": sum.to_bytes(8, "little").hex(), "check": f"{check:08x}", "count": held}
            for sum, check, held in made
        ],
        "encoded": encoded(made, start, count).hex(),
    }


# Line 8 of `vectors_sip64` in the reference implementation.
assert siphash(bytes(range(16)), bytes(range(8))).to_bytes(8, "little").hex() == "6224939a79f5f593"

KEYS = [bytes(range(16)), bytes.fromhex("2c70e12b7a0646f92279f427c7b38e73")]
IDS = [bytes(32), b"\xff" * 32] + [hashlib.sha256(str(number).encode()).digest() for number in range(6)]
SETS = [(0, 1, 0, 3), (0, 3, 0, 6), (1, 40, 0, 12), (1, 6000, 16380, 12), (0, 50000, 131068, 10)]
fixtures = {
    "about": ABOUT,
    "mapping": [mapping(key, id) for key in KEYS for id in IDS],
    "sets": [set_of(KEYS[key], *rest) for key, *rest in SETS],
}
print(json.dumps(fixtures, indent=1))
