"""A client of fairshared, written from fairshare-protocol(7) alone, with cbor2 and nothing else that is not Python's own.

Calls every endpoint that it is told to, and holds each answer to the page. Prints `ENDPOINT ok` or `ENDPOINT err CODE NAME`
for each, and ends with 1 where the daemon does not keep to the page.
"""
import os
import socket
import struct
import subprocess
import sys

import cbor2

UINT, TEXT, BOOL = int, str, bool
ROLES = ("read_only", "operator", "admin")
FRAME_MAX = 1048576


class Optional:
    def __init__(self, kind):
        self.kind = kind


class OrNull:
    def __init__(self, kind):
        self.kind = kind


class OneOf:
    def __init__(self, *texts):
        self.texts = texts


AMOUNT = {"cpu_milli": UINT, "mem_bytes": UINT, "tasks_max": UINT}
CAPACITY = {"cpu_milli": UINT, "mem_bytes": UINT, "free_cpu_milli": UINT, "free_mem_bytes": UINT, "shares": UINT,
            "waiting": UINT, "left_behind_bytes": Optional(UINT)}
USAGE = {"cpu_usec": UINT, "mem_bytes": UINT, "needed_bytes": Optional(UINT), "tasks": UINT, "oom_kills": UINT,
         "cpu_pressure_centi": Optional(UINT), "mem_pressure_centi": Optional(UINT)}
ALLOCATION = {"kind": OneOf("standing", "job"), "job_id": Optional(UINT), "cpu_milli": UINT, "mem_bytes": UINT,
              "tasks_max": UINT, "state": OneOf("active", "expired"), "granted_ms": UINT,
              "lease_ends_ms": Optional(UINT), "unit": TEXT, "usage": OrNull(USAGE)}
SHARE = {"uid": UINT, "user": OrNull(TEXT), "cpu_milli": UINT, "mem_bytes": UINT, "tasks_max": UINT, "slice": TEXT,
         "usage": OrNull(USAGE), "burst_cpu_milli": OrNull(UINT), "allocations": Optional([ALLOCATION])}
IO = {"read_bytes": Optional(UINT), "write_bytes": Optional(UINT), "read_ops": Optional(UINT),
      "write_ops": Optional(UINT), "on": [TEXT]}
POLICY = {"defaults": AMOUNT, "max": AMOUNT, "lease_default_ms": OrNull(UINT), "lease_max_ms": OrNull(UINT),
          "idle_ms": OrNull(UINT), "burst_cpu_milli": OrNull(UINT), "role": OneOf(*ROLES), "from_sandboxes": BOOL,
          "io": Optional(IO),
          "key": Optional({"held_milli": UINT, "had_milli": Optional(UINT), "waits": BOOL, "others": UINT, "before": UINT})}
ROOM = {"cpu_milli": UINT, "mem_bytes": UINT}
HOLDER = {"uid": UINT, "user": Optional(TEXT), "cpu_milli": UINT, "mem_bytes": UINT}
DETAIL = {"resource": OneOf("cpu_milli", "mem_bytes", "tasks_max", "lease_ms", "jobs", "scopes", "connections"),
          "asked": UINT, "allowed": UINT, "least": UINT, "in_use": UINT, "bound": OneOf("policy", "share", "machine"),
          "held": AMOUNT, "free": ROOM, "fits": ROOM, "waiting": UINT, "starts_ms": UINT, "held_by": [HOLDER],
          "job_id": UINT, "in_force": BOOL, "role": OneOf(*ROLES), "setting": TEXT, "group": TEXT,
          "lacking": [OneOf("policy", "state", "bus", "controllers", "names", "users")],
          "versions": {"oldest": UINT, "newest": UINT}, "text": TEXT}
DETAIL = {key: Optional(kind) for key, kind in DETAIL.items()}
ERROR = {"code": UINT, "name": TEXT, "message": TEXT, "detail": Optional(DETAIL), "retryable": BOOL,
         "retry_after_ms": Optional(UINT)}
TASK = {"job_id": UINT, "index": UINT}
JOB = {"job_id": UINT, "uid": UINT, "kind": OneOf("request", "submit", "release"),
       "state": OneOf("queued", "running", "done", "failed", "cancelled", "interrupted"), "created_ms": UINT,
       "started_ms": Optional(UINT), "ended_ms": Optional(UINT), "name": Optional(TEXT), "unit": Optional(TEXT),
       "place": Optional(UINT), "starts_ms": Optional(UINT), "exit_code": Optional(UINT), "signal": Optional(UINT),
       "oom": Optional(BOOL), "peak_mem_bytes": Optional(UINT), "needed_bytes": Optional(UINT),
       "mem_limit_bytes": Optional(UINT), "cpu_usec": Optional(UINT), "error": Optional(ERROR),
       "waits_for": Optional({"after": Optional([UINT]), "begin_ms": Optional(UINT), "hold": Optional(BOOL),
                              "room": Optional(BOOL), "max": Optional(BOOL), "running": Optional(BOOL)}),
       "about": Optional(BOOL), "starts_after": Optional(UINT),
       "limits": Optional({"cpu_milli": Optional(UINT), "mem_bytes": Optional(UINT), "tasks_max": Optional(UINT)}),
       "paused": Optional(BOOL), "task": Optional(TASK), "oom_kills": Optional(UINT),
       "warning": Optional({"number": UINT, "before_ms": UINT}),
       "array": Optional({"tasks": UINT, "to_come": UINT, "at_work": UINT, "done": UINT, "failed": UINT, "at_once": Optional(UINT)})}
