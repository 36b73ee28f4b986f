"""Times what a share promises against everything else on the machine, inside a guest, in one run."""

import glob
import json
import os
import signal
import statistics
import subprocess
import sys
import time

from timing import User, alice, medians, quietly, root, row

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
MEMBERS = 200
FIRST_UID = 20000
PROCESSES = 1000
SITE = "reserve: {cpu: 0.5, mem: 256M}\n"
BURST = "burst: {cpu: all}\n"
# What can be handed out of the guest's two processors.
CAPACITY = 1.5

HOGS = "for hog in 1 2 3 4; do while :; do :; done & done; wait"

# Idle for a while and then not: how long until it had its floor for fifty milliseconds, so many times.
AWAKENS = """
import sys, time
runs, floor = int(sys.argv[1]), float(sys.argv[2])
for _ in range(runs):
    time.sleep(1)
    woken = time.monotonic()
    while True:
        began, used = time.monotonic(), time.thread_time()
        while (now := time.monotonic()) - began < 0.05:
            pass
        if time.thread_time() - used >= 0.95 * floor * (now - began):
            break
    print(now - woken, flush=True)
"""

# Works two fifths of the time, in bursts, and says how much later than it wanted another thread of its was woken.
WAKES = """
import os, sys, time
def works():
    while True:
        began = time.thread_time()
        while time.thread_time() - began < 0.08:
            pass
        time.sleep(0.12)
worker = os.fork()
if worker == 0:
    works()
late = []
for _ in range(int(sys.argv[1])):
    due = time.monotonic() + 0.005
    time.sleep(0.005)
    late.append(time.monotonic() - due)
late.sort()
print(late[len(late) * 99 // 100], flush=True)
os.kill(worker, 9)
"""

# Takes so much memory, in a way, and says of how much of it it cannot be without.
NEEDS = """
import mmap, sys, time
kind, needed, files = sys.argv[1], int(sys.argv[2]) << 20, int(sys.argv[3]) << 20
if kind == "shared":
    kept = mmap.mmap(-1, needed)
else:
    kept = bytearray(needed)
for at in range(0, needed, 4096):
    kept[at] = 1
with open(sys.argv[4], "rb") as read:
    while files > 0 and (block := read.read(1 << 20)):
        files -= len(block)
rollup = dict(line.split()[:2] for line in open("/proc/self/smaps_rollup").readlines()[1:])
print(int(rollup["Anonymous:"]) * 1024 + (needed if kind == "shared" else 0), flush=True)
time.sleep(1000)
"""
LOADS = [(kind, needed, files) for kind in ("anonymous", "shared")
         for needed, files in ((24, 0), (24, 24), (24, 72), (32, 96), (48, 48), (96, 0))]


def policy(text):
    with open("/etc/fairshare/policy.d/bench.yaml", "w") as site:
        site.write(text)
    quietly("fairshare", "admin", "reload")


class Runs:
    """A command of a member's in a share; it ends with the block."""

    def __init__(self, user, cpu, *argv, mem="96M"):
        self.group = f"/sys/fs/cgroup/fairshare.slice/fairshare-{1001 if user == 'alice' else 1002}.slice"
        command = ["runuser", "-u", user, "--", "fairshare", "run", "--cpu", str(cpu), "--mem", mem, "--", *argv]
        self.user, self.process = user, subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/")
        while not os.path.exists(self.group) or self.used() < 0.2:
            time.sleep(0.1)

    def used(self):
        """CPU time that its share had, in seconds."""
        with open(f"{self.group}/cpu.stat") as stat:
            return int(stat.readline().split()[1]) / 1e6

    def __enter__(self):
        return self

    def __exit__(self, *_):
        quietly("runuser", "-u", self.user, "--", "fairshare", "release", "--stop")
        self.process.wait()


