"""What the tests of http_file_server share: a tree, the server on it, and clients that can misbehave."""

import contextlib
import http.client
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

SERVER = os.environ["HTTP_FILE_SERVER"]
PATIENCE = 30  # seconds; only a failure takes so long


class Server:
    """A running server; its port is chosen by the kernel."""

    def __init__(self, root, *options):
        self.process = subprocess.Popen(
            [SERVER, str(root), "--port", "0", *options], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(re.search(r":(\d+)/", line).group(1))

    def tell_to_end(self):
        self.process.send_signal(signal.SIGTERM)

    def end(self):
        """Its exit status, and what else it has said."""
        said, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said

    def descriptors(self):
        """What each of them stands for."""
        found = []
        for entry in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.append(os.readlink(entry))
        return found

    def wait_until_read(self, client):
        """Until the server has taken in all that this client has sent."""
        ports = f":{self.port:04X}", f":{client.socket.getsockname()[1]:04X}"
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
                _, local, remote, _, queues, *_ = line.split()
                if local.endswith(ports[0]) and remote.endswith(ports[1]):
                    if queues.endswith(":00000000"):
                        return
        raise TimeoutError("the server does not read")

    def sockets(self):
        """How many it has open."""
        return sum(entry.startswith("socket:") for entry in self.descriptors())


class Client:
    """A connection that sends what it is told, byte by byte if need be."""

    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, target, method="GET", **fields):
        lines = [f"{method} {target} HTTP/1.1", "Host: test"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        self.send("\r\n".join(lines + ["", ""]).encode())

    def response(self, method="GET"):
        """The next response, read to its end."""
        answer = http.client.HTTPResponse(self.socket, method=method)
        answer.begin()
        answer.content = answer.read()
        return answer

    def responses(self, count):
        """Several in a row: one reader, since http.client's reads ahead."""
        stream = self.socket.makefile("rb")
        return [self._one_of(stream) for _ in range(count)]

    @staticmethod
    def _one_of(stream):
        status = int(stream.readline().split()[1])
        fields = http.client.parse_headers(stream)
        return status, stream.read(int(fields.get("Content-Length", 0)))

    def head(self):
        """A response's head, and nothing of its content."""
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += self.socket.recv(1)
        return received

    def rest(self):
        """Everything until the server ends the connection; how much that was."""
        count = 0
        while data := self.socket.recv(1 << 16):
            count += len(data)
        return count

    def at_end(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def reset(self):
        """Gone without a word, as by a crash."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class ServerTest(unittest.TestCase):
    """A tree of its own for each test; `serve` starts a server on it, which must end well."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.outside = pathlib.Path(folder.name)
        self.root = self.outside / "tree"
        self.root.mkdir()

    def serve(self, *options):
        self.server = Server(self.root, *options)
        self.addCleanup(self._end)
        return self.server

    def _end(self):
        if self.server.process.poll() is None:
            self.server.tell_to_end()
        try:
            status, _ = self.server.end()
        except subprocess.TimeoutExpired:
            self.server.process.kill()
            raise
        self.assertEqual(status, 0)

    def connect(self, **options):
        client = Client(self.server.port, **options)
        self.addCleanup(client.socket.close)
        return client

    def get(self, target, method="GET", **fields):
        with Client(self.server.port) as client:
            client.ask(target, method, **fields)
            return client.response(method)

    def write(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def make_sparse(self, name, size):
        path = self.root / name
        with open(path, "wb") as file:
            file.truncate(size)
        return path
