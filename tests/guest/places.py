"""Takes every place that members can have, as many members, who stay: `taken COUNT`, and how the next one is refused."""
import contextlib, os, socket, struct, sys, time
import cbor2

HELLO = cbor2.dumps({"protocol_version": 2, "client_name": "places", "client_version": "1", "supports": []})
gid = next(int(line.split(":")[2]) for line in open("/etc/group") if line.startswith("fairshare:"))

def users():
    """Accounts that are in the group by their primary one."""
    with open("/etc/passwd", "a") as passwd:
        for uid in range(20000, 20080):
            passwd.write(f"m{uid}:x:{uid}:{gid}::/:/bin/sh\n")

def greet(sock):
    sock.connect("/run/fairshare.sock")
    # Whoever is refused may be so before saying anything: what was said to it is there to be read all the same.
    with contextlib.suppress(BrokenPipeError):
        sock.sendall(struct.pack(">I", len(HELLO)) + HELLO)
    file = sock.makefile("rb")
    return cbor2.loads(file.read(struct.unpack(">I", file.read(4))[0]))

def member(uid, count):
    """A process of this user's with so many connections: the code of the first one that was refused, else 0."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.setgroups([]); os.setgid(gid); os.setuid(uid)
        code, socks = 0, [socket.socket(socket.AF_UNIX) for _ in range(count)]
        for sock in socks:
            said = greet(sock)
            if "authz" not in said:
                code = said["body"]["err"]["code"]
                break
        os.write(theirs, struct.pack("B", code))
        time.sleep(1000)
    os.close(theirs)
    said = os.read(ours, 1)
    os.close(ours)
    return said[0]

users()
taken = 0
for uid in range(20000, 20072):
    count = 64 if taken < 768 else 4
    code = member(uid, count)
    if code:
        sys.exit(f"{uid}: {code} after {taken}")
    taken += count
print("refused", member(20079, 1), flush=True)
print("taken", taken, flush=True)
time.sleep(1000)