EVENT = {"at_ms": UINT, "kind": TEXT, "uid": Optional(UINT), "job_id": Optional(UINT), "job": Optional(JOB),
         "share": Optional(SHARE), "allocation": Optional(ALLOCATION), "message": Optional(TEXT), "lagged": Optional(UINT)}
CHECK = {"name": TEXT, "ok": BOOL, "detail": Optional(TEXT)}
PHASES = ("granting", "active", "resizing", "lowering", "renewing", "releasing", "stopping")
DUMP = {"at_ms": UINT, "boot": TEXT, "revision": UINT, "next_job": UINT, "draining": BOOL, "capacity": CAPACITY,
        "half_life_ms": UINT, "past_use": [{"uid": UINT, "used_ms": UINT}], "past_use_left_out": Optional(UINT),
        "allocations": [{"uid": UINT, "user": OrNull(TEXT), "allocation": ALLOCATION, "phase": OneOf(*PHASES),
                         "job_id": Optional(UINT)}],
        "allocations_left_out": Optional(UINT),
        "jobs": [JOB], "jobs_left_out": UINT}
KINDS = ("kept", "broken", "outside", "held", "left", "unknown", "note")
FINDING = {"kind": OneOf(*KINDS), "text": TEXT, "hint": Optional(TEXT), "uid": Optional(UINT), "unit": Optional(TEXT),
           "processes": Optional(UINT), "mem_bytes": Optional(UINT), "pids": Optional([UINT])}
END = {"kind": OneOf("request", "submit", "run", "standing"), "job_id": Optional(UINT), "task": Optional(TASK), "uid": UINT, "user": Optional(TEXT),
       "name": Optional(TEXT), "state": OneOf("done", "failed", "cancelled", "interrupted"), "cpu_milli": UINT,
       "mem_bytes": UINT, "tasks_max": UINT, "lease_ms": Optional(UINT), "created_ms": UINT, "waited_ms": UINT,
       "started_ms": Optional(UINT), "ended_ms": UINT, "held_ms": Optional(UINT), "exit_code": Optional(UINT),
       "signal": Optional(UINT), "oom": Optional(BOOL), "peak_mem_bytes": Optional(UINT), "needed_bytes": Optional(UINT),
       "cpu_usec": Optional(UINT), "oom_kills": Optional(UINT)}
PLACE = {"ended_ms": UINT, "number": UINT}
HELLO = {"protocol_version": UINT, "daemon_version": TEXT, "features": [TEXT], "max_frame": UINT,
         "authz": {"uid": UINT, "gid": UINT, "role": OneOf(*ROLES)}}
STARTED = {"job_started": UINT}
ANSWERS = {
    "ping": [{"at_ms": UINT}],
    "health": [{"healthy": BOOL, "checks": [CHECK]}],
    "status": [{"share": OrNull(SHARE), "capacity": CAPACITY}],
    "list": [{"shares": [SHARE], "capacity": CAPACITY, "shares_left_out": Optional(UINT)}],
    "policy": [{"policy": POLICY}],
    "request_resources": [{"share": SHARE}, STARTED],
    "resize": [{"share": SHARE}],
    "renew": [{"share": SHARE}],
    "release": [{"released": BOOL}, STARTED],
    "run": [{"unit": TEXT, "cpu_milli": UINT, "mem_bytes": UINT}],
    "attach": [{"unit": TEXT, "cpu_milli": UINT, "mem_bytes": UINT}],
    "submit": [STARTED],
    "job_status": [{"job": JOB}],
    "job_list": [{"jobs": [JOB], "jobs_left_out": Optional(UINT)}],
    "job_cancel": [{"job": JOB}],
    "job_alter": [{"job": JOB}],
    "job_fetch": [{"handed": UINT, "cpu_milli": UINT, "mem_bytes": UINT, "task": Optional(TASK)}],
    "subscribe": [{"subscribed": BOOL}],
    "reload": [{"changed": BOOL}],
    "drain": [{"changed": BOOL}],
    "undrain": [{"changed": BOOL}],
    "log": [{"changed": BOOL}],
    "dump": [{"dump": DUMP}],
    "history": [{"history": [END], "next": Optional(PLACE)}],
    "audit": [{"findings": [FINDING], "findings_left_out": Optional(UINT)}],
}


