"""A client of the contract that shares no code with fairshare: lines `ENDPOINT JSON-BODY` in, `ENDPOINT CODE` out."""
import json, os, socket, struct, subprocess, sys
import cbor2

def send(sock, value):
    payload = cbor2.dumps(value)
    sock.sendall(struct.pack(">I", len(payload)) + payload)

def receive(sock):
    def exactly(count):
        data = b""
        while len(data) < count:
            chunk = sock.recv(count - len(data))
            if not chunk:
                sys.exit("the daemon closed the connection")
            data += chunk
        return data
    return cbor2.loads(exactly(struct.unpack(">I", exactly(4))[0]))

def connect():
    sock = socket.socket(socket.AF_UNIX)
    sock.connect("/run/fairshare.sock")
    send(sock, {"protocol_version": 2, "client_name": "raw", "client_version": "1", "supports": []})
    return sock, receive(sock)["authz"]

try:
    sock, authz = connect()
except PermissionError:
    print("EACCES")
    sys.exit()
print("role", authz["role"], authz["uid"])
assert authz["uid"] == os.getuid()
child = subprocess.Popen(["sleep", "1000"])
for number, line in enumerate(sys.stdin, 1):
    endpoint, body = line.split(None, 1)
    body = json.loads(body.replace('"CHILD"', str(child.pid)))
    send(sock, {"v": 2, "request_id": number, "endpoint": endpoint, "body": body})
    answer = receive(sock)
    assert answer["request_id"] == number, answer
    error = answer["body"].get("err")
    print(endpoint, error["code"] if error else 0, json.dumps(error or answer["body"], default=str))
    if endpoint == "subscribe":
        # Only events follow on that connection.
        sock, _ = connect()
child.kill()
