"""Runs a command with a file system in the folder `stuck` that this process serves, as any user may: it never answers when
a file is closed (FUSE_FLUSH), and whoever closes one waits. That the first does is told by the file `closing`.

After `--write` it answers that, and never when something is written (FUSE_WRITE). What is written stays in the kernel for a while
(FUSE_WRITEBACK_CACHE), and whoever closes the last of a file's descriptors waits, also of one that only a socket has.

The messages are those of <linux/fuse.h>, as far as opening, writing and closing one file needs them.
"""

import ctypes
import os
import struct
import subprocess
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, WRITE, RELEASE, FLUSH, INIT = 1, 2, 3, 4, 14, 16, 18, 25, 26
WRITEBACK_CACHE = 1 << 16
ENOSYS = 38
ROOT, FILE = 1, 2
libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount():
    """In a user namespace of its own, where it may."""
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)
    os.makedirs("stuck", exist_ok=True)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id={uid},group_id={gid}"
    check(libc.mount(b"stuck", os.path.abspath("stuck").encode(), b"fuse", 0, options.encode()))
    return fuse


def attributes(node):
    mode = 0o40755 if node == ROOT else 0o100644
    return struct.pack("<6Q3I7I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, os.getuid(), os.getgid(), 0, 4096, 0)


def answer(opcode, node, body):
    """What is said to a message; nothing where the kernel is to wait, or does not."""
    if opcode == INIT:
        flags = WRITEBACK_CACHE if unanswered == WRITE else 0
        return struct.pack("<4I2H2I2H8I", 7, 31, 0, flags, 12, 9, 4096, 1, 1, 0, *[0] * 8)
    if opcode == LOOKUP:
        return struct.pack("<4Q2I", FILE, 0, 60, 60, 0, 0) + attributes(FILE)
    if opcode in (GETATTR, SETATTR):
        return struct.pack("<Q2I", 60, 0, 0) + attributes(node)
    if opcode == OPEN:
        return struct.pack("<Q2I", 1, 0, 0)
    if opcode == WRITE:
        return struct.pack("<2I", struct.unpack_from("<2QI", body)[2], 0)
    if opcode == RELEASE:
        return b""
    return ENOSYS


def serve(fuse):
    while True:
        message = os.read(fuse, 1 << 17)
        _, opcode, unique, node = struct.unpack_from("<2I2Q", message)
        if opcode == unanswered:
            open("closing", "w").close()
        elif opcode != FORGET:
            said = answer(opcode, node, message[40:])
            error, said = (-said, b"") if isinstance(said, int) else (0, said)
            os.write(fuse, struct.pack("<IiQ", 16 + len(said), error, unique) + said)


words = sys.argv[1:]
unanswered = FLUSH
if words[0] == "--write":
    unanswered = WRITE
    words.pop(0)
fuse = mount()
command = subprocess.Popen(words)
serve(fuse)
