"""Attacks on fairshared by a member, by name: `attack.py NAME`. Ends with 0 when the daemon did what the contract says."""
import array
import os
import socket
import struct
import sys
import time

import cbor2

PATH = "/run/fairshare.sock"
GIVE_UP = time.monotonic() + 60
EVIL = "\nEVIL: granted\r\x1b[2J\x1b]0;x\x07\u009b31m\u202e\0PEER_UID=0"


def frame(item):
    payload = item if isinstance(item, bytes) else cbor2.dumps(item)
    return struct.pack(">I", len(payload)) + payload


def hello(name="attack", version="1"):
    return frame({"protocol_version": 2, "client_name": name, "client_version": version, "supports": []})


def request(endpoint, body, **more):
    return frame({"v": 2, "request_id": 1, "endpoint": endpoint, "body": body, **more})


def connect(greet=True, bind=None):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(60)
    if bind is not None:
        peer.bind(bind)
    peer.connect(PATH)
    if not greet:
        return peer
    try:
        peer.sendall(hello())
        if "authz" in (answer(peer) or {}):
            return peer
    except BrokenPipeError:
        pass
    # Too many connections of this user: those of the attack before are still being closed.
    if time.monotonic() > GIVE_UP:
        sys.exit("no connection to be had any more")
    time.sleep(0.2)
    return connect(greet, bind)


def exactly(peer, count):
    data = b""
    while len(data) < count:
        try:
            part = peer.recv(count - len(data))
        except ConnectionResetError:
            part = b""
        if not part:
            return None
        data += part
    return data


def answer(peer):
    prefix = exactly(peer, 4)
    return prefix and cbor2.loads(exactly(peer, struct.unpack(">I", prefix)[0]))


def code(peer):
    said = answer(peer)
    return said and said["body"].get("err", {"code": 0})["code"]


def silent():
    peers = [connect(greet=False) for _ in range(1000)]
    codes = [code(peer) for peer in peers]
    # Where connecting takes longer than the 2 s for a hello, places become free meanwhile.
    assert set(codes) == {6, 7} and codes.count(7) >= 16, codes


def lengths():
    for length in (0, 1 << 31, (1 << 32) - 1, (1 << 20) + 1):
        for greet in (False, True):
            peer = connect(greet)
            peer.sendall(struct.pack(">I", length))
            assert answer(peer) is None


def drip():
    peers = [connect() for _ in range(15)]
    start = time.monotonic()
    for peer in peers:
        peer.sendall(b"\0\0\x10\0")
    while time.monotonic() - start < 8:
        for peer in peers:
            try:
                peer.send(b"\x40")
            except (BrokenPipeError, ConnectionResetError):
                pass
        time.sleep(0.2)
    assert [code(peer) for peer in peers] == [7] * 15


def hoard():
    peers = [connect() for _ in range(15)]
    for peer in peers:
        peer.setblocking(False)
    half = struct.pack(">I", 1 << 20) + bytes((1 << 20) - 1)
    left = [half] * len(peers)
    start = time.monotonic()
    while time.monotonic() - start < 6:
        for index, peer in enumerate(peers):
            try:
                left[index] = left[index][peer.send(left[index]):]
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                pass


def descriptors():
    peer = connect()
    own = array.array("i", [0, 1, 2])
    ping = request("ping", {})
    for _ in range(3000):
        peer.sendmsg([ping], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, own)])
        assert code(peer) == 0
    connect(greet=False).sendmsg([b"\0\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, own)])


def leave():
    talk = hello() + request("ping", {}) + request("list", {})
    for end in range(0, len(talk) + 1, 3):
        try:
            connect(greet=False).sendall(talk[:end])
        except (BrokenPipeError, ConnectionResetError):
            # Refused: those before are not all seen to have gone.
            pass


def pipeline():
    for endpoint in ("ping", "list", "health"):
        peers = [connect() for _ in range(14)]
        for peer in peers:
            peer.setblocking(False)
            requests = request(endpoint, {}) * 1000
            try:
                # A part of it is all that is taken: what came after that would begin within a frame.
                while peer.send(requests) == len(requests):
                    pass
            except BlockingIOError:
                pass
        for peer in peers:
            peer.close()


def claims():
    peer = connect()
    for body, more, expected in (({}, {"uid": 0}, 1), ({"uid": 0}, {}, 1), ({"for_uid": 0}, {}, 4)):
        peer.sendall(request("status", body, **more))
        assert code(peer) == expected, (body, more)
    peer = connect(bind="\0/run/fairshare.sock uid=0 root")
    peer.sendall(request("release", {}))
    assert code(peer) == 0
    assert connect(greet=False).send(hello("root\nuid=0")) > 0


def texts():
    for text in (EVIL, EVIL + "x" * 65536):
        for item in (request(text, {}), request("ping", text), request("ping", {text: 1}), request("ping", {}, **{text: 1}),
                     request("submit", {"argv": [text], "cwd": text, "env": {text: text}, "name": text[:20]}),
                     request("submit", {"argv": [text], "cwd": text, "env": {}, "name": text})):
            peer = connect()
            peer.sendall(item)
            said = answer(peer)["body"]["err"]
            assert "\n" not in said["message"] and "\x1b" not in said["message"], said
        peer = connect(greet=False)
        peer.sendall(hello(text[:30], "1\n2"))
        answer(peer)


def garbage():
    for _ in range(100):
        peer = connect(greet=False)
        try:
            peer.sendall(os.urandom(4096))
            while answer(peer):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass


for name in sys.argv[1:]:
    globals()[name]()
    print(name, "done", flush=True)
