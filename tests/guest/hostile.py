"""What a hostile program does to fairshared, and what the others notice: `hostile.py WHAT [ARGUMENT...]`.

An attack says that it is under way by the file `/tmp/under-way`, and keeps what it holds until there is a file `/tmp/over`.
"""

import array
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import cbor2

SOCKET = "/run/fairshare.sock"
UNDER_WAY, OVER = "/tmp/under-way", "/tmp/over"
# Longer than any test: who waits for such a close waits until the attacker has gone.
LINGER_SECONDS = 3600
# After so many seconds without an answer whoever asks gives up.
UNANSWERED = 60


class Refused(Exception):
    """The code of an error that was answered; `None` where the connection was closed without a word."""

    def __init__(self, code, message=""):
        super().__init__(f"{code} {message}")
        self.code = code


class Client:
    """A client of the contract that shares no code with fairshare. Speaks whichever of the versions the daemon speaks."""

    def __init__(self, greet=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(UNANSWERED)
        self.socket.connect(SOCKET)
        self.version = 1
        if greet:
            self.greet()

    def greet(self):
        self.send({"protocol_version": 2, "client_name": "hostile", "client_version": "1", "supports": []})
        self.hello = self.receive()
        if "authz" not in self.hello:
            raise Refused(self.hello["body"]["err"]["code"], self.hello["body"]["err"]["message"])
        self.version = self.hello["protocol_version"]

    def send(self, item):
        payload = cbor2.dumps(item)
        self.socket.sendall(struct.pack(">I", len(payload)) + payload)

    def exactly(self, count):
        data = bytearray()
        while len(data) < count:
            try:
                part = self.socket.recv(count - len(data))
            except ConnectionResetError:
                part = b""
            if not part:
                raise Refused(None)
            data += part
        return bytes(data)

    def receive(self):
        return cbor2.loads(self.exactly(struct.unpack(">I", self.exactly(4))[0]))

    def frame(self, endpoint, body):
        payload = cbor2.dumps({"v": self.version, "request_id": 1, "endpoint": endpoint, "body": body})
        return struct.pack(">I", len(payload)) + payload

    def answer(self):
        body = self.receive()["body"]
        if "err" in body:
            raise Refused(body["err"]["code"], body["err"]["message"])
        return body["ok"]

    def call(self, endpoint, descriptors=(), **body):
        frame = self.frame(endpoint, body)
        sent = self.socket.sendmsg([frame], rights(descriptors))
        self.socket.sendall(frame[sent:])
        return self.answer()


def rights(descriptors):
    if not descriptors:
        return []
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]


def under_way():
    # Of two attackers the first has made it.
    with contextlib.suppress(PermissionError):
        open(UNDER_WAY, "w").close()


def await_file(path):
    while not os.path.exists(path):
        time.sleep(0.05)


def hold_on():
    under_way()
    await_file(OVER)


def lingering(listener):
    """A socket whose last close waits: more was sent than anybody reads. The other end must be kept."""
    ours = socket.socket()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours.connect(listener.getsockname())
    theirs = listener.accept()[0]
    ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(bytes(4096))
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_SECONDS))
    return ours, theirs


def listen():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


def answered(rounds):
    """Asks as any member does until so many answers have come while the attack is under way. Says how long the slowest took."""
    wanted, worst = int(rounds), 0
    while wanted > 0:
        began = time.monotonic()
        try:
            client = Client()
            client.call("status")
            client.socket.close()
            wanted -= os.path.exists(UNDER_WAY)
            worst = max(worst, time.monotonic() - began)
        except (OSError, Refused) as error:
            # The daemon was killed, or says nothing: that is no answer.
            sys.exit(f"no answer: {error}")
    print(f"answered within {worst * 1000:.0f} ms")


def let_go(sock):
    """Closes a socket. Where it was this process's to close last, after all, that lasts, and nobody waits for it."""
    threading.Thread(target=sock.close, daemon=True).start()


