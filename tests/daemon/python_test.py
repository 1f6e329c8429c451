#!/usr/bin/env python3
"""The Python example, beside a daemon: WEIR names the command."""

import io
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "daemon_client.py"
sys.path.insert(0, str(EXAMPLE.parent))

from daemon_client import Daemon  # noqa: E402

TEXT = bytes(range(256)) * 4096 + b"an odd end"


class PythonClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(dir="/var/tmp")
        cls.addClassCleanup(cls.directory.cleanup)
        root = pathlib.Path(cls.directory.name)
        (root / "large").write_bytes(TEXT)
        cls.place = str(root / "socket")
        ready, told = os.pipe()
        cls.daemon = subprocess.Popen(
            [os.environ["WEIR"], "serve", "--root", str(root), "--socket", cls.place,
             "--ready-fd", str(told)],
            pass_fds=[told], stdout=subprocess.DEVNULL)
        cls.addClassCleanup(cls.end)
        os.close(told)
        with open(ready, "rb") as word:
            if word.read() != bytes(4):
                raise RuntimeError("weir serve did not begin")

    @classmethod
    def end(cls):
        cls.daemon.terminate()
        if cls.daemon.wait() != 0:
            raise RuntimeError("weir serve failed")

    def test_stat_tells_size_and_time(self):
        with Daemon(self.place) as daemon:
            about = os.stat(pathlib.Path(self.directory.name) / "large")
            self.assertEqual(daemon.stat("large"), (len(TEXT), about.st_mtime_ns))

    def test_get_gives_the_whole_file(self):
        with Daemon(self.place) as daemon:
            into = io.BytesIO()
            self.assertEqual(daemon.get("large", into), len(TEXT))
            self.assertTrue(into.getvalue() == TEXT)

    def test_get_gives_a_part(self):
        with Daemon(self.place) as daemon:
            into = io.BytesIO()
            self.assertEqual(daemon.get("large", into, 1000, 5), 5)
            self.assertEqual(into.getvalue(), TEXT[1000:1005])

    def test_refusals_are_errors(self):
        with Daemon(self.place) as daemon:
            with self.assertRaises(FileNotFoundError):
                daemon.stat("missing")
            with self.assertRaises(FileNotFoundError):
                daemon.get("missing", io.BytesIO())

    def test_the_daemon_sends_to_a_socket(self):
        ours, theirs = socket.socketpair()
        received = bytearray()

        def receive():
            while piece := ours.recv(1 << 16):
                received.extend(piece)

        receiver = threading.Thread(target=receive)
        receiver.start()
        with Daemon(self.place) as daemon:
            self.assertEqual(daemon.send("large", theirs), len(TEXT))
        theirs.close()
        receiver.join()
        ours.close()
        self.assertTrue(bytes(received) == TEXT)

    def test_it_is_a_program(self):
        run = [sys.executable, str(EXAMPLE), self.place]
        got = subprocess.run([*run, "get", "large"], capture_output=True, check=True)
        self.assertTrue(got.stdout == TEXT)
        missing = subprocess.run([*run, "stat", "missing"], capture_output=True, check=False)
        self.assertEqual(missing.returncode, 1)
        self.assertIn(b"No such file or directory", missing.stderr)


if __name__ == "__main__":
    unittest.main()
