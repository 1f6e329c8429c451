"""Ranges and conditions, RFC 9110 13 and 14."""

import email.utils
import os
import unittest

import serving

CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)
MODIFIED = 1_700_000_000


def date(seconds):
    return email.utils.formatdate(seconds, usegmt=True)


class Conditions(serving.ServerTest):
    def setUp(self):
        super().setUp()
        path = self.write("file", CONTENT)
        os.utime(path, (MODIFIED, MODIFIED))
        self.serve()
        self.etag = self.get("/file").headers["ETag"]

    def part(self, value, **fields):
        return self.get("/file", Range=value, **fields)

    def test_one_range_is_that_part(self):
        for value, first, last in (("bytes=0-0", 0, 0), ("bytes=5-99", 5, 99),
                                   ("bytes=100-", 100, SIZE - 1), ("bytes=-7", SIZE - 7, SIZE - 1),
                                   (f"bytes=10-{SIZE + 5}", 10, SIZE - 1),
                                   (f"bytes=-{SIZE * 2}", 0, SIZE - 1),
                                   ("bytes=3-99999999999999999999999", 3, SIZE - 1)):
            answer = self.part(value)
            self.assertEqual(answer.status, 206, value)
            self.assertEqual(answer.content, CONTENT[first : last + 1], value)
            self.assertEqual(answer.headers["Content-Range"], f"bytes {first}-{last}/{SIZE}")

    def test_a_range_beyond_the_end_cannot_be_satisfied(self):
        for value in (f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 1}", "bytes=-0",
                      "bytes=99999999999999999999999-"):
            answer = self.part(value)
            self.assertEqual((answer.status, answer.content), (416, b""), value)
            self.assertEqual(answer.headers["Content-Range"], f"bytes */{SIZE}")
        self.write("empty", b"")
        self.assertEqual(self.get("/empty", Range="bytes=0-").status, 416)
        self.assertEqual(self.get("/empty").content, b"")

    def test_what_is_no_single_range_is_overlooked(self):
        for value in ("bytes=5-4", "bytes=a-b", "bytes=", "bytes=-", "lines=1-2", "bytes=1",
                      "bytes=0-1,5-6", "bytes=1-2x", "bytes=--1"):
            answer = self.part(value)
            self.assertEqual((answer.status, answer.content), (200, CONTENT), value)

    def test_a_range_of_a_head_request_is_overlooked(self):
        answer = self.get("/file", method="HEAD", Range="bytes=0-1")
        self.assertEqual((answer.status, answer.headers["Content-Length"]), (200, str(SIZE)))

    def test_if_range_asks_for_the_whole_file_where_it_has_changed(self):
        for validator, status in ((self.etag, 206), ('"other"', 200), (f"W/{self.etag}", 200),
                                  (date(MODIFIED), 206), (date(MODIFIED + 1), 200),
                                  (date(MODIFIED - 1), 200), ("nonsense", 200)):
            answer = self.part("bytes=1-2", If_Range=validator)
            self.assertEqual(answer.status, status, validator)
            self.assertEqual(answer.content, CONTENT[1:3] if status == 206 else CONTENT)

    def test_what_the_client_has_is_not_sent_again(self):
        for fields in ({"If_None_Match": self.etag}, {"If_None_Match": f"W/{self.etag}"},
                       {"If_None_Match": f'"a", {self.etag} ,"b"'}, {"If_None_Match": "*"},
                       {"If_Modified_Since": date(MODIFIED)},
                       {"If_Modified_Since": date(MODIFIED + 100)},
                       {"If_Modified_Since": "Tuesday, 14-Nov-23 22:13:20 GMT"},
                       {"If_Modified_Since": "Tue Nov 14 22:13:20 2023"},
                       {"If_None_Match": self.etag, "If_Modified_Since": date(0)}):
            answer = self.get("/file", **fields)
            self.assertEqual((answer.status, answer.content), (304, b""), fields)
            self.assertEqual(answer.headers["ETag"], self.etag)

    def test_what_has_changed_is_sent(self):
        for fields in ({"If_None_Match": '"other"'}, {"If_Modified_Since": date(MODIFIED - 1)},
                       {"If_Modified_Since": "last week"},
                       {"If_None_Match": '"other"', "If_Modified_Since": date(MODIFIED)}):
            answer = self.get("/file", **fields)
            self.assertEqual((answer.status, answer.content), (200, CONTENT), fields)

    def test_a_precondition_that_does_not_hold_fails(self):
        for fields, status in (({"If_Match": self.etag}, 200), ({"If_Match": "*"}, 200),
                               ({"If_Match": '"other"'}, 412), ({"If_Match": f"W/{self.etag}"}, 412),
                               ({"If_Unmodified_Since": date(MODIFIED)}, 200),
                               ({"If_Unmodified_Since": date(MODIFIED - 1)}, 412),
                               ({"If_Unmodified_Since": "nonsense"}, 200),
                               ({"If_Match": self.etag,
                                 "If_Unmodified_Since": date(MODIFIED - 1)}, 200)):
            self.assertEqual(self.get("/file", **fields).status, status, fields)

    def test_ranges_at_the_end_of_a_file_of_five_gibibytes(self):
        size = 5 << 30
        path = self.make_sparse("large", size)
        with open(path, "r+b") as file:
            file.seek(size - 4)
            file.write(b"last")
            file.seek((4 << 30) - 2)
            file.write(b"edge")
        self.assertEqual(self.get("/large", method="HEAD").headers["Content-Length"], str(size))
        self.assertEqual(self.get("/large", Range="bytes=-4").content, b"last")
        self.assertEqual(self.get("/large", Range=f"bytes={size - 2}-").content, b"st")
        edge = self.get("/large", Range=f"bytes={(4 << 30) - 2}-{(4 << 30) + 1}")
        self.assertEqual(edge.content, b"edge")
        self.assertEqual(edge.headers["Content-Range"],
                         f"bytes 4294967294-4294967297/{size}")


if __name__ == "__main__":
    unittest.main()
