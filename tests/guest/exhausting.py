"""Uses up what there is only so much of on a machine, as a member can: `exhausting.py WHAT [ARGUMENT...]`. And what root still has.

An attack says that it is under way, and ends, as those of `hostile.py` do, which lies beside this file.
"""

import contextlib
import ctypes
import itertools
import os
import signal
import sys

from hostile import Client, Refused, await_file, hold_on, under_way


def tally(answers):
    for said in sorted(set(answers)):
        print(answers.count(said), said)
    sys.stdout.flush()


def attaches(processes, calls):
    """Takes so many processes into the share, each by itself, and asks on for those that were refused until so many calls were
    made. Prints what was answered, and how often."""
    outside = []
    for _ in range(int(processes)):
        child = os.fork()
        if child == 0:
            signal.pause()
        outside.append(child)
    pids, client, answers = list(outside), Client(), []
    under_way()
    for number in range(int(calls)):
        pid = outside[number % len(outside)] if number >= len(pids) else pids[number]
        try:
            client.call("attach", pids=[pid])
            outside.remove(pid)
            answers.append("moved")
        except Refused as refused:
            answers.append(f"refused {refused.code}")
    tally(answers)
    open("/tmp/attached", "w").close()
    hold_on()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def watch():
    """What any service of root's does that waits for files: `inotify_add_watch`."""
    libc = ctypes.CDLL(None, use_errno=True)
    inotify = libc.inotify_init()
    if libc.inotify_add_watch(inotify, b"/tmp", 0x100) < 0:
        sys.exit(os.strerror(ctypes.get_errno()))


def watches():
    """How many watches of inotify root's processes have."""
    count = 0
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{process}/fdinfo"):
                with contextlib.suppress(OSError):
                    count += open(f"/proc/{process}/fdinfo/{number}").read().count("inotify wd:")
    print(count)


def submissions(count):
    """Submits commands of as many texts as one may have, small in a frame, once there is the file `/tmp/stopping`.

    Says by the file `/tmp/ready-UID` that it has all that is to be sent.
    """
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    names = itertools.islice(("".join(name) for name in itertools.product("xyz", letters, letters, letters)), 16384)
    body = {"argv": ["true"] + [""] * 16383, "cwd": "/", "env": dict.fromkeys(names, "")}
    clients = [Client() for _ in range(int(count))]
    frame = clients[0].frame("submit", body)
    idle = Client()
    open(f"/tmp/ready-{os.getuid()}", "w").close()
    await_file("/tmp/stopping")
    under_way()
    for client in clients:
        client.socket.sendall(frame)
        # No faster than it is read.
        idle.call("ping")
    answers = []
    for client in clients:
        try:
            client.answer()
            answers.append("taken")
        except Refused as refused:
            answers.append(f"refused {refused}")
    tally(answers)


if __name__ == "__main__":
    try:
        globals()[sys.argv[1]](*sys.argv[2:])
    except Exception:
        # Whoever waits for an attack need not wait for one that failed.
        under_way()
        raise
