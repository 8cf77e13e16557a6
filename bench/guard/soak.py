#!/usr/bin/env python3
"""The guard's figures on this machine, as JSON on stdout; progress on stderr. Never takes more than 1 GiB.

  soak.py [--build build] [--trips 200] [--rounds 1000] [--out FILE]

Overshoot is exact: the ramp keeps in a file how much it had taken and when, up to the instant in which SIGKILL stopped it.
A ramp maps a memfd that was filled beforehand, because fresh pages do not come that fast; the rate is the achieved one.
"""
import argparse
import array
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time

STEP = 2 << 20
MIB = 1 << 20


def note(text):
    print(text, file=sys.stderr, flush=True)


def spread(values):
    values = sorted(values)
    if not values:
        return None
    return {"n": len(values), "median": statistics.median(values), "p99": values[min(len(values) - 1, len(values) * 99 // 100)],
            "worst": values[-1]}


class Soak:
    def __init__(self, build, folder):
        self.host = os.path.join(build, "bin", "host")
        self.ramp = os.path.join(build, "tests", "ramp")
        self.fake = os.path.join(build, "tests", "fake-nvml")
        self.folder = folder
        self.progress = os.path.join(folder, "progress")
        self.environment = {k: v for k, v in os.environ.items() if k != "TETRAD_GUARD"}

    def steps(self):
        with open(self.progress, "rb") as file:
            data = array.array("q", file.read())
        return list(data[1:1 + data[0]])

    def trip(self, limit_mib, size_mib, rate, hang=False, what="map"):
        """One ramp over the limit. Times in ms, sizes in MiB."""
        report = os.path.join(self.folder, "report.json")
        if os.path.exists(report):
            os.unlink(report)
        environment = dict(self.environment, RAMP_PROGRESS=self.progress)
        arguments = [self.host, "guard", "--limit-gb", str(limit_mib / 1024), "--poll-secs", "0.5", "--report", report]
        if hang:
            script = os.path.join(self.folder, "script")
            with open(script, "w") as file:
                file.write("hang\n")
            environment.update(LD_LIBRARY_PATH=self.fake, FAKE_NVML_FILE=script)
            arguments += ["--sensor", "guard-nvml", "--sensor", "guard-host"]
        done = subprocess.run(arguments + ["--", self.ramp, what, str(size_mib), str(rate)], env=environment,
                              stderr=subprocess.PIPE, timeout=120)
        if done.returncode != 124:
            return {"missed": done.stderr.decode(errors="replace")}
        with open(report) as file:
            record = json.load(file)
        times = self.steps()
        origin = record["origin_monotonic_ns"]
        at = {name: origin + value * 1e9 for name, value in record["times_s"].items() if value is not None}
        crossing = times[limit_mib // 2 - 1] if len(times) >= limit_mib // 2 else None
        window = times[len(times) // 2:]
        achieved = (len(window) - 1) * 2 / max((window[-1] - window[0]) * 1e-9, 1e-9) if len(window) > 2 else None
        return {"overshoot_mib": len(times) * 2 - limit_mib,
                "rate_mib_s": achieved,
                "kill_ms": None if crossing is None else (at["killed"] - crossing) * 1e-6,
                "decided_to_killed_ms": (at["killed"] - at["decided"]) * 1e-6,
                "gone_ms": (at["all_gone"] - (crossing or at["decided"])) * 1e-6,
                "teardown_ms": (at["all_gone"] - at["killed"]) * 1e-6,
                "survivors": record["survivors"], "bytes_mib": len(times) * 2}

    def teardown(self, mib, size_mib, rate):
        """What this machine needs to end the same ramp at that size, without a guard."""
        if os.path.exists(self.progress):
            os.unlink(self.progress)
        environment = dict(self.environment, RAMP_PROGRESS=self.progress)
        child = subprocess.Popen([self.ramp, "map", str(size_mib), str(rate)], env=environment)
        while not (os.path.exists(self.progress) and os.path.getsize(self.progress) > 0 and len(self.steps()) >= mib // 2):
            time.sleep(0.001)
        start = time.monotonic()
        child.kill()
        child.wait()
        return (time.monotonic() - start) * 1e3

    def ramps(self, trips, rate, hang):
        results = [self.trip(512, 896, rate, hang) for _ in range(trips)]
        good = [r for r in results if "missed" not in r]
        overshoot = [max(0, r["overshoot_mib"]) for r in good]
        rates = [r["rate_mib_s"] for r in good if r["rate_mib_s"]]
        tear = [self.teardown(512, 896, rate) for _ in range(min(20, trips))]
        return {"trips": trips, "missed": len(results) - len(good), "wanted_rate_mib_s": rate,
                "achieved_rate_mib_s": spread(rates), "overshoot_mib": spread(overshoot),
                "overshoot_ms_of_rate": spread([1e3 * max(0, r["overshoot_mib"]) / r["rate_mib_s"] for r in good if r["rate_mib_s"]]),
                "killed_before_the_limit": sum(r["overshoot_mib"] <= 0 for r in good),
                "limit_to_sigkill_ms": spread([max(0.0, r["kill_ms"]) for r in good if r["kill_ms"] is not None]),
                "decided_to_sigkill_ms": spread([r["decided_to_killed_ms"] for r in good]),
                "sigkill_to_last_reaped_ms": spread([r["teardown_ms"] for r in good]),
                "limit_to_last_reaped_ms": spread([max(0.0, r["gone_ms"]) for r in good]),
                "machine_teardown_512_mib_ms": spread(tear),
                "survivors": sum(r["survivors"] for r in good)}

    def living(self, mark):
        pids = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    if mark.encode() not in file.read():
                        continue
                with open(f"/proc/{name}/stat") as file:
                    if file.read().rsplit(")", 1)[1].split()[0] not in "ZX":
                        pids.append(int(name))
            except OSError:
                pass
        return pids

    def trees(self, rounds):
        """Trees of daemons, forks and a bomb, ended at a limit."""
        kinds = [["daemons", "4", "40"], ["bomb", "60", "0"], ["sharers", "30", "4"]]
        survivors = missed = 0
        for i in range(rounds):
            mark = f"soak-{os.getpid()}-{i}"
            kind = kinds[i % 3]
            limit = "0.004" if kind[0] == "bomb" else "0.02"
            done = subprocess.run([self.host, "guard", "--limit-gb", limit, "--poll-secs", "0.05", "--", self.ramp, *kind, mark],
                                  env=self.environment, stderr=subprocess.DEVNULL, timeout=60)
            missed += done.returncode != 124
            survivors += len(self.living(mark))
        return {"kills": rounds, "not_killed": missed, "survivors": survivors}

    def guard_killed(self, rounds):
        """SIGKILL to the guard: until nobody of its tree is left."""
        waits = []
        late = 0
        for i in range(rounds):
            mark = f"soak-{os.getpid()}-{i}"
            host = subprocess.Popen([self.host, "guard", "--limit-gb", "1", "--poll-secs", "0.05", "--", self.ramp, "daemons",
                                     "2", "0", mark], env=self.environment, stderr=subprocess.DEVNULL)
            for _ in range(200):
                if len(self.living(mark)) >= 4:  # host, its child, two daemons
                    break
                time.sleep(0.005)
            time.sleep(0.03)
            host.send_signal(signal.SIGKILL)
            start = time.monotonic()
            host.wait()
            while self.living(mark) and time.monotonic() - start < 5:
                pass
            waits.append((time.monotonic() - start) * 1e3)
            late += waits[-1] > 100
        return {"rounds": rounds, "gone_ms": spread(waits), "over_100_ms": late}

    def idle(self, seconds):
        host = subprocess.Popen([self.host, "guard", "--limit-gb", "1", "--poll-secs", "0.05", "--", "sleep", str(seconds + 5)],
                                env=self.environment, stderr=subprocess.DEVNULL)
        time.sleep(2)

        def cpu():
            with open(f"/proc/{host.pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        def exact():
            with open(f"/proc/{host.pid}/schedstat") as file:
                return int(file.read().split()[0]) * 1e-9

        try:
            before, measure = exact(), exact
        except OSError:
            before, measure = cpu(), cpu
        time.sleep(seconds)
        share = (measure() - before) / seconds
        with open(f"/proc/{host.pid}/status") as file:
            rss = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        host.terminate()
        host.wait()
        return {"poll_s": 0.05, "seconds": seconds, "cpu_percent_of_a_core": 100 * share, "rss_mib": rss / 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--trips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=4096, help="MiB a second")
    parser.add_argument("--out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(options.build, folder)
        result = {"machine": {"cores": os.cpu_count(), "kernel": platform.release(), "load_before": os.getloadavg()}}
        parts = [("idle", lambda: soak.idle(20)),
                 ("ramps", lambda: soak.ramps(options.trips, options.rate, False)),
                 ("ramps_nvml_hung", lambda: soak.ramps(options.trips, options.rate, True)),
                 ("trees", lambda: soak.trees(options.rounds)),
                 ("guard_killed", lambda: soak.guard_killed(options.rounds))]
        for name, part in parts:
            note(f"{name} ...")
            result[name] = part()
            note(json.dumps(result[name]))
            if options.out:  # what is measured is kept, whatever happens later
                with open(options.out, "w") as file:
                    file.write(json.dumps(result, indent=2) + "\n")
        result["machine"]["load_after"] = os.getloadavg()
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        with open(options.out, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
