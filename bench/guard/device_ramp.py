#!/usr/bin/env python3
"""How far a ramp of device memory passes the guard's limit, on an NVIDIA GPU; one JSON document, progress on stderr.

  device_ramp.py [--build build] [--trips 20] [--rate 4] [--limit 6] [--poll 0.05] [--out FILE]

A process takes device memory in pieces of 16 MiB at `--rate` GiB/s (cudaMalloc and cudaMemset through libcudart, no other library) under
`host guard --limit-gb LIMIT`. It keeps in a file how much it had taken, up to the instant in which SIGKILL stopped it, so overshoot is exact; what
the CUDA context itself takes is measured before the ramp and counts too. A trip that ends before the limit was ended by prediction. Also counted:
ramps that stop at 95 % of the limit and must live."""
import argparse
import ctypes
import glob
import json
import mmap
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

PIECE = 16 << 20


def libcudart():
    names = ["libcudart.so.13", "libcudart.so"] + glob.glob("/usr/local/cuda/lib64/libcudart.so*")
    names += [f for folder in sys.path for f in glob.glob(os.path.join(folder, "nvidia", "cu13", "lib", "libcudart.so.13"))]
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise SystemExit("device_ramp.py: no libcudart.so.13 was found; set LD_LIBRARY_PATH")


def ramp(progress, rate, stop):
    """The child: takes memory until `stop` bytes (0: for ever), then waits three seconds."""
    cuda = libcudart()

    def call(name, *arguments):
        code = getattr(cuda, name)(*arguments)
        if code:
            raise SystemExit(f"device_ramp.py: {name}: error {code}")

    free_before, free, total = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_size_t()
    call("cudaFree", None)  # makes the context
    call("cudaMemGetInfo", ctypes.byref(free_before), ctypes.byref(total))
    with open(progress, "r+b") as file:
        shared = mmap.mmap(file.fileno(), 24)
    taken, start, pointer = 0, time.monotonic(), ctypes.c_void_p()
    while stop == 0 or taken + PIECE <= stop:
        call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(PIECE))
        call("cudaMemset", pointer, 1, ctypes.c_size_t(PIECE))
        taken += PIECE
        shared[:24] = struct.pack("<QdQ", taken, time.monotonic() - start, total.value - free_before.value)
        ahead = taken / (rate * 2**30) - (time.monotonic() - start)
        if ahead > 0:
            time.sleep(ahead)
    time.sleep(3)


def trip(a, folder, stop):
    progress, report = os.path.join(folder, "progress"), os.path.join(folder, "report.json")
    with open(progress, "wb") as file:
        file.write(bytes(24))
    command = [os.path.join(a.build, "bin", "host"), "guard", "--limit-gb", str(a.limit), "--poll-secs", str(a.poll), "--report", report, "--",
               sys.executable, os.path.abspath(__file__), "--child", progress, "--rate", str(a.rate), "--stop", str(stop)]
    environment = {k: v for k, v in os.environ.items() if k != "TETRAD_GUARD"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    taken, seconds, context = struct.unpack("<QdQ", open(progress, "rb").read())
    return {"exit_code": ended.returncode, "taken": taken, "context": context, "seconds": seconds, "said": ended.stderr.strip()[-400:]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--trips", type=int, default=20)
    parser.add_argument("--below", type=int, default=5, help="ramps that stop at 95 %% of the limit")
    parser.add_argument("--rate", type=float, default=4.0, help="GiB/s")
    parser.add_argument("--limit", type=float, default=6.0, help="GiB")
    parser.add_argument("--poll", type=float, default=0.05)
    parser.add_argument("--out")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--stop", type=int, default=0, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.child:
        return ramp(a.child, a.rate, a.stop)
    limit, trips, below = int(a.limit * 2**30), [], []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(a.trips):
            trips.append(trip(a, folder, 0))
            print(f"trip {i}: exit {trips[-1]['exit_code']}, {(trips[-1]['taken'] + trips[-1]['context'] - limit) / 2**20:+.0f} MiB", file=sys.stderr)
        for _ in range(a.below):
            # The context counts for the guard: 95 % of the limit with it.
            below.append(trip(a, folder, int(limit * 0.95) - (trips[0]["context"] if trips else 0)))
    over = sorted((t["taken"] + t["context"] - limit) / 2**20 for t in trips)
    rates = [t["taken"] / 2**30 / t["seconds"] for t in trips if t["seconds"]]
    result = {"limit_gib": a.limit, "rate_gib_s_wanted": a.rate, "rate_gib_s_achieved": statistics.median(rates) if rates else None,
              "poll_secs": a.poll, "not_killed": sum(t["exit_code"] != 124 for t in trips),
              "overshoot_mib": {"median": statistics.median(over), "worst": over[-1], "n": len(over)} if over else None,
              "false_kills": sum(t["exit_code"] == 124 for t in below), "below": len(below), "trips": trips}
    document = json.dumps(result, indent=1)
    if a.out:
        open(a.out, "w").write(document + "\n")
    print(document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
