"""A client of a stemedb server, made from the protocol files alone.

    client.py PROTO_DIR HOST:PORT [TOKEN]

Appends, gets, proves, watches, and tries to get into a session without the secret. It knows nothing
of stemedb but what the comments in the protocol files say. Exits with 0 if all is as they say, and
prints what it did. Leaves exactly 41 assertions behind in an empty store.
"""

import os
import sys
import tempfile

import grpc
from blake3 import blake3
from grpc_tools import protoc

PROTO_DIR, ADDRESS = sys.argv[1:3]
TOKEN = sys.argv[3] if len(sys.argv) > 3 else None
DEADLINE = 20

with tempfile.TemporaryDirectory() as generated:
    files = ["stemedb/v1/store.proto", "stemedb/v1/replication.proto"]
    outputs = [f"--python_out={generated}", f"--grpc_python_out={generated}"]
    assert protoc.main(["protoc", f"-I{PROTO_DIR}", *outputs, *files]) == 0
    sys.path.insert(0, generated)
    from stemedb.v1 import replication_pb2, replication_pb2_grpc, store_pb2, store_pb2_grpc

METADATA = [("authorization", f"Bearer {TOKEN}")] if TOKEN else []
CALL = {"metadata": METADATA, "timeout": DEADLINE}


def keyed(context, data):
    key = blake3(b"", derive_key_context=f"stemedb v1 {context}").digest()
    return blake3(data, key=key).digest()


