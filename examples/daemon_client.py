#!/usr/bin/env python3
"""Speaks to a weir daemon with nothing but Python's standard library.

    daemon_client.py SOCKET stat PATH
    daemon_client.py SOCKET get PATH [OFFSET [LENGTH]]     to standard output
    daemon_client.py SOCKET send PATH HOST PORT            the daemon sends to that connection itself

The protocol is described, byte by byte, in docs/protocol.md.
"""

import array
import os
import socket
import struct
import sys

VERSION = 1
READ, SEND, STAT = 1, 2, 8
FILE_INFO, PROGRESS, ENDED = 0x81, 0x82, 0x83
TO_THE_END = 2**64 - 1

# kind, version, size of the message, tag; then offset, length, flags, mode; then the path.
REQUEST = struct.Struct("=HHIQQQII")
# kind, version, status, tag, id, and five values.
ANSWER = struct.Struct("=HHiQQ5Q")


class Daemon:
    """A connection. Each request is one message, and is answered on a pipe of its own."""

    def __init__(self, path):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.connect(path)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.connection.close()

    def stat(self, path):
        """The file's size, and when it was modified, in nanoseconds since 1970."""
        with self._ask(STAT, path) as channel:
            _, size, _, modified, _ = self._information(channel, path)
            return size, modified

    def get(self, path, into, offset=0, length=TO_THE_END):
        """Writes the file, or a part of it, to a binary file; returns how many bytes."""
        with self._ask(READ, path, offset, length) as channel:
            expected = left = self._information(channel, path)[0]
            while left and (piece := channel.read(min(left, 1 << 20))):
                into.write(piece)
                left -= len(piece)
            if left:
                raise ConnectionError(f"{path}: {expected - left} of {expected} bytes came")
            return expected

    def send(self, path, receiver, offset=0, length=TO_THE_END):
        """Lets the daemon send to a socket, a pipe or a file; returns how many bytes."""
        with self._ask(SEND, path, offset, length, receiver.fileno()) as channel:
            self._information(channel, path)
            while True:
                kind, status, values = self._answer(channel)
                if status < 0:
                    raise OSError(-status, os.strerror(-status), path)
                if kind == ENDED:
                    return values[1]

    def _ask(self, kind, path, offset=0, length=TO_THE_END, *others):
        """Sends a request with the writing end of a new pipe, and returns the other end."""
        name = os.fsencode(path)
        message = REQUEST.pack(kind, VERSION, REQUEST.size + len(name), 0, offset, length, 0, 0)
        reader, writer = os.pipe()
        channel = open(reader, "rb")
        try:
            descriptors = array.array("i", [writer, *others])
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
            self.connection.sendmsg([message + name], ancillary)
        except OSError:
            channel.close()
            raise
        finally:
            os.close(writer)  # the daemon has a copy; the pipe ends when that is closed
        return channel

    def _answer(self, channel):
        answer = channel.read(ANSWER.size)
        if len(answer) < ANSWER.size:
            raise ConnectionError("the daemon has gone, or does not serve this user")
        kind, version, status, _, _, *values = ANSWER.unpack(answer)
        if version != VERSION:
            raise ConnectionError(f"the daemon speaks version {version}")
        return kind, status, values

    def _information(self, channel, path):
        """The first answer: bytes to be moved, size, times of access, modification and change."""
        kind, status, values = self._answer(channel)
        if status < 0:
            raise OSError(-status, os.strerror(-status), path)
        if kind != FILE_INFO:
            raise ConnectionError(f"an answer of kind {kind:#x} came instead of the information")
        return values


def main(arguments):
    match arguments:
        case [place, "stat", path]:
            with Daemon(place) as daemon:
                size, modified = daemon.stat(path)
                print(f"{path}: {size} bytes, modified {modified / 1e9:.3f}")
        case [place, "get", path, *part] if len(part) <= 2:
            with Daemon(place) as daemon:
                daemon.get(path, sys.stdout.buffer, *map(int, part))
        case [place, "send", path, host, port]:
            with Daemon(place) as daemon, socket.create_connection((host, int(port))) as receiver:
                print(f"{daemon.send(path, receiver)} bytes sent")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.exit(f"daemon_client: {error}")
