"""Which file a target names, and that its bytes arrive."""

import os
import random
import shutil
import subprocess
import unittest

import serving


class Content(serving.ServerTest):
    def test_a_tree_is_served_byte_by_byte(self):
        self.serve()
        chance = random.Random(1)
        files = {f"{i % 3}/{i}.bin": chance.randbytes(chance.choice([0, 1, 4096, 16384, 300_001]))
                 for i in range(30)}
        for name, content in files.items():
            self.write(name, content)
        for name, content in files.items():
            answer = self.get(f"/{name}")
            self.assertEqual((answer.status, answer.content), (200, content))

    def test_head_says_the_same_without_content(self):
        self.serve()
        self.write("file.txt", b"x" * 5000)
        head, get = self.get("/file.txt", method="HEAD"), self.get("/file.txt")
        self.assertEqual(head.content, b"")
        for field in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Accept-Ranges"):
            self.assertEqual(head.headers[field], get.headers[field])
        self.assertEqual(head.headers["Content-Length"], "5000")

    def test_the_type_is_that_of_the_extension(self):
        self.serve()
        for name, expected in {"a.html": "text/html; charset=utf-8", "a.PNG": "image/png",
                               "a.b/c": "application/octet-stream", "a.wasm": "application/wasm",
                               "noextension": "application/octet-stream"}.items():
            self.write(name, b"x")
            self.assertEqual(self.get(f"/{name}").headers["Content-Type"], expected)

    def test_names_are_percent_decoded(self):
        self.serve()
        self.write("a b/ü?.txt", b"found")
        answer = self.get("/a%20b/%C3%BC%3f.txt?query=1")
        self.assertEqual((answer.status, answer.content), (200, b"found"))
        self.assertEqual(self.get("http://test/a%20b/%c3%bc%3F.txt").content, b"found")

    def test_badly_encoded_targets_are_bad_requests(self):
        self.serve()
        for target in ("/%", "/%4", "/%zz", "/%00", "/a%2", "/%+1", "nothing", "*"):
            self.assertEqual(self.get(target).status, 400, target)

    def test_what_is_not_there_is_not_found(self):
        self.serve()
        self.write("file", b"x")
        for target in ("/none", "/none/", "/file/below", "/", "/" + "x" * 300):
            self.assertEqual(self.get(target).status, 404, target)

    def test_a_directory_is_its_index(self):
        self.serve()
        self.write("index.html", b"top")
        self.write("sub dir/index.html", b"below")
        self.assertEqual(self.get("/").content, b"top")
        self.assertEqual(self.get("/sub%20dir/").content, b"below")
        moved = self.get("/sub%20dir")
        self.assertEqual((moved.status, moved.headers["Location"]), (301, "/sub%20dir/"))

    def test_directories_are_listed_only_if_asked_for(self):
        self.write("sub/<a> & b", b"x")
        self.write("sub/deep/file", b"x")
        self.serve("--list")
        page = self.get("/sub/").content.decode()
        self.assertIn('<a href="./%3Ca%3E%20%26%20b">&lt;a&gt; &amp; b</a>', page)
        self.assertIn('<a href="./deep/">deep/</a>', page)
        self.assertEqual(self.get("/").status, 200)
        self.assertEqual(self.get("/sub/deep/").status, 200)

    def test_nothing_outside_of_the_tree_is_served(self):
        self.serve("--list")
        (self.outside / "secret").write_bytes(b"secret")
        (self.root / "sub").mkdir()
        (self.root / "out").symlink_to("../secret")
        (self.root / "absolute").symlink_to(self.outside / "secret")
        (self.root / "up").symlink_to("..")
        (self.root / "sub/within").symlink_to("../inside")
        self.write("inside", b"inside")
        for target in ("/../secret", "/%2e%2e/secret", "/sub/../../secret", "/..%2fsecret",
                       "/sub/%2E%2E/%2e%2e/secret", "/out", "/absolute", "/up/secret", "/..", "/../",
                       "/up/"):
            answer = self.get(target)
            self.assertEqual(answer.status, 403, target)
            self.assertNotIn(b"secret", answer.content)
        self.assertEqual(self.get(f"/{self.outside}/secret").status, 404)
        self.assertEqual(self.get("//etc/passwd").status, 404)
        self.assertEqual(self.get("/sub/within").content, b"inside")
        self.assertEqual(self.get("/sub/../inside").content, b"inside")

    def test_what_is_no_file_is_forbidden(self):
        self.serve()
        os.mkfifo(self.root / "fifo")
        self.assertEqual(self.get("/fifo").status, 403)

    def test_a_file_that_takes_anothers_place_is_noticed(self):
        self.serve("--revalidate", "0")
        self.write("file", b"old")
        first = self.get("/file")
        self.write("new", b"newer").rename(self.root / "file")
        second = self.get("/file")
        self.assertEqual((first.content, second.content), (b"old", b"newer"))
        self.assertNotEqual(first.headers["ETag"], second.headers["ETag"])
        (self.root / "file").unlink()
        self.assertEqual(self.get("/file").status, 404)

    def test_more_files_than_are_kept_open(self):
        server = self.serve("--open-files", "4")
        for round_ in range(2):
            for number in range(20):
                self.write(f"{number}", b"%d" % number)
                self.assertEqual(self.get(f"/{number}").content, b"%d" % number)
        held = sum(entry.startswith(str(self.root)) for entry in server.descriptors())
        self.assertLessEqual(held, 5)  # and the root

    @unittest.skipUnless(shutil.which("curl"), "there is no curl")
    def test_curl_gets_a_file_and_completes_a_part(self):
        server = self.serve()
        content = random.Random(2).randbytes(3_000_000)
        self.write("file", content)
        url, target = f"http://127.0.0.1:{server.port}/file", self.outside / "got"
        subprocess.run(["curl", "-sSf", "-o", target, url], check=True, timeout=serving.PATIENCE)
        self.assertEqual(target.read_bytes(), content)
        target.write_bytes(content[:1_234_567])
        subprocess.run(["curl", "-sSf", "-C", "-", "-o", target, url], check=True,
                       timeout=serving.PATIENCE)
        self.assertEqual(target.read_bytes(), content)


if __name__ == "__main__":
    unittest.main()
