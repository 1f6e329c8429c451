#!/usr/bin/env python3
"""The web server of examples/ beside nginx: the same files, sendfile on, a cache of open files, one
worker; the servers on one processor, the clients on the other.

Warm: requests a second and processor time for each, by wrk, in pairs A B A B. Cold: nine requests of
ten for files in memory, one for a file that is not, by a schedule; what the nine have to wait for."""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import servers

SERVER_PROCESSOR, CLIENT_PROCESSOR = 0, 1
WEIR_PORT, NGINX_PORT, AGAIN_PORT = 18080, 18081, 18082
HOT_FILES, HOT_SIZE, COLD_SIZE = 50, 16 << 10, 1 << 20
OURS = "weir's http_file_server"


class Bench:
    """Where it works, and what has been measured."""

    def __init__(self, options, work):
        self.build, self.work, self.quick = options.build.resolve(), work, options.quick
        self.pairs = 2 if options.quick else options.pairs
        self.server_place = servers.pinned(SERVER_PROCESSOR, options.urgent)
        self.client_place = servers.pinned(CLIENT_PROCESSOR, options.urgent)
        self.tree = work / "tree"
        self.answers, self.remarks = [], []

    # --- files ---------------------------------------------------------------------------------

    def make_tree(self, cold):
        (self.tree / "hot").mkdir(parents=True)
        (self.tree / "cold").mkdir()
        for number in range(HOT_FILES):
            (self.tree / f"hot/{number}").write_bytes(os.urandom(HOT_SIZE))
        (self.tree / "16k").write_bytes(os.urandom(16 << 10))
        (self.tree / "1m").write_bytes(os.urandom(1 << 20))
        for number in range(cold):
            (self.tree / f"cold/{number}").write_bytes(os.urandom(COLD_SIZE))
        os.sync()  # only what is on the disk can be dropped from memory

    def drop_cold(self):
        for path in (self.tree / "cold").iterdir():
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)

    def warm_hot(self):
        for path in (self.tree / "hot").iterdir():
            path.read_bytes()

    # --- what is said --------------------------------------------------------------------------

    def add(self, regime, unit, more_is_better, pairs, ours=OURS):
        """`pairs` of what ours and the peer's slices have given."""
        ratios = sorted(a / b for a, b in pairs)
        answer = {
            "regime": regime, "ours": ours, "peer": "nginx", "unit": unit,
            "more_is_better": more_is_better,
            "our_median": statistics.median(a for a, _ in pairs),
            "peer_median": statistics.median(b for _, b in pairs),
            "ratio": statistics.median(ratios), "least": ratios[0], "most": ratios[-1],
            "pairs": len(pairs),
        }
        self.answers.append(answer)
        print(f"{regime}: {ours} / nginx, {unit}\n  {answer['ratio']:.2f}  ({ratios[0]:.2f} to "
              f"{ratios[-1]:.2f}, {len(pairs)} pairs; {answer['our_median']:.1f} and "
              f"{answer['peer_median']:.1f})", flush=True)

    # --- warm ----------------------------------------------------------------------------------

    def wrk(self, server, name):
        """Requests a second, and microseconds of the server's processor for each."""
        before = server.processor_seconds()
        said = subprocess.run(
            [*self.client_place, "wrk", "-t1", "-c32",
             "-d1", f"http://127.0.0.1:{server.port}/{name}"],
            check=True, capture_output=True, text=True).stdout
        if "Non-2xx" in said or "Socket errors" in said:
            raise SystemExit(f"{server.name} failed:\n{said}")
        used = server.processor_seconds() - before
        requests = int(re.search(r"(\d+) requests in", said).group(1))
        return float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1)), used / requests * 1e6

    def in_turn(self, first, second, measure):
        found = []
        for number in range(self.pairs):
            order = [first, second] if number % 2 else [second, first]
            got = {server.name: measure(server) for server in order}
            found.append((got[first.name], got[second.name]))
        return found

    def warm(self):
        running = [servers.start_weir(self.build, self.tree, WEIR_PORT, self.server_place),
                   servers.start_nginx(self.tree, NGINX_PORT, self.work / "nginx", self.server_place),
                   servers.start_nginx(self.tree, AGAIN_PORT, self.work / "again", self.server_place,
                                       "nginx again")]
        weir, nginx, again = running
        for name, size in (("16k", "16 KiB"), ("1m", "1 MiB")):
            for server, ours in ((again, "nginx again: noise"), (weir, OURS)):
                pairs = self.in_turn(server, nginx, lambda one: self.wrk(one, name))
                regime = f"a file of {size}, warm, 32 connections"
                self.add(regime, "requests a second", True, [(a[0], b[0]) for a, b in pairs], ours)
                self.add(regime, "us of processor time a request", False,
                         [(a[1], b[1]) for a, b in pairs], ours)
        for server in running:
            server.end()

    # --- cold ----------------------------------------------------------------------------------

    def load(self, server, rate, cold):
        seconds = cold * 10 / rate
        said = subprocess.run(
            [*self.client_place, self.build / "bench/http_load",
             str(server.port), str(rate), str(seconds), str(HOT_FILES), str(cold)],
            check=True, capture_output=True, text=True).stdout
        return json.loads(said)

    def mixed(self, regime, rate, cold, prepare, pairs):
        """Each slice a server of its own, so that none knows the cold files."""
        def start(name):
            prepare()
            self.warm_hot()
            if name == "weir":
                return servers.start_weir(self.build, self.tree, WEIR_PORT, self.server_place)
            place = pathlib.Path(tempfile.mkdtemp(dir=self.work)) / "nginx"
            return servers.start_nginx(self.tree, NGINX_PORT, place, self.server_place)

        found, stalls = [], []
        for number in range(pairs):
            got = {}
            for name in ("weir", "nginx") if number % 2 else ("nginx", "weir"):
                server = start(name)
                got[name] = self.load(server, rate, cold)
                said = server.end()
                if name == "weir":
                    stalls.append(servers.worst_stall_ms(said))
            found.append((got["weir"], got["nginx"]))
        for key, unit in (("p50", "us, median of the hits"), ("p99", "us, 99 % of the hits"),
                          ("p999", "us, 99.9 % of the hits"), ("max", "us, the slowest hit")):
            self.add(regime, unit, False, [(a[key], b[key]) for a, b in found])
        remark = (f"{regime}: the loop was late by {max(stalls):.2f} ms at worst, "
                  f"{statistics.median(stalls):.2f} in the median of {len(stalls)} runs.")
        self.remarks.append(remark)
        print(remark, flush=True)

    def cold_disk(self):
        count = 20 if self.quick else 200
        self.mixed("this disk, 1 of 10 requests for a cold file of 1 MiB", 500, count,
                   self.drop_cold, self.pairs)

    def slow_disk(self):
        program = self.build / "bench/slow_disk"
        if not program.exists() or not os.access("/dev/fuse", os.R_OK | os.W_OK):
            self.remarks.append("No slow disk: there is no FUSE here.")
            print(self.remarks[-1])
            return
        place = self.tree / "cold"
        shutil.rmtree(place)
        place.mkdir()
        disk = []

        def remount():
            unmount()
            disk.append(subprocess.Popen([program, "-f", place]))
            while not os.path.ismount(place):
                if disk[-1].poll() is not None:
                    raise SystemExit("the slow disk cannot be mounted")

        def unmount():
            if disk:
                subprocess.run(["umount", place], check=True)
                disk.pop().wait()

        try:
            self.mixed("a disk that takes 100 ms, 1 of 10 requests for a file on it", 50,
                       5 if self.quick else 50, remount, max(2, self.pairs // 2))
        finally:
            unmount()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="the build folder")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--urgent", action="store_true",
                        help="by SCHED_FIFO, as root: for a machine that has other work")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the figures")
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="bench.", dir=options.build)).resolve()
    try:
        bench = Bench(options, work)
        bench.make_tree(20 if options.quick else 200)
        bench.warm()
        bench.cold_disk()
        bench.slow_disk()
    finally:
        shutil.rmtree(work)
    if options.json:
        question = {"program": "http", "asks": "How does the example's web server do beside nginx?",
                    "answers": bench.answers, "remarks": bench.remarks}
        suite = {"format": 1, "machine": [], "questions": [question]}
        options.json.write_text(json.dumps(suite, indent=2) + "\n")


if __name__ == "__main__":
    main()
