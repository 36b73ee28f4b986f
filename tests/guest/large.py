"""Submits itself with an environment of as many bytes as the argument says, and 2000 arguments. What it became then looks at
what it got: both must be what they were, to the last byte."""

import os
import subprocess
import sys

# The largest string that the kernel takes, with its NUL (`execve(2)`, MAX_ARG_STRLEN).
STRING_BYTES_MAX = 131072

env = {"HUGE": "h" * (STRING_BYTES_MAX - len("HUGE=") - 1), "PATH": os.environ["PATH"], "ODD": "ü\n\x1b[1m $HOME %n \\"}


def size(variables):
    return sum(len(f"{name}={value}".encode()) + 1 for name, value in variables.items())


wanted = int(sys.argv[1])
small = {f"V{at:05}": "v" * 100 for at in range((wanted - size(env) - 200) // size({"V00000": "v" * 100}))}
env |= small
env["LAST"] = "l" * (wanted - size(env) - len("LAST=") - 1)
argv = ["python3", "large.py", str(wanted)]
argv += [f"{at} ä\n" for at in range(2000 - len(argv))]

if len(sys.argv) == 2:
    sys.exit(subprocess.run(["fairshare", "submit", "--", *argv], env=env).returncode)


def got(what):
    with open(f"/proc/self/{what}", "rb") as file:
        return file.read()


assert got("cmdline") == b"".join(word.encode() + b"\0" for word in argv)
# Besides what it is told of its share.
environ = [pair for pair in got("environ").split(b"\0") if not pair.startswith(b"FAIRSHARE_")]
assert len(b"\0".join(environ)) == wanted
# An environment has no order.
assert sorted(environ) == sorted([b"", *(f"{name}={value}".encode() for name, value in env.items())])
print(f"{wanted} bytes and {len(argv)} arguments as they were")
