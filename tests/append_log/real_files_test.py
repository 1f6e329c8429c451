"""examples/append_log, run as a user runs it: appends, recovers, cuts off a torn tail."""

import os
import pathlib
import subprocess
import tempfile
import unittest

APPEND_LOG = os.environ["APPEND_LOG"]


class RealFiles(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.directory = pathlib.Path(self.scratch.name)

    def run_log(self, *options, lines=()):
        text = "".join(f"{line}\n" for line in lines)
        return subprocess.run([APPEND_LOG, self.directory, *options], input=text,
                              capture_output=True, text=True)

    def append(self, lines):
        ran = self.run_log(lines=lines)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout

    def records(self):
        ran = self.run_log("--print")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout.splitlines()

    def segment(self):
        (segment,) = self.directory.glob("*.log")
        return segment

    def test_what_was_appended_is_there(self):
        first = [f"record {i} {'x' * (i * 37 % 500)}" for i in range(200)]
        self.append(first)
        said = self.append(["one more"])
        self.assertTrue(said.startswith("200 records were there; 1 are durable now"), said)
        self.assertEqual(self.records(), first + ["one more"])

    def test_many_at_once_share_writes(self):
        said = self.append(str(i) for i in range(64))
        self.assertIn("in 2 groups", said)  # the first alone, the others while it was written

    def test_a_torn_tail_is_cut_off(self):
        self.append(["kept", "torn"])
        with self.segment().open("r+b") as segment:
            segment.truncate(self.segment().stat().st_size - 1)
        self.assertEqual(self.records(), ["kept"])
        self.append(["new"])
        self.assertEqual(self.records(), ["kept", "new"])

    def test_a_record_with_a_wrong_byte_is_not_believed(self):
        self.append(["kept", "rotten"])
        whole = self.segment().read_bytes()
        self.segment().write_bytes(whole[:-1] + b"?")
        self.assertEqual(self.records(), ["kept"])

    def test_a_missing_segment_is_an_error(self):
        self.append(["first"])
        (self.directory / "0000000000000009.log").touch()
        ran = self.run_log("--print")
        self.assertEqual(ran.returncode, 1)
        self.assertIn("Bad message", ran.stderr)

    def test_other_files_are_left_alone(self):
        (self.directory / "notes.txt").write_text("mine")
        self.append(["first"])
        self.assertEqual(self.records(), ["first"])
        self.assertEqual((self.directory / "notes.txt").read_text(), "mine")


unittest.main()