def awakening():
    policy(SITE + BURST)
    with Runs("bob", 1, "bash", "-c", HOGS), Runs("alice", 0.5, "python3", "-c", AWAKENS, str(RUNS), "0.5") as woken:
        took = sorted(float(line) for line in woken.process.stdout)
    row(f"an idle share of 0.5 CPU has them again beside a neighbour's burst, 95 of 100 of {RUNS}", "promised", 1.0,
        (took[len(took) * 95 // 100], 0.25))


def alone():
    policy(SITE + BURST)
    with Runs("alice", 0.5, "bash", "-c", HOGS) as hogs:
        best = 0
        for _ in range(5):
            used, began = hogs.used(), time.monotonic()
            time.sleep(10)
            best = max(best, (hogs.used() - used) / (time.monotonic() - began))
    row("CPU that one share of 0.5 has on an idle machine, the best of five times ten seconds", "the capacity",
        "at least 0.97", (best, CAPACITY), "CPU")


def wakeups():
    def late():
        with Runs("bob", 1, "bash", "-c", HOGS), Runs("alice", 0.5, "python3", "-c", WAKES, "2000") as woken:
            return float(woken.process.stdout.readline())
    figures = []
    for text in (SITE + BURST, SITE):
        policy(text)
        figures.append(statistics.median(late() for _ in range(3)))
    row("how late a share under its floor is woken (p99) beside a neighbour's burst", "with hard quotas", 0.5, figures)


def baseline():
    uids = range(FIRST_UID, FIRST_UID + MEMBERS)
    with open("/etc/passwd", "a") as passwd, open("/etc/group", "a") as group:
        for uid in uids:
            passwd.write(f"u{uid}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n")
            group.write(f"u{uid}:x:{uid}:\n")
    quietly("sed", "-i", "s/^fairshare:.*/&" + "".join(f",u{uid}" for uid in uids) + "/", "/etc/group")

    def held(figure):
        wanted = f"/run/systemd/system.control/user-{uids[-1]}.slice.d/50-TasksMax.conf"
        began = time.monotonic()
        policy(SITE + f"baseline: {{cpu: 1, mem: 1G, tasks: {figure}}}\n")
        for uid in uids:
            while True:
                try:
                    with open(wanted.replace(str(uids[-1]), str(uid))) as dropin:
                        if str(figure) in dropin.read():
                            break
                except FileNotFoundError:
                    pass
                time.sleep(0.01)
        return time.monotonic() - began

    def dropin(figure):
        folder = "/run/systemd/system/user-.slice.d"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/50-bench.conf", "w") as conf:
            conf.write(f"[Slice]\nCPUQuota=100%\nMemoryMax=1G\nTasksMax={figure}\n")
        return root("systemctl", "daemon-reload")
    row(f"a baseline for {MEMBERS} members", "a drop-in and `systemctl daemon-reload`", 1.0,
        medians(lambda at: held(1000 + at), lambda at: dropin(1000 + at), 5))
    os.remove("/run/systemd/system/user-.slice.d/50-bench.conf")
    quietly("systemctl", "daemon-reload")


def login():
    def logs_in():
        return root("su", "-l", "alice", "-c", "true")
    figures = ([], [])
    for at in range(8):
        policy(SITE + ("baseline: {cpu: 1, mem: 1G, tasks: 1000}\n" if at % 2 == 0 else ""))
        logs_in()
        figures[at % 2].extend(logs_in() for _ in range(RUNS // 2))
    row("a login, `su -l alice -c true`, with a baseline", "without", 1.03, map(statistics.median, figures))


def doctor():
    sleeps = f"for one in $(seq {PROCESSES}); do sleep 10000 & done; wait"
    crowd = subprocess.Popen(["su", "-l", "alice", "-c", sleeps], start_new_session=True)
    while len(glob.glob("/proc/[0-9]*")) < PROCESSES:
        time.sleep(0.5)

    def told():
        # 1: there is something outside, which is not what is timed here.
        return root("sh", "-c", "fairshare doctor; test $? -le 1")
    row(f"`fairshare doctor`, {PROCESSES} processes", "`systemd-cgls --all`, in a shell as well", 0.3,
        medians(lambda _: told(), lambda _: root("sh", "-c", "systemd-cgls --all; test $? -le 1"), RUNS))
    os.killpg(crowd.pid, signal.SIGKILL)
    quietly("pkill", "-KILL", "-u", "alice")
    crowd.wait()


def needed():
    """The largest error of what `fairshare jobs` says is needed, over twelve loads, and of memory.peak."""
    bob = User("bob")
    policy("reserve: {cpu: 0.5, mem: 128M}\nswap: 0\n")
    with open("/home/bob/needs.py", "w") as script:
        script.write(NEEDS)
    errors = []
    for batch in (LOADS[:4], LOADS[4:8], LOADS[8:]):
        bob("fairshare", "request", "--cpu", "1", "--mem", "1G")
        told = []
        for at, (kind, mib, files) in enumerate(batch):
            quietly("sh", "-c", f"head -c {max(files, 1)}M /dev/urandom > /home/bob/read{at}")
            quietly("sh", "-c", f"sync; echo 3 > /proc/sys/vm/drop_caches; rm -f /home/bob/told{at}")
            bob("fairshare", "submit", "--in-share", "--mem", "200M", "--output", f"/home/bob/told{at}", "--",
                "python3", "/home/bob/needs.py", kind, str(mib), str(files), f"/home/bob/read{at}")
            told.append(f"/home/bob/told{at}")
            while not os.path.exists(told[-1]) or not open(told[-1]).read().strip():
                time.sleep(0.2)

        def jobs():
            shown = subprocess.run(["runuser", "-u", "bob", "--", "fairshare", "jobs", "--json"],
                                   capture_output=True, check=True, text=True)
            jobs = [job for job in json.loads(shown.stdout)["jobs"] if job["state"] == "running"]
            return sorted(jobs, key=lambda job: job["job_id"])
        while len(running := jobs()) < len(batch) or not all("needed_bytes" in job for job in running):
            time.sleep(1)
        for job, path in zip(running, told):
            truth = int(open(path).read())
            own = "/sys/fs/cgroup/fairshare.slice/fairshare-1002.slice/fairshare-1002-own.slice"
            group = f"{own}/fairshare-1002-own-job{job['job_id']}.slice"
            peak = int(open(f"{group}/memory.peak").read())
            errors.append((job["needed_bytes"] / truth - 1, peak / truth - 1))
        bob("fairshare", "release", "--stop")
    for what, at in (("`needed_bytes` of twelve loads, the largest error", 0), ("`memory.peak` of the same", 1)):
        worst = max((error[at] for error in errors), key=abs)
        print(f"| {what} | what each needs | {worst * 100:+.0f} % | | | {'25 %' if at == 0 else ''} |", flush=True)


awakening()
alone()
wakeups()
baseline()
login()
doctor()
needed()
