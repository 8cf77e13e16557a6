#!/usr/bin/env python3
"""Every figure of the guard on this machine, in one run and as one JSON; progress on stderr. Takes less than 2 GiB.

  soak.py [--build build] [--out FILE]              the full counts, some 11 minutes
  soak.py --share 0.02 [--only ramps,teardown]      2 % of them

Overshoot is exact: the ramp keeps in a file how much it had taken and when, up to the instant in which SIGKILL stopped it.
Ramps map pages that exist already, because fresh pages do not come at 4 GiB/s; the rate is the achieved one. What the guard needs
until the last process is gone is held against a plain kill of the same program with as many pages, one after the other.
"""
import argparse
import array
import concurrent.futures
import json
import os
import platform
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
COUNTS = {"idle_seconds": 15, "ramps": 200, "nvml_hung": 1000, "teardown": 60, "trees": 1000, "guard_killed": 1000,
          "below": 1000}


def note(text):
    print(text, file=sys.stderr, flush=True)


def spread(values):
    values = sorted(values)
    if not values:
        return None
    return {"n": len(values), "median": statistics.median(values), "p99": values[min(len(values) - 1, len(values) * 99 // 100)],
            "worst": values[-1]}


class Soak:
    def __init__(self, build, folder, rate):
        self.host = os.path.join(build, "bin", "host")
        self.ramp = os.path.join(build, "tests", "ramp")
        self.fake = os.path.join(build, "tests", "fake-nvml")
        self.folder = folder
        self.rate = rate
        self.environment = {k: v for k, v in os.environ.items() if k != "TETRAD_GUARD"}
        # What ramps map: filled once.
        self.pages = os.memfd_create("soak-pages")
        block = b"\1" * (2 * MIB)
        for _ in range(384):
            os.write(self.pages, block)

    # ---- one trip ----

    def steps(self, progress):
        with open(progress, "rb") as file:
            data = array.array("q", file.read())
        return list(data[1:1 + data[0]]) if data else []

    def trip(self, limit_mib, program, hang=False, own_pages=False, extra=()):
        """A program over the limit. Times in ms, sizes in MiB."""
        report = os.path.join(self.folder, "report.json")
        progress = os.path.join(self.folder, "progress")
        if os.path.exists(report):
            os.unlink(report)
        environment = dict(self.environment, RAMP_PROGRESS=progress)
        if not own_pages:
            environment["RAMP_PAGES"] = f"/proc/{os.getpid()}/fd/{self.pages}"
        arguments = [self.host, "guard", "--limit-gb", str(limit_mib / 1024), "--poll-secs", "0.5", "--report", report, *extra]
        if hang:
            script = os.path.join(self.folder, "script")
            with open(script, "w") as file:
                file.write("hang\n")
            environment.update(LD_LIBRARY_PATH=self.fake, FAKE_NVML_FILE=script)
            arguments += ["--sensor", "guard-nvml", "--sensor", "guard-host"]
        done = subprocess.run(arguments + ["--", self.ramp, *map(str, program)], env=environment, stderr=subprocess.PIPE, timeout=120)
        if done.returncode != 124:
            return {"missed": done.stderr.decode(errors="replace")}
        with open(report) as file:
            record = json.load(file)
        times = self.steps(progress)
        origin = record["origin_monotonic_ns"]
        at = {name: origin + value * 1e9 for name, value in record["times_s"].items() if value is not None}
        crossing = times[limit_mib // 2 - 1] if len(times) >= limit_mib // 2 else None
        window = times[len(times) // 2:]
        achieved = (len(window) - 1) * 2 / max((window[-1] - window[0]) * 1e-9, 1e-9) if len(window) > 2 else None
        return {"mib": len(times) * 2,
                "overshoot_mib": max(0, len(times) * 2 - limit_mib),
                "rate_mib_s": achieved,
                "limit_to_kill_ms": None if crossing is None else max(0.0, (at["killed"] - crossing) * 1e-6),
                "decided_to_kill_ms": (at["killed"] - at["decided"]) * 1e-6,
                # From the limit where it was reached, else from the decision.
                "gone_ms": (at.get("all_gone", float("inf")) - min(crossing or at["decided"], at["decided"])) * 1e-6,
                "survivors": record["survivors"]}

    def plain_kill(self, mib, program):
        """What this machine needs to end the same program, when it has taken that much, without a guard."""
        progress = os.path.join(self.folder, "progress")
        if os.path.exists(progress):
            os.unlink(progress)
        child = subprocess.Popen([self.ramp, *map(str, program)], env=dict(self.environment, RAMP_PROGRESS=progress))
        while not (os.path.exists(progress) and os.path.getsize(progress) > 0 and len(self.steps(progress)) >= mib // 2):
            time.sleep(0.0005)
        start = time.monotonic()
        child.kill()
        child.wait()
        return (time.monotonic() - start) * 1e3

    def overshoot(self, results):
        good = [r for r in results if "missed" not in r]
        with_rate = [r for r in good if r["rate_mib_s"]]
        return {"trips": len(results), "missed": len(results) - len(good),
                "achieved_rate_mib_s": spread([r["rate_mib_s"] for r in with_rate]),
                "overshoot_mib": spread([r["overshoot_mib"] for r in good]),
                "overshoot_ms_of_rate": spread([1e3 * r["overshoot_mib"] / r["rate_mib_s"] for r in with_rate]),
                "reached_the_limit": sum(r["limit_to_kill_ms"] is not None for r in good),
                "limit_to_sigkill_ms": spread([r["limit_to_kill_ms"] for r in good if r["limit_to_kill_ms"] is not None]),
                "decided_to_sigkill_ms": spread([r["decided_to_kill_ms"] for r in good]),
                "survivors": sum(r["survivors"] for r in good)}

    # ---- the figures ----

    def ramps(self, count):
        """4 GiB/s past a limit of 512 MiB. Those that prediction ends before the limit have no overshoot."""
        result = self.overshoot([self.trip(512, ["map", 768, self.rate]) for _ in range(count)])
        return dict(result, wanted_rate_mib_s=self.rate)

    def nvml_hung(self, count):
        """A leap from 48 MiB over a limit of 64, with a driver that hangs: hardly a trip ends before the limit."""
        result = self.overshoot([self.trip(64, ["leap", 160, 48], hang=True) for _ in range(count)])
        kill = result["limit_to_sigkill_ms"]
        return dict(result, over_50_ms=None if kill is None else result["missed"] + (kill["worst"] > 50))

    def teardown(self, count):
        """From the limit to the last process gone, beside a plain kill of as many bytes just before or after."""
        result = {}
        for name, program in (("fresh_pages", ["anon", 700, 0]), ("file_in_memory", ["map", 700, self.rate])):
            guarded, plain, above = [], [], []
            missed = 0
            for i in range(count):
                first = self.plain_kill(512, program) if i % 2 else None
                trip = self.trip(512, program, own_pages=True)
                second = self.plain_kill(512, program) if first is None else first
                if "missed" in trip:
                    missed += 1
                    continue
                guarded.append(trip["gone_ms"])
                plain.append(second)
                above.append(trip["gone_ms"] - second)
            result[name] = {"pairs": count, "missed": missed, "limit_to_last_gone_ms": spread(guarded),
                            "machine_alone_ms": spread(plain), "above_the_machine_ms": spread(above),
                            "over_100_ms": sum(a > 100 for a in above)}
        return result

    def living(self, mark):
        """Processes of trees with that mark. A keeper, which ends by itself after its guard, is none of them."""
        pids = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    if mark.encode() not in file.read():
                        continue
                with open(f"/proc/{name}/stat") as file:
                    called, rest = file.read().split("(", 1)[1].rsplit(")", 1)
                if rest.split()[0] not in "ZX" and called != "tetrad-keeper":
                    pids.append(int(name))
            except OSError:
                pass
        return pids

    def trees(self, count):
        """Daemons, forks and a bomb, ended at a limit; two at a time. Survivors are looked for after every 50."""
        kinds = [["daemons", "4", "40"], ["bomb", "60", "0"], ["sharers", "30", "4"]]
        mark = f"soak-tree-{os.getpid()}"

        def one(i):
            kind = kinds[i % 3]
            limit = "0.004" if kind[0] == "bomb" else "0.02"
            done = subprocess.run([self.host, "guard", "--limit-gb", limit, "--poll-secs", "0.05", "--", self.ramp, *kind,
                                   f"{mark}-{i}"], env=self.environment, stderr=subprocess.DEVNULL, timeout=60)
            return done.returncode != 124

        missed = survivors = 0
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for first in range(0, count, 50):
                missed += sum(pool.map(one, range(first, min(first + 50, count))))
                left = self.living(mark)
                survivors += len(left)
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
        return {"kills": count, "not_killed": missed, "survivors": survivors}

    def below(self, count):
        """Ramps that stop at 95 % of their limit, at rates up to 8 GiB/s; two at a time. None may be ended."""
        choice = random.Random(95)
        plans = [(choice.choice([64, 96, 128, 192]), choice.choice([1024, 2048, 4096, 8192])) for _ in range(count)]
        environment = dict(self.environment, RAMP_PAGES=f"/proc/{os.getpid()}/fd/{self.pages}", RAMP_LINGER_MS="25")

        def one(plan):
            limit, rate = plan
            stop = int(limit * 0.95) // 2 * 2
            # What the program has beside the ramp comes on top of it in the limit.
            done = subprocess.run([self.host, "guard", "--limit-gb", str((stop / 0.95 + 1) / 1024), "--", self.ramp, "map", str(stop),
                                   str(rate)], env=environment, stderr=subprocess.DEVNULL, timeout=60)
            return done.returncode

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            codes = list(pool.map(one, plans))
        return {"ramps": count, "false_kills": sum(c == 124 for c in codes), "other_ends": sum(c not in (0, 124) for c in codes)}

    def family(self, host):
        """Processes of the tree: children of the supervisor, which every daemon hangs under, that run the ramp."""
        pids = []
        try:
            with open(f"/proc/{host}/task/{host}/children") as file:
                children = file.read().split()
        except OSError:
            return pids
        for name in children:
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    if file.read().startswith(self.ramp.encode()):
                        pids.append(int(name))
            except OSError:
                pass
        return pids

    def guard_killed(self, count):
        """SIGKILL to the guard: until nobody of its tree is left. The child and two daemons of other sessions."""
        waits = []
        incomplete = 0
        mark = f"soak-guard-{os.getpid()}"
        for i in range(count):
            host = subprocess.Popen([self.host, "guard", "--limit-gb", "1", "--poll-secs", "0.05", "--", self.ramp, "daemons", "2", "0",
                                     f"{mark}-{i}"], env=self.environment, stderr=subprocess.DEVNULL)
            end = time.monotonic() + 5
            while len(family := self.family(host.pid)) < 3 and time.monotonic() < end:
                time.sleep(0.002)
            incomplete += len(family) < 3
            handles = [os.pidfd_open(pid) for pid in family]
            time.sleep(0.06)  # the guard has looked
            start = time.monotonic()
            host.send_signal(signal.SIGKILL)
            waiting = select.poll()
            for handle in handles:
                waiting.register(handle, select.POLLIN)
            left = len(handles)
            while left > 0 and time.monotonic() - start < 5:
                for handle, _ in waiting.poll(1000):
                    waiting.unregister(handle)
                    left -= 1
            waits.append((time.monotonic() - start) * 1e3)
            host.wait()
            for handle in handles:
                os.close(handle)
        time.sleep(0.5)
        left = self.living(mark)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return {"rounds": count, "gone_ms": spread(waits), "over_100_ms": sum(w > 100 for w in waits), "trees_not_seen_whole": incomplete,
                "survivors": len(left)}

    def idle_seconds(self, seconds):
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


def table(result):
    """The issue's figures: what was measured, the goal, and whether it is met (null: not measured)."""
    def row(part, what, goal, measure):
        got = result.get(part)
        if got is None:
            return {"what": what, "goal": goal, "measured": None, "met": None}
        measured, met = measure(got)
        return {"what": what, "goal": goal, "measured": measured, "met": bool(met)}

    def whole(spread_, **limits):
        return spread_ is not None and all(spread_[key] <= limit for key, limit in limits.items())

    return [
        row("ramps", "overshoot past the limit at 4 GiB/s, MiB", "median <= 64, worst <= 256, 200 trips",
            lambda r: (r["overshoot_mib"], whole(r["overshoot_mib"], median=64, worst=256) and r["missed"] == 0)),
        row("nvml_hung", "limit to SIGKILL sent to every process, NVML hung, ms", "<= 50 ms, 1,000 of 1,000",
            lambda r: (r["limit_to_sigkill_ms"], whole(r["limit_to_sigkill_ms"], worst=50) and r["missed"] == 0)),
        row("teardown", "limit to last process gone, above a plain kill of the same bytes, ms", "<= 100 ms",
            lambda r: ({k: v["above_the_machine_ms"] for k, v in r.items()},
                       all(whole(v["above_the_machine_ms"], worst=100) and v["missed"] == 0 for v in r.values()))),
        row("guard_killed", "guard killed: tree gone, ms", "<= 100 ms, 1,000 of 1,000",
            lambda r: (r["gone_ms"], r["over_100_ms"] == 0 and r["survivors"] == 0 and r["trees_not_seen_whole"] == 0)),
        row("trees", "survivors over kills of fork and setsid trees", "0 of 1,000",
            lambda r: (r["survivors"], r["survivors"] == 0 and r["not_killed"] == 0)),
        row("below", "false kills of ramps that stop at 95 %", "0 of 1,000",
            lambda r: (r["false_kills"], r["false_kills"] == 0 and r["other_ends"] == 0)),
        row("idle_seconds", "idle, poll 0.05 s: percent of a core, MiB", "< 0.5 %, < 12 MiB",
            lambda r: ([r["cpu_percent_of_a_core"], r["rss_mib"]], r["cpu_percent_of_a_core"] < 0.5 and r["rss_mib"] < 12)),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--share", type=float, default=1, help="of the full counts")
    parser.add_argument("--only", help="parts, with commas: " + ", ".join(COUNTS))
    parser.add_argument("--rate", type=float, default=4096, help="MiB a second of the ramps")
    parser.add_argument("--out")
    options = parser.parse_args()
    parts = options.only.split(",") if options.only else list(COUNTS)
    if unknown := set(parts) - set(COUNTS):
        parser.error(f"no part is named {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(os.path.abspath(options.build), folder, options.rate)
        result = {"machine": {"cores": os.cpu_count(), "kernel": platform.release(), "load_before": os.getloadavg()}, "wall_s": {}}
        for name in parts:
            count = max(2, round(COUNTS[name] * options.share))
            note(f"{name} ({count}) ...")
            start = time.monotonic()
            result[name] = getattr(soak, name)(count)
            result["wall_s"][name] = round(time.monotonic() - start, 1)
            result["machine"]["load_after"] = os.getloadavg()
            result["figures"] = table(result)
            note(f"  {result['wall_s'][name]} s  {json.dumps(result[name])}")
            if options.out:  # what is measured is kept, whatever happens later
                with open(options.out, "w") as file:
                    file.write(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
