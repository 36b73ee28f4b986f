"""How the benches of a guest time things: commands of users, pairs in turn, rows of a table."""

import json
import os
import socket
import statistics
import subprocess
import time


class User:
    """A process of a user's that runs commands and says how long each took, in seconds."""

    def __init__(self, name):
        self.ours, theirs = socket.socketpair()
        if os.fork() == 0:
            self.ours.close()
            if name != "root":
                import grp
                import pwd
                user = pwd.getpwnam(name)
                os.initgroups(name, user.pw_gid)
                os.setgid(user.pw_gid)
                os.setuid(user.pw_uid)
            os.chdir("/")
            self.serve(theirs.makefile("rw"))
            os._exit(0)
        theirs.close()
        self.pipe = self.ours.makefile("rw")

    @staticmethod
    def serve(pipe):
        null = os.open(os.devnull, os.O_RDWR)
        redirect = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
        for line in pipe:
            argv = json.loads(line)
            began = time.perf_counter()
            pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=redirect)
            _, status = os.waitpid(pid, 0)
            took = time.perf_counter() - began
            pipe.write(json.dumps([took, os.waitstatus_to_exitcode(status)]) + "\n")
            pipe.flush()

    def __call__(self, *argv):
        self.pipe.write(json.dumps(argv) + "\n")
        self.pipe.flush()
        took, code = json.loads(self.pipe.readline())
        if code != 0:
            raise SystemExit(f"{argv}: exit code {code}")
        return took


root, alice = User("root"), User("alice")


def quietly(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def medians(ours, theirs, runs):
    """Both in turn; the first of each is not counted."""
    pairs = [(ours(at), theirs(at)) for at in range(runs + 1)][1:]
    return [statistics.median(column) for column in zip(*pairs)]


def row(what, against, most, figures, unit="ms"):
    ours, theirs = figures
    scale = 1000 if unit == "ms" else 1
    print(f"| {what} | {against} | {ours * scale:.1f} {unit} | {theirs * scale:.1f} {unit} "
          f"| {ours / theirs:.3f} | {most} |", flush=True)