def out_of_band():
    """A descriptor beside each kind of out-of-band byte that a stream can have: never read, or thrown away by who reads on."""
    listener, kept, busy = listen(), [], Client()
    busy.socket.settimeout(10)
    for when in ("before the hello", "after the hello", "while subscribed", "and nothing else") * 4:
        try:
            client = Client(greet=when in ("after the hello", "while subscribed"))
            if when == "while subscribed":
                client.call("subscribe")
        except Refused:
            # Too many connections, or too many that broke the contract.
            continue
        ours, theirs = lingering(listener)
        # The daemon has something else to do until there is nobody but it to close this.
        for _ in range(16):
            busy.socket.sendall(busy.frame("list", {}))
        client.socket.sendmsg([b"x"], rights([ours.fileno()]), socket.MSG_OOB)
        let_go(ours)
        kept.append((client, theirs))
        try:
            for _ in range(16):
                busy.answer()
        except (OSError, Refused):
            # The daemon reads nothing more of who has sent it so much that cannot be closed.
            break
        if when == "and nothing else":
            client.socket.close()
            continue
        # What comes after the byte makes its reader read past it.
        with contextlib.suppress(OSError):
            client.send({"protocol_version": 2, "client_name": "hostile", "client_version": "1", "supports": []})
    hold_on()


class Bus:
    """A connection to the system bus, as far as sending signals needs one (the D-Bus Specification, "Message Protocol")."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect("/run/dbus/system_bus_socket")
        self.serial = 0
        self.socket.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        assert self.socket.recv(4096).startswith(b"OK")
        self.socket.sendall(b"NEGOTIATE_UNIX_FD\r\n")
        assert self.socket.recv(4096).startswith(b"AGREE")
        self.socket.sendall(b"BEGIN\r\n")
        self.send(1, {1: ("o", "/org/freedesktop/DBus"), 2: ("s", "org.freedesktop.DBus"), 3: ("s", "Hello"),
                      6: ("s", "org.freedesktop.DBus")})
        assert self.socket.recv(4096)

    def send(self, kind, fields, descriptors=(), body=b""):
        self.serial += 1
        head = b""
        for code, (signature, value) in fields.items():
            head += bytes(-len(head) % 8) + bytes([code, 1]) + signature.encode() + b"\0"
            if signature == "u":
                head += bytes(-len(head) % 4) + struct.pack("<I", value)
            elif signature == "g":
                head += bytes([len(value)]) + value.encode() + b"\0"
            else:
                head += bytes(-len(head) % 4) + struct.pack("<I", len(value)) + value.encode() + b"\0"
        message = struct.pack("<cBBBIII", b"l", kind, 1, 1, len(body), self.serial, len(head)) + head
        message += bytes(-len(message) % 8)
        sent = self.socket.sendmsg([message, body], rights(descriptors))
        self.socket.sendall((message + body)[sent:])

    def signal(self, to, descriptors):
        fields = {1: ("o", "/hostile"), 2: ("s", "hostile.Hostile"), 3: ("s", "Signal"), 6: ("s", to)}
        fields[9] = ("u", len(descriptors))
        self.send(4, fields, descriptors)


def bus_flood(to):
    """Signals to the daemon alone, as large as it is read in one piece and larger, as fast as the bus takes them."""
    bus = Bus()
    fields = {1: ("o", "/hostile"), 2: ("s", "hostile.Hostile"), 3: ("s", "Signal"), 6: ("s", to), 8: ("g", "ay")}
    bodies = [struct.pack("<I", size) + bytes(size) for size in (1 << 16, 1 << 20, 8 << 20, 31 << 20)]
    while not os.path.exists(OVER):
        for body in bodies:
            bus.send(4, fields, body=body)
        under_way()


def bus_descriptors(to):
    """Signals to the daemon alone with sockets whose close waits. They are closed here once the bus has them no more, which the
    file `/tmp/forwarded` says: a bus that closes one last would wait for it, and that is nobody's fault but its own."""
    bus, listener, kept = Bus(), listen(), []
    for _ in range(4):
        ends = [lingering(listener) for _ in range(16)]
        bus.signal(to, [ours.fileno() for ours, _ in ends])
        kept += ends
    open("/tmp/sent", "w").close()
    await_file("/tmp/forwarded")
    for ours, _ in kept:
        let_go(ours)
    hold_on()


