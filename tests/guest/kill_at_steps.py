"""Kills the daemon with SIGKILL at every step of a submitted command's life, and looks each time at what became of it.

A step is a system call by which the daemon changes something outside itself: the N-th `fsync` of one life is one, the next
life dies at the next, until a life goes by in which there is no such call any more. Arguments: `taken`, `held` or `queued`, for a
allocation of the command's own, the one that alice holds, or one of its own once bob has released his, and the system
calls. Run as root. Prints how often what became of a command whose daemon died.
"""

import glob
import json
import os
import pwd
import subprocess
import sys
import time

RAN = "/home/alice/ran"
SHARE = "/sys/fs/cgroup/fairshare.slice/fairshare-1001.slice"
BOBS = "/sys/fs/cgroup/fairshare.slice/fairshare-1002.slice"
# Of one processor: what alice asks for in each mode. Less than what is held, so that the command's own limits are read back
# before it goes; and what leaves no room beside bob.
FIGURES = {"taken": ["--cpu", "0.5", "--mem", "64M"], "held": ["--in-share", "--cpu", "0.25"], "queued": ["--cpu", "1", "--mem", "64M"]}
EXIT = 7
UNAVAILABLE = 69
PATIENCE = 300


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.strip()


def member(name, *command):
    user = pwd.getpwnam(name)
    groups = os.getgrouplist(name, user.pw_gid)
    who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups, "cwd": user.pw_dir}
    environment = {**os.environ, "HOME": user.pw_dir}
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **who)


def alice(*command):
    return member("alice", *command)


def until(what, condition):
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {PATIENCE} s: {units()}")
        time.sleep(0.01)
    return found


def daemon():
    """Its process, once systemd has started it again."""

    def process():
        # There is no such file while the service has no process.
        for procs in glob.glob("/sys/fs/cgroup/system.slice/fairshared.service/cgroup.procs"):
            with open(procs) as pids:
                return pids.read().strip()

    return until("a daemon", process)


class Tracer:
    """strace, which kills the daemon at one step."""

    def __init__(self, call, step):
        self.said = open("/run/strace.said", "w+")
        command = ["strace", "-f", "-p", daemon(), "-o", "/run/strace.trace", "-e", f"trace={call}"]
        inject = ["-e", f"inject={call}:signal=KILL:when={step}"]
        self.strace = subprocess.Popen([*command, *inject], stderr=self.said)
        until("strace to attach", self.attached)

    def attached(self):
        self.said.seek(0)
        said = self.said.read()
        assert self.strace.poll() is None, said
        return " attached" in said

    def has_killed(self):
        return self.strace.poll() is not None

    def detach(self):
        self.strace.kill()
        self.strace.wait()


def units():
    return output("systemctl", "list-units", "--all", "--plain", "--no-legend", "fairshare-*-job*")


def is_over(mode):
    """Whether nothing is left of a command: no unit, and no share that was taken for it."""
    # systemd is asked when its files say so: each question takes its time.
    return not glob.glob("/run/systemd/transient/fairshare-*-job*") and not units() and (mode == "held" or not os.path.exists(SHARE))


def bob_releases():
    """Whether bob has no share any more; with a daemon that dies he has to ask again."""
    member("bob", "fairshare", "release")
    return not os.path.exists(BOBS)


def waited(job):
    """What `fairshare wait` ends with, once there is a daemon that answers."""
    for _ in range(2):
        ended = alice("fairshare", "wait", job)
        if ended.returncode != UNAVAILABLE:
            break
    return ended.returncode


def record(name):
    """The job as its member sees it, where there is one."""
    found = [job for job in json.loads(alice("fairshare", "jobs", "--json").stdout)["jobs"] if job.get("name") == name]
    assert len(found) <= 1, found
    return found[0] if found else None


def life(call, step, mode):
    """One submitted command, with the daemon killed at one step of its life: whether it was, and what became of the command."""
    name = f"{call}-{step}-{mode}"
    if mode == "queued":
        assert member("bob", "fairshare", "request", *FIGURES[mode]).returncode == 0
    tracer = Tracer(call, step)
    command = ["sh", "-c", f"echo {name} >> {RAN}; exit {EXIT}"]
    submitted = alice("fairshare", "submit", *FIGURES[mode], "--output", "/dev/null", "--name", name, "--", *command)
    if mode == "queued":
        until("bob to release", bob_releases)
    told = waited(submitted.stdout.strip()) if submitted.returncode == 0 else None
    until("a kill, or the end", lambda: tracer.has_killed() or is_over(mode))
    # Answered after what was under way, or by the next daemon.
    job = record(name)
    killed = tracer.has_killed()
    tracer.detach()
    if job and job["state"] in ("running", "queued"):
        waited(str(job["job_id"]))
        job = record(name)
    with open(RAN) as lines:
        ran = lines.read().split().count(name)
    what = f"{name}: submit {submitted.returncode}, wait {told}, record {job}, ran {ran} times"
    # With what a command exits is its own: `failed` is the state of one that exits with another status than 0.
    seen = (job and job["state"], job and job.get("exit_code"), ran)
    became = {("failed", EXIT, 1): "ran", (None, None, 0): "refused"}.get(seen)
    assert became, what
    if told is None:
        assert submitted.returncode == UNAVAILABLE, f"{what}: {submitted.stderr}"
    else:
        assert (told, became) == (EXIT, "ran"), what
    until(f"{what}: its units and its share to go", lambda: is_over(mode))
    return killed, became


def main():
    mode, calls = sys.argv[1], sys.argv[2:]
    open(RAN, "w").close()
    os.chmod(RAN, 0o666)
    assert alice("fairshare", "status").returncode == 0
    if mode == "held":
        assert alice("fairshare", "request", "--cpu", "0.5", "--mem", "64M").returncode == 0
    counts = {"ran": 0, "refused": 0}
    for call in calls:
        step, killed = 0, True
        while killed:
            step += 1
            started = time.monotonic()
            killed, became = life(call, step, mode)
            counts[became] += killed
            how = "killed" if killed else "not killed"
            print(f"{call} {step}: {became}, {how}, {time.monotonic() - started:.1f} s", file=sys.stderr)
        assert step > 1, f"no {call} in a command's whole life"
    print(json.dumps(counts))


main()
