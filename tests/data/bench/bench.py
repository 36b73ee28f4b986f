"""Times fairshare against what a user would use instead, inside a guest, in one run.

Each pair is run in turn, A B A B ...; the figure is the ratio of the medians.
"""

import glob
import socket
import struct
import subprocess
import sys
import time

import cbor2

import timing
from timing import alice, quietly, root, row

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
SHARES = 200
FOLLOWERS = 10
# How long the daemon is left alone, in seconds.
IDLE = 60
FIRST_UID = 20000
PROPERTIES = (("CPUQuota=", "%"), ("CPUWeight=", ""), ("IOWeight=", ""))


class Client:
    """A connection to the daemon."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect("/run/fairshare.sock")
        self.number = 0
        hello = {"protocol_version": 2, "client_name": "bench", "client_version": "1", "supports": []}
        self.exchange(hello)

    def exchange(self, message):
        payload = cbor2.dumps(message)
        self.socket.sendall(struct.pack(">I", len(payload)) + payload)
        return self.receive()

    def receive(self):
        (length,) = struct.unpack(">I", self.socket.recv(4, socket.MSG_WAITALL))
        return cbor2.loads(self.socket.recv(length, socket.MSG_WAITALL))

    def call(self, endpoint, **body):
        self.number += 1
        answer = self.exchange({"v": 2, "request_id": self.number, "endpoint": endpoint, "body": body})
        if "ok" not in answer["body"]:
            raise SystemExit(f"{endpoint}: {answer['body']}")
        return answer["body"]["ok"]

    def event(self):
        """The next, on a connection that has subscribed."""
        return self.receive()["body"]["event"]


def medians(ours, theirs, runs=RUNS):
    return timing.medians(ours, theirs, runs)


def anon_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def main_pid(unit):
    shown = subprocess.run(["systemctl", "show", "-P", "MainPID", unit], capture_output=True, check=True, text=True)
    return int(shown.stdout)


def one_share():
    alice("fairshare", "request", "--cpu", "0.5", "--mem", "64M")
    row("`fairshare run -- true`, share held", "`systemd-run --scope -q true` as root", 1.0, medians(
        lambda _: alice("fairshare", "run", "--", "true"),
        lambda _: root("systemd-run", "--scope", "-q", "true")))

    # CPU as a quota and as weights: what `resize --cpu` sets, and what is set again by hand.
    def figure(at):
        return ("0.5", "50") if at % 2 else ("0.25", "25")
    row("`fairshare resize` to another figure", "`systemctl set-property --runtime` of the same", 1.0, medians(
        lambda at: alice("fairshare", "resize", "--cpu", figure(at)[0]),
        lambda at: root("systemctl", "set-property", "--runtime", "fairshare-1001.slice",
                        *(name + figure(at + 1)[1] + unit for name, unit in PROPERTIES))))
    row("`fairshare status`, daemon running", "`busctl get-property` of Manager.Version", 0.6, medians(
        lambda _: alice("fairshare", "status"),
        lambda _: root("busctl", "get-property", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                       "org.freedesktop.systemd1.Manager", "Version")))

    follower = Client()
    follower.call("subscribe", all=True)

    def done(_):
        began = time.perf_counter()
        alice("fairshare", "submit", "--output", "/dev/null", "--", "true")
        while (event := follower.event())["kind"] != "job" or event["job"]["state"] != "done":
            pass
        return time.perf_counter() - began
    row("`fairshare submit -- true` to job done", "`systemd-run --wait -q --uid=alice true`", 1.0, medians(
        done, lambda _: root("systemd-run", "--wait", "-q", "--uid=alice", "true")))
    follower.socket.close()

    def waited(_):
        return alice("sh", "-c", "fairshare wait $(fairshare submit --output /dev/null -- true)")
    # The shell starts two commands of ours, and one of theirs.
    row("the same, with `fairshare wait` for it", "the same, in a shell", 1.0, medians(
        waited, lambda _: root("sh", "-c", "systemd-run --wait -q --uid=alice true; true")))
    row("`fairshare submit` to its answer", "`systemd-run --wait -q --uid=alice true`", 0.8, medians(
        lambda _: alice("fairshare", "submit", "--output", "/dev/null", "--", "true"),
        lambda _: root("systemd-run", "--wait", "-q", "--uid=alice", "true")))

    def cold(unit, command):
        quietly("systemctl", "stop", unit)
        # hostnamed may not start so often in a row: its count of starts begins anew.
        subprocess.run(["systemctl", "reset-failed", unit], stderr=subprocess.DEVNULL, check=False)
        return command()
    row("`fairshare status`, daemon not running (cold)", "`hostnamectl` with systemd-hostnamed not running", 0.7,
        medians(lambda _: cold("fairshared.service", lambda: alice("fairshare", "status")),
                lambda _: cold("systemd-hostnamed.service", lambda: root("hostnamectl"))))
    alice("fairshare", "release")


def many_shares():
    uids = range(FIRST_UID, FIRST_UID + SHARES)
    with open("/etc/passwd", "a") as passwd:
        for uid in uids:
            passwd.write(f"u{uid}:x:{uid}:100::/nonexistent:/usr/sbin/nologin\n")
    client = Client()
    for uid in uids:
        client.call("request_resources", cpu_milli=10, mem_bytes=4 << 20, tasks_max=10, for_uid=uid)
    assert len(glob.glob("/sys/fs/cgroup/fairshare.slice/fairshare-2*.slice")) == SHARES
    slices = [f"fairshare-{uid}.slice" for uid in uids]
    show = ["systemctl", "show", "-p", "CPUQuotaPerSecUSec", "-p", "MemoryMax", "-p", "TasksMax", *slices]
    runs = max(RUNS, 20)
    row(f"`fairshare status --all`, {SHARES} shares", f"`systemctl show` of the {SHARES} slices, three properties",
        0.05, medians(lambda _: alice("fairshare", "status", "--all"), lambda _: root(*show), runs))

    def start():
        quietly("systemctl", "stop", "fairshared.service")
        return root("systemctl", "start", "fairshared.service")
    row(f"start with {SHARES} surviving slices to READY", "the same `systemctl show`", 0.5,
        medians(lambda _: start(), lambda _: root(*show), runs))
    client = Client()
    row(f"wake-ups a second, {SHARES} shares and {FOLLOWERS} subscribers", "once a second", 1.0, (wakeups(), 1), "/s")
    for uid in uids:
        client.call("release", for_uid=uid)


def wakeups():
    """How often a second any thread of the daemon, which is asked for nothing, has slept and been woken."""
    followers = [Client() for _ in range(FOLLOWERS)]
    for follower in followers:
        follower.call("subscribe", all=True)

    def count():
        slept = 0
        for path in glob.glob(f"/proc/{main_pid('fairshared.service')}/task/*/status"):
            with open(path) as status:
                slept += next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt"))
        return slept
    # A thread that has nothing more to do ends after 10 s, and takes its count along.
    time.sleep(IDLE / 4)
    before = count()
    time.sleep(IDLE)
    after = count()
    for follower in followers:
        follower.socket.close()
    return (after - before) / IDLE


def memory():
    quietly("systemctl", "restart", "fairshared.service")
    client = Client()
    for _ in range(1000):
        client.call("status")
    quietly("systemctl", "start", "systemd-logind.service")
    row("the daemon's memory (RssAnon) after 1000 requests", "systemd-logind's", 2.0,
        (anon_kib(main_pid("fairshared.service")), anon_kib(main_pid("systemd-logind.service"))), "KiB")


one_share()
memory()
many_shares()
