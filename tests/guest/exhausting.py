"""Uses up what there is only so much of on a machine, as a member can: `exhausting.py WHAT [ARGUMENT...]`.

An attack says that it is under way as those of `hostile.py` do, which lies beside this file.
"""

import itertools
import os
import sys
import time

from hostile import Client, Refused, under_way


def tally(answers):
    for said in sorted(set(answers)):
        print(answers.count(said), said)
    sys.stdout.flush()


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
    while not os.path.exists("/tmp/stopping"):
        time.sleep(0.05)
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
