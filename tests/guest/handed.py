"""Hands to the daemon what is no stream, and texts that are none. Prints what each was answered, as `WHAT CODE MESSAGE`.

Run by a member who holds a share.
"""

import array
import contextlib
import errno
import os
import socket
import struct
import sys
import tempfile
import time

import cbor2

# The most that the kernel takes in one message (`SCM_MAX_FD` in its net/scm.h).
DESCRIPTORS_MAX = 253
MARK = "MARK"


def frame(value, bytes_of_mark=MARK.encode()):
    payload = cbor2.dumps(value).replace(MARK.encode(), bytes_of_mark)
    return struct.pack(">I", len(payload)) + payload


def exactly(sock, count):
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def receive(sock):
    return cbor2.loads(exactly(sock, struct.unpack(">I", exactly(sock, 4))[0]))


def connect():
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect("/run/fairshare.sock")
    sock.sendall(frame({"protocol_version": 2, "client_name": "handed", "client_version": "1", "supports": []}))
    receive(sock)
    return sock


def call(sock, what, body, descriptors=(), endpoint="submit", bytes_of_mark=MARK.encode()):
    request = frame({"v": 2, "request_id": 1, "endpoint": endpoint, "body": body}, bytes_of_mark)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        # A large frame may be cut; the descriptors go with its first bytes.
        sent = sock.sendmsg([request], rights)
        sock.sendall(request[sent:])
        answer = receive(sock)["body"]
    except (EOFError, ConnectionError):
        print(what, "closed")
        return
    error = answer.get("err")
    print(what, error["code"] if error else 0, error["message"] if error else answer)


def command(**changed):
    return {"argv": ["true"], "cwd": "/", "env": {"PATH": "/usr/bin:/bin"}} | changed


def streams():
    null = os.open("/dev/null", os.O_RDWR)
    mine = connect()
    pair = socket.socketpair()
    pipe = os.pipe()
    several = {
        "four": [null] * 4,
        "most": [null] * DESCRIPTORS_MAX,
        "folder": [null, os.open("/", os.O_RDONLY)],
        "socket": [pair[0].fileno()],
        "path": [os.open("/dev/null", os.O_PATH)],
        "process": [os.pidfd_open(os.getpid())],
        "read-only": [null, os.open("/dev/null", os.O_RDONLY)],
        "write-only": [pipe[1]],
        "listener": [socket.create_server(("127.0.0.1", 0)).fileno()],
    }
    for what, descriptors in several.items():
        call(connect(), what, command(), descriptors)
    # The other end of this one is a descriptor of the daemon's own.
    call(mine, "connection", command(), [mine.fileno()])
    call(connect(), "elsewhere", {}, [null] * 3, endpoint="ping")
    with tempfile.TemporaryFile() as file:
        call(connect(), "closed-after", command(), [null, file.fileno()])
    call(connect(), "memory", command(), [null, os.memfd_create("memory")])
    call(connect(), "pipe", command(), [pipe[0], null, null])
    # Who goes before the frame is whole leaves nothing either.
    for _ in range(20):
        sock = connect()
        part_with(sock, null)
        sock.close()
    with contextlib.suppress(OSError):
        os.close(null)
        socket.socket(socket.AF_UNIX).sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null]))])


def part_with(sock, descriptor):
    """Sends part of a frame with as many copies of the descriptor as fit.

    The kernel refuses more than RLIMIT_NOFILE of a user's descriptors under way (`too_many_unix_fds` in its net/core/scm.c)
    until the daemon has taken those of the connections before.
    """
    while True:
        try:
            sock.sendmsg([frame({})[:3]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor] * DESCRIPTORS_MAX))])
            return
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise
            time.sleep(0.01)


def texts():
    call(connect(), "nul", command(argv=["sh", "-c", "a\0b"]))
    call(connect(), "nul-folder", command(cwd="/\0"))
    call(connect(), "nul-variable", command(env={"A": "b\0c"}))
    call(connect(), "no-command", command(argv=[]))
    call(connect(), "no-text", command(argv=["sh", MARK]), bytes_of_mark=b"\xff\xfe\xff\xfe")
    call(connect(), "no-text-variable", command(env={"A": MARK}), bytes_of_mark=b"\xff\xfe\xff\xfe")
    call(connect(), "many", command(argv=["true"] + ["a"] * 5000))
    call(connect(), "bytes", command(argv=[b"true", b"\xe9"], env={"PATH": b"/usr/bin:/bin", b"V\xe9": b"\xff"}))
    call(connect(), "nul-bytes", command(argv=["sh", b"\xe9\0"]))


{"streams": streams, "texts": texts}[sys.argv[1]]()