def process_of_job(client, number):
    """The job's first process, from when it is its member's own; nothing where the job is over before."""
    uid = os.getuid()
    own = f"/sys/fs/cgroup/fairshare.slice/fairshare-{uid}.slice/fairshare-{uid}-own.slice/fairshare-{uid}-own"
    path = f"{own}-job{number}.slice/fairshare-{uid}-own-job{number}.service/cgroup.procs"
    while client.call("job_status", job_id=number)["job"]["state"] == "running":
        for _ in range(1000):
            with contextlib.suppress(OSError):
                for pid in map(int, open(path).read().split()):
                    if os.stat(f"/proc/{pid}").st_uid == uid:
                        return pid
    return None


def has_taken(pid):
    """Whether a process has the memory that it was to be handed."""
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    except PermissionError:
        # It does not yet run a program of its member's own.
        return False
    return any("memory" in link for link in links)


def stopped_job(file):
    """Stops a submitted command before it can take what it is handed: a file whose last close waits where `stuck.py --write`
    serves it, and 300 MB of memory. Who has them last has to close them."""
    memory = os.memfd_create("memory")
    for _ in range(300):
        os.write(memory, bytes(1 << 20))
    written = os.open(file, os.O_RDWR)
    handed = os.open(file, os.O_RDONLY)
    client = Client()
    while True:
        # With a tenth of a CPU its start takes as long as it takes to find it.
        body = {"argv": ["sleep", "1000"], "cwd": "/", "env": {"PATH": "/usr/bin:/bin"}, "cpu_milli": 100, "in_share": True}
        pid = process_of_job(client, client.call("submit", [handed, memory, memory], **body)["job_started"])
        if pid is None:
            continue
        os.kill(pid, signal.SIGSTOP)
        while "\nState:\tT" not in open(f"/proc/{pid}/status").read():
            pass
        if not has_taken(pid):
            break
        os.kill(pid, signal.SIGKILL)
    os.close(memory)
    os.close(handed)
    os.write(written, b"x")
    hold_on()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    # The other descriptor stays open: to close this one as well would hang only this process.
    open("/tmp/killed", "w").close()
    signal.pause()


def in_flight(pid):
    """How many descriptors are on the sockets of a process, sent and not received: `scm_fds` of proc_pid_fdinfo."""
    count = 0
    for number in os.listdir(f"/proc/{pid}/fdinfo"):
        with contextlib.suppress(OSError):
            for line in open(f"/proc/{pid}/fdinfo/{number}"):
                if line.startswith("scm_fds:"):
                    count += int(line.split()[1])
    print(count)


def bomb():
    """As many tasks as there can be."""
    threading.stack_size(32 << 10)
    while not os.path.exists(OVER):
        try:
            threading.Thread(target=signal.pause, daemon=True).start()
        except RuntimeError:
            under_way()
            time.sleep(0.05)
    os._exit(0)


def forks(count):
    """As root, once there are no more tasks to be had for members: counts the forks that fail, and says whether there is a login.

    Then ends the attack.
    """
    await_file(UNDER_WAY)
    print(open("/sys/fs/cgroup/fairshare.slice/pids.current").read().strip(), "tasks of members,", end=" ")
    failed = 0
    for _ in range(int(count)):
        try:
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
        except OSError:
            failed += 1
    try:
        login = subprocess.run(["runuser", "-l", "carol", "-c", "exec true"]).returncode
    except OSError as error:
        login = error
    open(OVER, "w").close()
    print(failed, "forks failed, login", login)


if __name__ == "__main__":
    try:
        globals()[sys.argv[1]](*sys.argv[2:])
    except Exception:
        # Whoever waits for an attack need not wait for one that failed.
        under_way()
        raise