def set_root_of(proof):
    """Folds a proof up to a set root, as the comment of ProveResponse says."""
    siblings = [proof.siblings[at : at + 32] for at in range(0, len(proof.siblings), 32)]
    assert len(siblings) <= 256 and all(len(sibling) == 32 for sibling in siblings)

    def bit(id, n):
        return id[n // 8] >> (7 - n % 8) & 1

    node = bytes(32)
    if proof.HasField("terminal"):
        assert all(bit(proof.terminal, n) == bit(proof.id, n) for n in range(len(siblings)))
        node = keyed("set leaf", proof.terminal)
    for n in reversed(range(len(siblings))):
        pair = siblings[n] + node if bit(proof.id, n) else node + siblings[n]
        node = keyed("set node", pair)
    return keyed("set root", proof.count.to_bytes(8, "big") + node)


def set_root(ids, depth=0):
    """The root of the set tree, straight from its definition."""

    def node(ids, depth):
        if not ids:
            return bytes(32)
        if len(ids) == 1:
            return keyed("set leaf", ids[0])
        sides = [[], []]
        for id in ids:
            sides[id[depth // 8] >> (7 - depth % 8) & 1].append(id)
        return keyed("set node", node(sides[0], depth + 1) + node(sides[1], depth + 1))

    return keyed("set root", len(ids).to_bytes(8, "big") + node(sorted(ids), 0))


def details_of(error):
    """The google.rpc.Status of an error, encoded."""
    return dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")


def refused(code, reason, call, *args):
    try:
        answer = call(*args, **CALL)
        if isinstance(answer, grpc.Call) and hasattr(answer, "__iter__"):
            list(answer)
    except grpc.RpcError as error:
        assert error.code() == code, error
        assert reason is None or reason.encode() in details_of(error), (reason, error)
        return
    raise AssertionError(f"not refused: {str(args)[:200]}")


def main():
    channel = grpc.insecure_channel(ADDRESS)
    store = store_pb2_grpc.StoreServiceStub(channel)
    replication = replication_pb2_grpc.ReplicationServiceStub(channel)

    if TOKEN:
        try:
            store.Head(store_pb2.HeadRequest(), timeout=DEADLINE)
            raise AssertionError("let in without a token")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
            assert b"TOKEN" in details_of(error)

    head = store.Head(store_pb2.HeadRequest(), **CALL)
    assert head.count == 0 and head.set_root == set_root([]), head

    bodies = [f"assertion {n}".encode() for n in range(40)]
    receipt = store.Append(store_pb2.AppendRequest(body=bodies[0]), **CALL).receipt
    assert receipt.id == blake3(bodies[0]).digest() and receipt.index == 0
    assert not receipt.duplicate

    def messages():
        for at in range(0, len(bodies), 7):
            yield store_pb2.AppendBatchRequest(bodies=bodies[at : at + 7])
        # A long one in pieces.
        for _ in range(2):
            yield store_pb2.AppendBatchRequest(bodies=[b"x" * 1_500_000], continues=True)
        yield store_pb2.AppendBatchRequest(bodies=[b"x" * 1_500_000])

    receipts = []
    for answer in store.AppendBatch(messages(), **CALL):
        receipts.extend(answer.receipts)
    long = b"x" * 4_500_000
    bodies.append(long)
    assert [receipt.id for receipt in receipts] == [blake3(body).digest() for body in bodies]
    assert [receipt.duplicate for receipt in receipts] == [True] + [False] * 40

    head = store.Head(store_pb2.HeadRequest(), **CALL)
    ids = [receipt.id for receipt in receipts]
    assert head.count == 41 and head.set_root == set_root(ids)
    print(f"appended 41 assertions; set root {head.set_root.hex()}")

    def get(**which):
        """The entry and the body, from as many messages as it takes."""
        parts = list(store.Get(store_pb2.GetRequest(**which), **CALL))
        return parts[0].entry, b"".join(part.part for part in parts)

    entry, body = get(id=ids[3])
    assert body == bodies[3] and entry.len == len(bodies[3])
    entry, body = get(prefix=ids[5].hex()[:8])
    assert body == bodies[5] and entry.index == 5
    entry, body = get(index=40)
    assert body == long and entry.len == len(long)
    refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", store.Get, store_pb2.GetRequest(id=bytes(32)))
    for request in [
        store_pb2.GetRequest(),
        store_pb2.GetRequest(id=b"short"),
        store_pb2.GetRequest(prefix="../../etc"),
    ]:
        refused(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED", store.Get, request)
    print("got bodies by id, prefix and index")

    for id, present in [(ids[0], True), (ids[40], True), (bytes(32), False), (b"\xff" * 32, False)]:
        proof = store.Prove(store_pb2.ProveRequest(id=id), **CALL)
        assert proof.id == id and proof.set_root == head.set_root
        assert set_root_of(proof) == head.set_root
        assert (proof.HasField("terminal") and proof.terminal == id) == present
    print("verified proofs of presence and absence")

    seen = []
    for answer in store.Watch(store_pb2.WatchRequest(bodies=True, stop_at_end=True), **CALL):
        seen.extend(answer.entries)
    assert [entry.id for entry in seen] == ids
    assert [entry.index for entry in seen] == list(range(41))
    assert all(a.time < b.time for a, b in zip(seen, seen[1:]))
    assert all(entry.body == body for entry, body in zip(seen[:40], bodies))
    assert not seen[40].HasField("body") and seen[40].len == len(long)
    print("watched the log")

    over = store_pb2.AppendRequest(body=bytes(4 << 20))
    refused(grpc.StatusCode.OUT_OF_RANGE, None, store.Append, over)

    # Without a right proof of the secret, a session does not begin, and nothing is told.
    envelope = replication_pb2.Envelope(session=os.urandom(16), request=1)
    root = replication_pb2.SetHead(count=1, root=bytes(32))
    hello = {"envelope": envelope, "version": 1, "node": os.urandom(16), "epoch": 1, "set": root}
    refused(
        grpc.StatusCode.UNAUTHENTICATED,
        "SECRET",
        replication.Hello,
        replication_pb2.HelloRequest(proof=os.urandom(16), **hello),
    )
    refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        "MESSAGE_MALFORMED",
        replication.Hello,
        replication_pb2.HelloRequest(proof=b"short", **hello),
    )
    print("was not let into a session")
    channel.close()


main()