def fits(value, kind):
    if isinstance(kind, OrNull):
        return value is None or fits(value, kind.kind)
    if isinstance(kind, OneOf):
        return value in kind.texts
    if isinstance(kind, list):
        return isinstance(value, list) and all(fits(item, kind[0]) for item in value)
    if isinstance(kind, dict):
        if not isinstance(value, dict) or not set(value) <= set(kind):
            return False
        for key, part in kind.items():
            if isinstance(part, Optional):
                if key in value and not fits(value[key], part.kind):
                    return False
            elif key not in value or not fits(value[key], part):
                return False
        return True
    if kind is UINT:
        return type(value) is int and value >= 0
    return type(value) is kind


def hold(what, value, kinds):
    if not any(fits(value, kind) for kind in kinds):
        sys.exit(f"{what} is not what the page says: {value!r}")


class Client:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect("/run/fairshare.sock")
        self.number = 0
        self.send({"protocol_version": 2, "client_name": "client.py", "client_version": "1", "supports": ["nothing"]})
        self.hello = self.receive()
        hold("hello", self.hello, [HELLO])
        self.version = self.hello["protocol_version"]
        assert self.version == 2 and self.hello["max_frame"] == FRAME_MAX
        assert self.hello["authz"]["uid"] == os.getuid()

    def send(self, item):
        payload = cbor2.dumps(item)
        assert 1 <= len(payload) <= FRAME_MAX
        self.socket.sendall(struct.pack(">I", len(payload)) + payload)

    def exactly(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                sys.exit("the daemon closed the connection")
            data += part
        return bytes(data)

    def receive(self):
        (length,) = struct.unpack(">I", self.exactly(4))
        assert 1 <= length <= FRAME_MAX
        return cbor2.loads(self.exactly(length))

    def post(self, endpoint, **body):
        self.number += 1
        self.send({"v": self.version, "request_id": self.number, "endpoint": endpoint, "body": body})
        return self.number

    def answer(self, endpoint, number):
        response = self.receive()
        assert set(response) == {"v", "request_id", "body"} and response["v"] == self.version
        assert response["request_id"] == number, response
        (kind, value), = response["body"].items()
        if kind == "ok":
            hold(endpoint, value, ANSWERS[endpoint])
            print(endpoint, "ok", flush=True)
            return value
        assert kind == "err", response
        hold(endpoint, value, [ERROR])
        print(endpoint, "err", value["code"], value["name"], flush=True)
        return None

    def call(self, endpoint, **body):
        return self.answer(endpoint, self.post(endpoint, **body))


def main():
    client = Client()
    role = client.hello["authz"]["role"]
    events = Client()
    events.call("subscribe")
    client.call("release", stop=True)
    for endpoint in ("ping", "health", "status", "list", "policy", "job_list", "audit", "history"):
        client.call(endpoint)
    share = client.call("request_resources", cpu_milli=500, mem_bytes=256 << 20, lease_ms=3600000)
    assert share is None or share["share"]["cpu_milli"] == 500
    client.call("resize", cpu_milli=600)
    client.call("renew", lease_ms=7200000)
    child = subprocess.Popen(["sleep", "1000"])
    client.call("attach", pids=[child.pid])
    job = client.call("release", stop=True)
    if job and "job_started" in job:
        client.call("job_status", job_id=job["job_started"])
        child.wait()
    child.kill()
    child.wait()
    job = client.call("submit", argv=["sleep", b"100"], cwd="/", env={"PATH": "/usr/bin", b"V\xe9": b"\xff"}, name="test",
                      cpu_milli=100, mem_bytes=64 << 20, in_share=False)
    client.call("status")
    client.call("submit", argv=["true"], cwd="/", env={}, in_share=True)
    client.call("job_status", job_id=job["job_started"] if job else 999999)
    client.call("job_alter", job_id=job["job_started"] if job else 999999, pause=True)
    client.call("job_cancel", job_id=job["job_started"] if job else 999999)
    job = client.call("submit", argv=["true"], cwd="/", env={}, wait=True, hold=True, priority=60)
    client.call("job_alter", job_id=job["job_started"] if job else 999999, first=True)
    client.call("job_cancel", job_id=job["job_started"] if job else 999999)
    if role == "admin":
        for endpoint in ("reload", "drain", "undrain", "dump"):
            client.call(endpoint)
        client.call("log", level="info")
        client.call("status", for_uid=os.getuid())
    # Sixteen without waiting, answered in order; then what is none, which is answered and forgiven.
    for number in [client.post("ping") for _ in range(16)]:
        client.answer("ping", number)
    for wrong in ([], {"v": 2, "request_id": 7}, {"v": 2, "request_id": 7, "endpoint": "ping", "body": {"x": 1.5}}):
        client.send(wrong)
        response = client.receive()
        assert response["request_id"] == (7 if wrong else 0), response
        assert response["body"]["err"]["code"] == 1, response
    client.call("ping")
    # What happened was told meanwhile, if anything did.
    events.socket.settimeout(2)
    try:
        while True:
            event = events.receive()["body"]["event"]
            hold("event", event, [EVENT])
            print("event", event["kind"], flush=True)
    except socket.timeout:
        pass
    # Last: it puts this process in the share.
    client.call("request_resources")
    client.call("run")
    print("end")


main()
