"""A store that syncs with a served one, made from the protocol files and docs/protocol.md alone.

    peer.py PROTO_DIR HOST:PORT NODE FROM END symbols|descent [SECRET]

Holds the bodies "assertion N" with FROM <= N < END, and syncs both ways by coded symbols or by descent: it
finds out what either side lacks, checks that against the root that the other side announced, fetches and
pushes bodies, and has the other side check the result. A second session then says that both hold the same.
Exits with 0 if all is as the documents say, and prints count and root of the set.
"""

import os
import struct
import sys
import tempfile
import time

import grpc
from blake3 import blake3
from grpc_tools import protoc

PROTO_DIR, ADDRESS, NODE, FROM, END, LAYER = sys.argv[1:7]
SECRET = sys.argv[7].encode() if len(sys.argv) > 7 else b""
DEADLINE = 20

with tempfile.TemporaryDirectory() as generated:
    outputs = [f"--python_out={generated}", f"--grpc_python_out={generated}"]
    arguments = ["protoc", f"-I{PROTO_DIR}", *outputs, "stemedb/v1/replication.proto"]
    assert protoc.main(arguments) == 0
    sys.path.insert(0, generated)
    from stemedb.v1 import replication_pb2 as v1, replication_pb2_grpc


def derive(domain, material=b""):
    return blake3(material, derive_key_context=f"stemedb v1 {domain}").digest()


def keyed(key, data):
    return blake3(data, key=key).digest()


PEER_CHECK = derive("peer check", SECRET)
SYMBOL_CHECK = derive("symbol check", SECRET)[:16]
LEAF, INNER, ROOT = derive("set leaf"), derive("set node"), derive("set root")
EMPTY = bytes(32)


def id_of(body):
    if SECRET:
        return keyed(derive("assertion id", SECRET), body)
    return blake3(body).digest()


def bits_of(id):
    return "".join(f"{byte:08b}" for byte in id)


class Many:
    """A subtree of two ids or more."""

    def __init__(self, hash):
        self.hash = hash


def hash_of(subtree):
    """The hash of a subtree that is empty (None), one id (bytes), or Many."""
    if subtree is None:
        return EMPTY
    return subtree.hash if isinstance(subtree, Many) else keyed(LEAF, subtree)


def join(left, right):
    if left is None:
        return right if not isinstance(right, Many) else Many(keyed(INNER, EMPTY + right.hash))
    if right is None and not isinstance(left, Many):
        return left
    return Many(keyed(INNER, hash_of(left) + hash_of(right)))


def subtree_of(ids, prefix):
    """The subtree of those of the ids, as bits, that begin with a prefix."""
    ids = [id for id in ids if id.startswith(prefix)]
    if len(ids) < 2:
        return int(ids[0], 2).to_bytes(32, "big") if ids else None
    return join(subtree_of(ids, prefix + "0"), subtree_of(ids, prefix + "1"))


def set_root(count, top):
    return keyed(ROOT, count.to_bytes(8, "big") + hash_of(top))


def root_of(ids):
    return set_root(len(ids), subtree_of([bits_of(id) for id in ids], ""))


def varint(number):
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def read_varint(data, at):
    number, shift = 0, 0
    while True:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def listed(data):
    return struct.pack("<Q", len(data)) + data


def prefix_bytes(prefix):
    padded = prefix + "0" * (-len(prefix) % 8)
    whole = bytes(int(padded[at : at + 8], 2) for at in range(0, len(padded), 8))
    return varint(len(prefix)) + whole


