"""Clients as they come: many, slow, gone, patient, and those that speak badly."""

import hashlib
import random
import resource
import select
import signal
import unittest

import serving

LARGE = 64 << 20  # more than sockets hold


class Protocol(serving.ServerTest):
    def setUp(self):
        super().setUp()
        self.write("file", b"content")

    def test_a_connection_is_kept_for_the_next_request(self):
        self.serve()
        client = self.connect()
        for _ in range(5):
            client.ask("/file")
            self.assertEqual(client.response().content, b"content")
            client.ask("/none")
            self.assertEqual(client.response().status, 404)

    def test_requests_sent_at_once_are_answered_in_their_order(self):
        self.serve()
        names = [f"{number:03}" for number in range(200)]
        for name in names:
            self.write(name, name.encode())
        client = self.connect()
        lines = [f"GET /{name} HTTP/1.1\r\nHost: test\r\n\r\n" for name in names]
        client.send("".join(lines).encode())
        self.assertEqual(client.responses(len(names)), [(200, name.encode()) for name in names])

    def test_a_request_may_come_byte_by_byte(self):
        self.serve()
        client = self.connect()
        for byte in b"\r\nGET /file HTTP/1.1\r\nHost: test\r\n\r\n":
            client.send(bytes([byte]))
            self.server.wait_until_read(client)
        self.assertEqual(client.response().content, b"content")

    def test_the_connection_ends_where_the_client_wants_it_to(self):
        self.serve()
        for head in (b"GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                     b"GET /file HTTP/1.0\r\n\r\n"):
            client = self.connect()
            client.send(head)
            self.assertIn(b"Connection: close", client.head())
            self.assertEqual(client.rest(), len(b"content"))
        client = self.connect()
        client.send(b"GET /file HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
        self.assertEqual(client.responses(2), [(200, b"content")] * 2)

    def test_what_is_no_request_is_refused_and_the_connection_ended(self):
        self.serve()
        refused = {
            b"nonsense\r\n\r\n": 400,
            b"GET /file\r\n\r\n": 400,
            b"GET /file HTTP/1.1\r\n\r\n": 400,  # no Host
            b"GET /file HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n": 400,
            b"GET /file HTTP/1.1\r\nHost: a\r\nbad field: x\r\n\r\n": 400,
            # A value over two lines (RFC 9112 5.2): found by fuzz/http_request.cc.
            b"GET /file HTTP/1.1\r\nHost: a\r\nRange: bytes=0-\r\n 1\r\n\r\n": 400,
            b"GET /fi le HTTP/1.1\r\nHost: a\r\n\r\n": 400,
            b"GET /file HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n": 400,
            b"GET /file HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello": 413,
            b"GET /file HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 413,
            b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n": 431,
            b"GET /file HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * 9000: 431,
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n": 400,  # TLS
        }
        for request, status in refused.items():
            client = self.connect()
            client.send(request)
            self.assertIn(f"HTTP/1.1 {status} ".encode(), client.head(), request)
            client.rest()

    def test_other_methods_are_not_allowed(self):
        self.serve()
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            answer = self.get("/file", method=method)
            self.assertEqual((answer.status, answer.headers["Allow"]), (405, "GET, HEAD"), method)

    def test_noise_does_no_harm(self):
        self.serve()
        chance = random.Random(3)
        valid = b"GET /file HTTP/1.1\r\nHost: test\r\nRange: bytes=0-3\r\n\r\n"
        for _ in range(300):
            noise = bytearray(valid)
            for _ in range(chance.randint(1, 6)):
                noise[chance.randrange(len(noise))] = chance.randrange(256)
            client = self.connect()
            client.send(bytes(noise))
            client.socket.shutdown(1)
            client.rest()
        self.assertEqual(self.get("/file").content, b"content")


class Patience(serving.ServerTest):
    def test_a_client_that_sends_nothing_more_is_left(self):
        self.write("file", b"content")
        self.serve("--timeout", "1000")
        silent, halfway, asked = self.connect(), self.connect(), self.connect()
        halfway.send(b"GET /file HTTP/1.1\r\nHo")
        asked.ask("/file")
        self.assertEqual(asked.response().content, b"content")
        for client in (silent, halfway, asked):
            self.assertTrue(client.at_end())

    def test_a_client_that_takes_nothing_is_left(self):
        self.make_sparse("large", LARGE)
        server = self.serve("--timeout", "1000")
        nobody = server.sockets()
        client = self.connect(receive_buffer=4096)
        client.ask("/large")
        client.head()
        while server.sockets() > nobody:
            pass
        self.assertLess(client.rest(), LARGE)  # what the kernel had taken already

    def test_a_slow_client_gets_everything_while_others_are_served(self):
        content = random.Random(4).randbytes(8 << 20)
        self.write("large", content)
        self.write("file", b"content")
        server = self.serve()
        slow = self.connect(receive_buffer=4096)
        slow.ask("/large")
        slow.head()
        received = hashlib.sha256()
        count = 0
        while count < len(content):
            data = slow.socket.recv(100_000)
            received.update(data)
            count += len(data)
            if count % 7 == 0:
                self.assertEqual(self.get("/file").content, b"content")
        self.assertEqual(received.digest(), hashlib.sha256(content).digest())
        self.assertIsNone(server.process.poll())

    def test_clients_that_vanish_leave_nothing_behind(self):
        self.make_sparse("large", LARGE)
        server = self.serve()
        before = server.sockets()
        for number in range(50):
            client = self.connect(receive_buffer=4096)
            client.ask("/large")
            if number % 2:
                client.head()
            client.reset()
        waiting_for_all = self.connect()
        while server.sockets() > before + 1:
            waiting_for_all.ask("/none")
            waiting_for_all.response()

    def test_a_file_cut_off_while_it_is_sent_ends_the_connection_only(self):
        path = self.make_sparse("large", LARGE)
        self.serve()
        client = self.connect(receive_buffer=4096)
        client.ask("/large")
        self.assertIn(str(LARGE).encode(), client.head())
        with open(path, "r+b") as file:
            file.truncate(10)
        self.assertLess(client.rest(), LARGE)
        self.assertEqual(self.get("/large", Range="bytes=0-3").content, bytes(4))


class Numbers(serving.ServerTest):
    def setUp(self):
        super().setUp()
        self.write("file", b"content")

    def all_are_answered(self, count):
        clients = [self.connect() for _ in range(count)]
        for client in clients:
            client.ask("/file")
        for client in clients:
            self.assertEqual(client.response().content, b"content")

    def test_many_connections_at_once(self):
        self.serve()
        self.all_are_answered(500)

    def test_several_threads(self):
        self.serve("--threads", "3")
        self.all_are_answered(100)

    def test_no_more_connections_than_are_allowed(self):
        server = self.serve("--connections", "2")
        nobody = server.sockets()
        first, second, third = (self.connect() for _ in range(3))
        third.ask("/file")
        for client in (first, second, first, second):
            client.ask("/file")
            self.assertEqual(client.response().content, b"content")
            self.assertLessEqual(server.sockets(), nobody + 2)
        first.socket.close()
        self.assertEqual(third.response().content, b"content")

    def test_a_want_of_descriptors_is_waited_out(self):
        server = self.serve()
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (len(server.descriptors()) + 3,) * 2)
        clients = [self.connect() for _ in range(6)]
        for client in clients:
            client.ask("/none")
        while clients:  # whoever has been served makes room for those who have not
            ready, _, _ = select.select([each.socket for each in clients], [], [], serving.PATIENCE)
            self.assertTrue(ready)
            for client in [each for each in clients if each.socket in ready]:
                self.assertIn(client.response().status, (404, 503))
                client.socket.close()
                clients.remove(client)


class Ending(serving.ServerTest):
    def test_idle_clients_are_left_at_once(self):
        self.write("file", b"content")
        server = self.serve("--threads", "2")
        clients = [self.connect() for _ in range(10)]
        for client in clients:
            client.ask("/file")
            client.response()
        server.tell_to_end()
        for client in clients:
            self.assertTrue(client.at_end())
        self.assertEqual(server.end()[0], 0)

    def test_what_has_begun_is_sent_to_its_end(self):
        self.make_sparse("large", LARGE)
        for wanted in (signal.SIGTERM, signal.SIGINT):
            server = self.serve()
            client = self.connect(receive_buffer=65536)
            client.ask("/large")
            client.head()
            server.process.send_signal(wanted)
            self.assertEqual(client.rest(), LARGE)
            self.assertEqual(server.end()[0], 0)

    def test_who_takes_nothing_is_waited_for_only_as_long_as_was_said(self):
        self.make_sparse("large", LARGE)
        server = self.serve("--grace", "100", "--measure-stalls")
        client = self.connect(receive_buffer=4096)
        client.ask("/large")
        client.head()
        server.tell_to_end()
        status, said = server.end()
        self.assertEqual(status, 0)
        self.assertRegex(said, r"worst stall: \d+\.\d+ ms")


if __name__ == "__main__":
    unittest.main()
