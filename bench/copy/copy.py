#!/usr/bin/env python3
"""weir cp beside cp and dd: whole processes, interleaved A B A B, as ratios.

Each pair runs the peer and weir directly after one another, on the same file system, in turn first;
what is reported is the median of the pairs' ratios (weir's time by the peer's; below 1 weir is
faster) and their spread. The same peer against itself says how much of that is noise."""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time

SMALLEST, LARGEST = 4 << 10, 64 << 10


def make_tree(top, files, seed=1):
    chance = random.Random(seed)
    pool = chance.randbytes(1 << 20)
    for number in range(files):
        folder = top / f"{number // 100:03}"
        folder.mkdir(parents=True, exist_ok=True)
        size = chance.randint(SMALLEST, LARGEST)
        start = chance.randint(0, len(pool) - size)
        (folder / f"{number:05}").write_bytes(pool[start : start + size])


def make_large_file(path, size):
    with open(path, "wb") as large:
        for _ in range(size >> 20):
            large.write(os.urandom(1 << 20))
        os.fsync(large.fileno())


def seconds(command):
    started = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - started


def settle():
    """What was written is on the disk, so that nobody pays for another's pages."""
    os.sync()


class Trial:
    """One question: two commands that do the same work, each given a destination of its own."""

    def __init__(self, title, peer, weir, source, keep):
        self.title, names = title.split(": ")
        self.weir_name, self.peer_name = names.split(" / ")
        self.peer, self.weir, self.source, self.keep = peer, weir, source, keep

    def time_one(self, command, work, name):
        target = work / name
        settle()
        took = seconds(command(self.source, target))
        if not self.keep:
            target.unlink()
        return took

    def ratios(self, first, second, work, pairs, tag):
        found = []
        for number in range(pairs):
            order = [("a", first), ("b", second)]
            if number % 2:
                order.reverse()
            times = {key: self.time_one(command, work, f"{tag}.{number}.{key}")
                     for key, command in order}
            found.append((times["b"] / times["a"], times["a"], times["b"]))
        return found


def clean(work, source, quick):
    for entry in work.iterdir():
        if entry != source:
            shutil.rmtree(entry)
    # ext4 does not reuse an inode for 5 s after its removal, and searches past it until then.
    os.sync()
    if not quick:
        time.sleep(6)


def summary(found):
    ratios = sorted(ratio for ratio, _, _ in found)
    return {
        "ratio": statistics.median(ratios),
        "spread": [ratios[0], ratios[-1]],
        "peer_seconds": statistics.median(peer for _, peer, _ in found),
        "weir_seconds": statistics.median(weir for _, _, weir in found),
        "pairs": len(ratios),
    }


def run(trial, work, pairs, quick):
    noise = summary(trial.ratios(trial.peer, trial.peer, work, max(2, pairs // 2), "noise"))
    if trial.keep:
        clean(work, trial.source, quick)
    found = summary(trial.ratios(trial.peer, trial.weir, work, pairs, "pair"))
    if trial.keep:
        clean(work, trial.source, quick)
    low, high = found["spread"]
    noise_low, noise_high = noise["spread"]
    print(f"{trial.title}: {trial.weir_name} / {trial.peer_name}\n"
          f"  weir / peer   {found['ratio']:.2f}  ({low:.2f} to {high:.2f}, {found['pairs']} pairs; "
          f"{found['weir_seconds']:.2f} s and {found['peer_seconds']:.2f} s)\n"
          f"  peer / peer   {noise['ratio']:.2f}  ({noise_low:.2f} to {noise_high:.2f})",
          flush=True)
    return [answer(trial, trial.weir_name, found), answer(trial, f"{trial.peer_name} again: noise", noise)]


def answer(trial, ours, found):
    """As the other benchmarks write it: see tools/report/suite.hpp."""
    return {
        "regime": trial.title,
        "ours": ours,
        "peer": trial.peer_name,
        "unit": "seconds",
        "more_is_better": False,
        "our_median": found["weir_seconds"],
        "peer_median": found["peer_seconds"],
        "ratio": found["ratio"],
        "least": found["spread"][0],
        "most": found["spread"][1],
        "pairs": found["pairs"],
    }


def as_suite(answers):
    asks = "How fast is a copy beside cp and dd?"
    question = {"program": "copy", "asks": asks, "answers": answers, "remarks": []}
    return {"format": 1, "machine": [], "questions": [question]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="the build folder")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the figures")
    options = parser.parse_args()
    weir = options.build.resolve() / "weir"
    files, large_size = (100, 16 << 20) if options.quick else (10_000, 2 << 30)
    pairs = 2 if options.quick else options.pairs
    size = f"{large_size >> 20} MiB"

    work = pathlib.Path(tempfile.mkdtemp(prefix="bench.", dir=options.build))
    try:
        tree = work / "tree"
        make_tree(tree, files)
        large = work / "large"
        make_large_file(large, large_size)
        trials = [
            Trial(f"A tree of {files} files of 4 to 64 KiB, warm: weir cp -r / cp -r",
                  lambda source, target: ["cp", "-r", source, target],
                  lambda source, target: [weir, "cp", "-r", source, target], tree, keep=True),
            Trial(f"A file of {size}, past the page cache: weir cp --direct / dd bs=1M",
                  lambda source, target: ["dd", f"if={source}", f"of={target}", "bs=1M",
                                          "iflag=direct", "oflag=direct", "status=none"],
                  lambda source, target: [weir, "cp", "--direct", source, target], large,
                  keep=False),
            Trial(f"A file of {size}, warm: weir cp / cp",
                  lambda source, target: ["cp", source, target],
                  lambda source, target: [weir, "cp", source, target], large, keep=False),
        ]
        subprocess.run(["cp", "-r", tree, work / "warm-up"], check=True)
        shutil.rmtree(work / "warm-up")
        # The tree's trials remove whole trees: the large file waits elsewhere meanwhile.
        report = []
        for trial in trials:
            place = work / "copies"
            place.mkdir()
            report += run(trial, place, pairs, options.quick)
            shutil.rmtree(place)
        if options.json:
            options.json.write_text(json.dumps(as_suite(report), indent=2) + "\n")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