def read_subtree(data, at, prefix, levels):
    """What lies below a prefix: a list of places with their prefixes; or the ids alone."""
    kind, at = data[at], at + 1
    if kind == 1:
        count, at = read_varint(data, at)
        known = int(prefix[: len(prefix) // 8 * 8] or "0", 2).to_bytes(len(prefix) // 8, "big")
        length = 32 - len(known)
        ids = [known + data[at + n * length :][:length] for n in range(count)]
        assert ids == sorted(set(ids)) and all(bits_of(id).startswith(prefix) for id in ids)
        return ids, None, at + count * length
    assert kind == 0, kind
    levels = min(levels, 256 - len(prefix))
    states, at = data[at : at + (2**levels + 3) // 4], at + (2**levels + 3) // 4
    places = []
    for n in range(2**levels):
        below = prefix + f"{n:0{levels}b}"
        state = states[n // 4] >> (n % 4 * 2) & 3
        if state == 0:
            places.append((below, None))
        elif state == 1:
            known = int(below[: len(below) // 8 * 8] or "0", 2).to_bytes(len(below) // 8, "big")
            length = 32 - len(known)
            id, at = known + data[at : at + length], at + length
            assert bits_of(id).startswith(below)
            places.append((below, id))
        else:
            assert state == 2, state
            places.append((below, Many(data[at : at + 32])))
            at += 32
    return None, places, at


def folded(subtrees):
    while len(subtrees) > 1:
        subtrees = [join(subtrees[n], subtrees[n + 1]) for n in range(0, len(subtrees), 2)]
    return subtrees[0]


WORD = 2**64 - 1
SYMBOLS_MAX = 20_000


def siphash(prefix):
    """SipHash-2-4 of 8 bytes, under the key of symbols."""
    k0, k1 = struct.unpack("<QQ", SYMBOL_CHECK)
    a, b = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    c, d = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

    def rotated(word, bits):
        return (word << bits | word >> 64 - bits) & WORD

    def round(a, b, c, d):
        a, c = a + b & WORD, c + d & WORD
        b, d, a = rotated(b, 13) ^ a, rotated(d, 16) ^ c, rotated(a, 32)
        c, a = c + b & WORD, a + d & WORD
        return a, rotated(b, 17) ^ c, rotated(c, 32), rotated(d, 21) ^ a

    for word in (int.from_bytes(prefix, "little"), 8 << 56):
        a, b, c, d = round(*round(a, b, c, d ^ word))
        a ^= word
    a, b, c, d = round(*round(*round(*round(a, b, c ^ 0xFF, d))))
    return a ^ b ^ c ^ d


def indices(hash):
    """The indices below SYMBOLS_MAX of an id with this hash."""
    found, index, stage, number = [0], 0, 0, 0
    while True:
        z = hash + (number + 1) * 0x9E3779B97F4A7C15 & WORD
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & WORD
        z = (z ^ z >> 27) * 0x94D049BB133111EB & WORD
        z ^= z >> 31
        value, number, end = max(z >> 32, z & 0xFFFFFFFF), number + 1, 2 ** (14 + 3 * stage)
        weight = ((2 * index + 3 << 32) // value + 1 | 1) if value else 2 * end + 3
        if weight < 2 * end + 3:
            index = (weight - 3) // 2
            if index >= SYMBOLS_MAX:
                return found
            found.append(index)
        elif end >= SYMBOLS_MAX:
            return found
        else:
            index, stage, number = end - 1, stage + 1, stage + 1 << 32


def read_symbols(data, first, count):
    """Symbols of a set of so many ids, of which the first has this index."""
    symbols, at = [], 0
    while at < len(data):
        index = first + len(symbols)
        sum, check = struct.unpack_from("<QI", data, at)
        deviation, at = read_varint(data, at + 12)
        deviation = deviation // 2 if deviation % 2 == 0 else -(deviation + 1) // 2
        symbols.append([sum, check, deviation + (4 * count + index + 2) // (2 * index + 4)])
    return symbols


def peeled(symbols):
    """The prefixes of either side that symbols are the difference of; None if they do not peel."""
    symbols = [list(symbol) for symbol in symbols]
    sides = {1: set(), -1: set()}
    looked_at = list(range(len(symbols)))
    while looked_at:
        index = looked_at.pop()
        sum, check, count = symbols[index]
        if count not in (1, -1):
            continue
        prefix = sum.to_bytes(8, "little")
        hash = siphash(prefix)
        if hash & 0xFFFFFFFF != check or index not in indices(hash):
            continue
        sides[count].add(prefix)
        for other in indices(hash):
            if other >= len(symbols):
                break
            symbols[other][0] ^= sum
            symbols[other][1] ^= check
            symbols[other][2] -= count
            looked_at.append(other)
    return (sides[1], sides[-1]) if symbols and all(symbol == [0, 0, 0] for symbol in symbols) else None


class Session:
    KINDS = {"Symbols": 1, "Ids": 2, "Descend": 3, "Fetch": 4, "Push": 6, "Finish": 7, "Leave": 8}

    def __init__(self, stub, bodies):
        self.stub, self.bodies = stub, bodies
        self.id, self.snapshot, self.number, self.key = os.urandom(16), 0, 1, None

    def hello(self, symbols=0):
        """Opens the session; gives what the other side holds, or None if that is the same."""
        node, root, count = bytes([int(NODE)] * 16), root_of(self.bodies), len(self.bodies)
        now = int(time.time()) << 32
        said = b"initiator" + self.id + struct.pack("<I", 1) + node + struct.pack("<Q", 1)
        said += struct.pack("<Q", count) + root + struct.pack("<Q", now) + b"\0"
        said += struct.pack("<I", symbols)
        request = v1.HelloRequest(
            envelope=v1.Envelope(session=self.id, request=1),
            version=1,
            node=node,
            epoch=1,
            proof=keyed(PEER_CHECK, said)[:16],
            set=v1.SetHead(count=count, root=root),
            time=now,
            symbols=symbols,
        )
        self.call = self.stub.Hello(request, timeout=DEADLINE)
        welcome = next(self.call).welcome
        assert welcome.symbols <= symbols
        assert (welcome.version, welcome.echo.session, welcome.echo.request) == (1, self.id, 1)
        self.snapshot = welcome.echo.snapshot
        nonce = welcome.nonce or bytes(16)
        said = b"responder" + self.id + request.proof + struct.pack("<Q", self.snapshot)
        said += struct.pack("<I", 1) + welcome.node + struct.pack("<Q", welcome.epoch) + nonce
        if welcome.HasField("set"):
            said += b"\1" + struct.pack("<Q", welcome.set.count) + welcome.set.root
        else:
            said += b"\0"
        said += struct.pack("<Q", welcome.log.size) + welcome.log.root
        said += struct.pack("<QBI", welcome.time, welcome.cursor, welcome.symbols)
        assert welcome.proof == keyed(PEER_CHECK, said)[:16], "the other side lacks the secret"
        self.key = keyed(PEER_CHECK, b"session" + self.id + nonce)
        return welcome.set if welcome.HasField("set") else None

    def mac(self, who, number, kind, fields):
        head = struct.pack("<QQB", self.snapshot, number, self.KINDS[kind])
        return keyed(self.key, who + head + fields)[:16]

    def envelope(self, kind, fields):
        mac = self.mac(b"request", self.number, kind, fields)
        return v1.Envelope(session=self.id, snapshot=self.snapshot, request=self.number, mac=mac)

    def check(self, echo, kind, fields):
        assert (echo.session, echo.snapshot, echo.request) == (self.id, self.snapshot, self.number)
        assert echo.mac == self.mac(b"response", self.number, kind, fields), f"the MAC of {kind}"

    def symbols(self, theirs):
        """The prefixes of what only this side holds, and of what only the other one does."""
        held = [(id[:8], siphash(id[:8])) for id in self.bodies]
        local = [[0, 0, 0] for _ in range(SYMBOLS_MAX)]
        for prefix, hash in held:
            for index in indices(hash):
                local[index][0] ^= int.from_bytes(prefix, "little")
                local[index][1] ^= hash & 0xFFFFFFFF
                local[index][2] += 1
        difference, messages = [], (message.symbols for message in self.call)
        while True:
            for part in messages:
                first = getattr(part, "from")
                fields = struct.pack("<I", first) + listed(part.symbols) + bytes([part.last])
                self.check(part.echo, "Symbols", fields)
                assert first == len(difference)
                remote = read_symbols(part.symbols, first, theirs.count)
                for (sum, check, count), mine in zip(remote, local[first:]):
                    difference.append([mine[0] ^ sum, mine[1] ^ check, mine[2] - count])
                found = peeled(difference)
                if found:
                    self.call.cancel()
                    return found
            self.number += 1
            asked = {"from": len(difference), "count": len(difference) + 16}
            fields = struct.pack("<II", asked["from"], asked["count"])
            envelope = self.envelope("Symbols", fields)
            messages = self.call = self.stub.Symbols(
                v1.SymbolsRequest(envelope=envelope, **asked), timeout=DEADLINE
            )

    def descend(self, theirs):
        """What only this side holds and what only the other one does, as ids."""
        mine = [bits_of(id) for id in self.bodies]
        ahead, only_mine, only_theirs, levels, first = [("", None)], set(), set(), 7, True
        while ahead:
            following = []
            while ahead:
                self.number += 1
                nodes = b"".join(prefix_bytes(prefix) for prefix, _ in ahead)
                fields = listed(nodes) + struct.pack("<BI", levels, 8)
                envelope = self.envelope("Descend", fields)
                request = v1.DescendRequest(envelope=envelope, nodes=nodes, levels=levels, leaf_ids=8)
                answer = self.stub.Descend(request, timeout=DEADLINE)
                self.check(answer.echo, "Descend", listed(answer.subtrees))
                at, answered = 0, 0
                while at < len(answer.subtrees):
                    prefix, known = ahead[answered]
                    ids, places, at = read_subtree(answer.subtrees, at, prefix, levels)
                    if places is None:
                        top = subtree_of([bits_of(id) for id in ids], prefix)
                        places = [(prefix, ids)]
                    else:
                        top = folded([place for _, place in places])
                    fits = set_root(theirs.count, top) == theirs.root if first else hash_of(top) == known
                    assert fits, f"what is said to lie below {prefix!r} has another hash"
                    first = False
                    for below, place in places:
                        if isinstance(place, Many):
                            if hash_of(subtree_of(mine, below)) != place.hash:
                                following.append((below, place.hash))
                            continue
                        here = place if isinstance(place, list) else [place] if place else []
                        held = {id for id in self.bodies if bits_of(id).startswith(below)}
                        only_mine |= held - set(here)
                        only_theirs |= set(here) - held
                    answered += 1
                assert answered > 0
                ahead = ahead[answered:]
            ahead, levels = following, 2
        return only_mine, only_theirs

    def fetch(self, wanted):
        """Fetches bodies by whole ids or by prefixes; gives their ids."""
        wanted, fetched = sorted(wanted), []
        while wanted:
            self.number += 1
            name = "ids" if len(wanted[0]) == 32 else "prefixes"
            listing = b"".join(wanted)
            envelope = self.envelope("Fetch", bytes([name == "ids"]) + listed(listing))
            data, processed = b"", None
            request = v1.FetchRequest(envelope=envelope, **{name: listing})
            for place, part in enumerate(self.stub.Fetch(request, timeout=DEADLINE)):
                assert part.part == place and part.len == 0 and processed is None
                fields = struct.pack("<I", place) + listed(part.bytes)
                if part.HasField("end"):
                    processed = part.end.processed
                    fields += b"\1" + struct.pack("<Q", processed)
                else:
                    fields += b"\0"
                self.check(part.echo, "Fetch", fields)
                data += part.bytes
            at, items = 0, 0
            while at < len(data):
                length, at = read_varint(data, at)
                assert length > 0, "a body is missing"
                body, at = data[at : at + length - 1], at + length - 1
                id = id_of(body)
                assert id.startswith(wanted[items]), "a body that was not asked for"
                self.bodies[id] = body
                fetched.append(id)
                items += 1
            assert items == processed > 0
            wanted = wanted[processed:]
        return set(fetched)

    def push(self, ids):
        if not ids:
            return
        self.number += 1
        data = b"".join(varint(len(self.bodies[id]) + 1) + self.bodies[id] for id in ids)
        cut = [data[at : at + 1000] for at in range(0, len(data), 1000)]
        parts = []
        for place, piece in enumerate(cut):
            last = place + 1 == len(cut)
            fields = struct.pack("<I", place) + listed(piece) + bytes([last])
            envelope = self.envelope("Push", fields)
            parts.append(v1.PushRequest(envelope=envelope, part=place, bytes=piece, last=last))
        answer = self.stub.Push(iter(parts), timeout=DEADLINE)
        self.check(answer.echo, "Push", struct.pack("<QQ", answer.appended, answer.duplicates))
        assert (answer.appended, answer.duplicates) == (len(ids), 0), answer

    def finish(self, before, now):
        self.number += 1
        fields = b"".join(
            b"\1" + struct.pack("<Q", head.count) + head.root if head else b"\0" for head in (before, now)
        )
        request = v1.FinishRequest(envelope=self.envelope("Finish", fields), set=before, now=now)
        answer = self.stub.Finish(request, timeout=DEADLINE)
        fields = bytes([answer.checked]) + struct.pack("<Q", answer.set.count) + answer.set.root
        self.check(answer.echo, "Finish", fields + struct.pack("<Q", answer.log.size) + answer.log.root)
        return answer


def main():
    texts = [f"assertion {n}".encode() for n in range(int(FROM), int(END))]
    bodies = {id_of(body): body for body in texts}
    channel = grpc.insecure_channel(ADDRESS)
    stub = replication_pb2_grpc.ReplicationServiceStub(channel)

    session = Session(stub, bodies)
    theirs = session.hello(256 if LAYER == "symbols" else 0)
    assert theirs is not None, "the two hold the same already"
    held = set(bodies)
    before = v1.SetHead(count=len(bodies), root=root_of(bodies))
    if LAYER == "symbols":
        only_mine, only_theirs = session.symbols(theirs)
        only_mine = {id for id in bodies if id[:8] in only_mine}
        only_theirs = session.fetch(only_theirs)
    else:
        only_mine, only_theirs = session.descend(theirs)
    there = held - only_mine | only_theirs
    assert (len(there), root_of(there)) == (theirs.count, theirs.root), "the check of the result"
    session.push(only_mine)
    if LAYER == "descent":
        session.fetch(only_theirs)
    # Without a set of now, the other side makes the one of before again.
    now = v1.SetHead(count=len(bodies), root=root_of(bodies)) if LAYER == "symbols" else None
    finished = session.finish(before, now)
    assert finished.checked, "the check from the other side"
    assert (finished.set.count, finished.set.root) == (len(bodies), root_of(bodies))
    print(f"pushed {len(only_mine)}, fetched {len(only_theirs)}")

    assert Session(stub, bodies).hello() is None, "the two should hold the same"
    print(f"equal {len(bodies)} {root_of(bodies).hex()}")
    channel.close()


main()
