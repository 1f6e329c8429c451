#!/usr/bin/env python3
"""The main job on real files: measures the disk, then copies a tree and a large file with every
driver, checks every byte, and prints what it took, beside cp -r. Works in a folder of its own under
the build folder, and removes it at the end."""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path("/usr/include")
LARGE_FILE_SIZE = 1 << 30
STAMPED = 64 << 10  # every so many bytes a block's number, so that a misplaced block is a difference
ROUNDS = 3


class Outcome:
    """What copying something took: the median round's seconds, and that round's CPU seconds."""

    def __init__(self, rounds):
        self.seconds, self.cpu = sorted(rounds)[len(rounds) // 2]


def timed(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    subprocess.run(command, check=True)
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, cpu


def regular_files(top):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def write_large_file(path):
    """Headers and programs of this system, one after the other, until there is enough."""
    block = 0
    with open(path, "wb") as large:
        while large.tell() < LARGE_FILE_SIZE:
            for source in [*regular_files("/usr/bin"), *regular_files(TREE)]:
                with open(source, "rb") as content:
                    while data := content.read(STAMPED - 8):
                        large.write(block.to_bytes(8, "little") + data)
                        block += 1
                if large.tell() >= LARGE_FILE_SIZE:
                    break
        large.truncate(LARGE_FILE_SIZE)


def check_same(first, second):
    """Every byte, by programs that know nothing of weir; and modes, times, links of a tree."""
    if os.path.isdir(first):
        subprocess.run(["diff", "-r", "--no-dereference", first, second], check=True)
    else:
        subprocess.run(["cmp", first, second], check=True)


def copied(command, source, work, what, keep):
    """Copies `source` a few times with `command`, checks each copy."""
    rounds = []
    for number in range(ROUNDS):
        target = work / f"{what}.{number}"
        os.sync()
        rounds.append(timed([*command, source, target]))
        check_same(source, target)
        if not keep:
            target.unlink()
    return Outcome(rounds)


def offered_drivers(weir):
    report = subprocess.run([weir, "doctor", "--json"], check=True, capture_output=True, text=True)
    return [each["name"] for each in json.loads(report.stdout)["drivers"] if each["available"]]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--build", type=pathlib.Path, required=True, help="the build folder")
    build = arguments.parse_args().build.resolve()
    weir = build / "weir"

    subprocess.run([weir, "doctor", build], check=True)
    print("\nThe same disk, every driver beside plain pread, for some seconds:\n", flush=True)
    subprocess.run([weir, "bench", "--quick", build], check=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="demo.", dir=build))
    try:
        show(weir, work)
    finally:
        shutil.rmtree(work)


def show(weir, work):
    sizes = [os.path.getsize(path) for path in regular_files(TREE)]
    megabytes = sum(sizes) / 1e6
    large = work / "large"
    write_large_file(large)
    print(f"\nCopying {TREE}, {len(sizes)} files of {megabytes:.0f} MB together, and one file of "
          f"{LARGE_FILE_SIZE >> 20} MiB,\n{ROUNDS} times each; every copy is compared with its "
          "original. Warm page cache; medians.\n", flush=True)

    # Unmeasured: brings the sources into the page cache for everyone.
    subprocess.run(["cp", "-r", TREE, work / "warm-up"], check=True)
    commands = {f"weir cp, {name}": [weir, "cp", "--driver", name] for name in offered_drivers(weir)}
    commands["cp"] = ["cp"]
    print(f"{'':22}{'tree':>26}{'':8}{'large file':>20}")
    print(f"{'':22}{'files/s':>10}{'MB/s':>8}{'CPU s':>8}{'':8}{'MB/s':>12}{'CPU s':>8}")
    for name, command in commands.items():
        # Kept until the end: ext4 is slow to make files just after it has removed many.
        tree = copied([*command, "-r"], TREE, work, f"tree.{name}", keep=True)
        one = copied(command, large, work, "copy", keep=False)
        print(f"{name:22}{len(sizes) / tree.seconds:10.0f}{megabytes / tree.seconds:8.0f}"
              f"{tree.cpu:8.2f}{'':8}{LARGE_FILE_SIZE / 1e6 / one.seconds:12.0f}{one.cpu:8.2f}",
              flush=True)
    print("\nEvery byte is the same.")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failed:
        sys.exit(f"demo: '{' '.join(map(str, failed.cmd))}' failed with {failed.returncode}")
