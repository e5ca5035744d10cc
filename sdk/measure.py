"""Measures which ticks a client loses, gets twice or gets late if it has two connections and one replica fails.

    python3 sdk/measure.py [--rounds 200] [--json] js python rust

Three replicas have one feed on one Redis. In each round one of the first two is killed, stopped (SIGSTOP) or slowed by
500 ms, and works again 400 ms later. Three clients of the SDK read the feed: one with two connections to the first two
replicas, one with a single connection to one of these two, and one that reads the third replica, which never fails. The
added age of a tick is the time from its arrival at the third client to its arrival at the client that is measured.

The exit code is 1 if the client with two connections has lost or doubled a tick, or got a gap.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time
import urllib.request

SDK = pathlib.Path(__file__).resolve().parent
TARGET = SDK.parent / os.environ.get("CARGO_TARGET_DIR", "target")
PROGRAMS = {
    "js": ["node", "--experimental-websocket", "--no-warnings", str(SDK / "js/test/print.js")],
    "python": [os.environ.get("BTCFEED_SDK_PYTHON", sys.executable), str(SDK / "python/tests/print.py")],
    "rust": [str(TARGET / "debug/examples/print")],
}
KINDS = {"killed": ("kill", "start"), "stopped": ("stop", "continue"), "slowed by 500 ms": None}
SLOW_MS = 500


class Client:
    """A running client, and what it has printed."""

    def __init__(self, program, redundancy, urls):
        command = [*program, str(redundancy), *urls]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ticks, self.gaps, self.statistics = [], [], {}
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.child.stdout:
            if line.startswith("gap"):
                self.gaps.append(line.strip())
            elif line.startswith("{"):
                self.statistics = json.loads(line)
            else:
                id, at = line.split()
                self.ticks.append((int(id), float(at)))

    def end(self):
        self.child.stdin.close()
        self.thread.join()
        self.child.wait()


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def measure(program, rounds):
    """Runs the rounds. Returns what the clients `two` and `one` got, for each kind of failure."""
    fixture = subprocess.Popen(
        [sys.executable, str(SDK / "fixture.py"), "3", "6"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    addresses = json.loads(fixture.stdout.readline())

    def change(path):
        urllib.request.urlopen(urllib.request.Request(f"{addresses['control']}/{path}", method="POST"), timeout=60)

    proxies = addresses["proxies"]
    clients = {
        "reference": Client(program, 1, [addresses["direct"][2]]),
        "two": Client(program, 2, proxies[0:2]),
        "one": Client(program, 1, proxies[3:5]),
    }
    while any(len(client.ticks) < 20 for client in clients.values()):
        time.sleep(0.1)
    began, periods = time.time() * 1000, []
    for number in range(rounds):
        kind, victim = list(KINDS)[number % len(KINDS)], random.randrange(2)
        start = time.time() * 1000
        for place in (victim, victim + 3) if KINDS[kind] is None else ():
            change(f"proxy/{place}/delay?ms={SLOW_MS}")
        if KINDS[kind] is not None:
            change(f"replica/{victim}/{KINDS[kind][0]}")
        time.sleep(0.4)
        for place in (victim, victim + 3) if KINDS[kind] is None else ():
            change(f"proxy/{place}/delay?ms=0")
        if KINDS[kind] is not None:
            change(f"replica/{victim}/{KINDS[kind][1]}")
        # The next round begins when both connections are back.
        change("proxy/0/connected")
        change("proxy/1/connected")
        time.sleep(0.6)
        periods.append((kind, start, time.time() * 1000))
    time.sleep(2)
    for client in clients.values():
        client.end()
    fixture.stdin.close()
    fixture.wait()
    return evaluate(clients, began, periods)


def evaluate(clients, began, periods):
    reference = dict(clients["reference"].ticks)
    end = periods[-1][2]
    results = {}
    for name in ("two", "one"):
        received = {}
        doubled = 0
        for id, at in clients[name].ticks:
            doubled += id in received
            received.setdefault(id, at)
        rows = {}
        for kind in KINDS:
            times = [(start, stop) for each, start, stop in periods if each == kind]
            of_kind = [id for id, at in reference.items() if any(start <= at < stop for start, stop in times)]
            added = [received[id] - reference[id] for id in of_kind if id in received]
            rows[kind] = {
                "rounds": len(times),
                "ticks": len(of_kind),
                "lost": sum(id not in received for id in of_kind),
                "p50": quantile(added, 0.5),
                "p99": quantile(added, 0.99),
                "max": max(added, default=float("nan")),
            }
        everything = [id for id, at in reference.items() if began <= at < end]
        added = [received[id] - reference[id] for id in everything if id in received]
        results[name] = {
            "kinds": rows,
            "rounds": len(periods),
            "ticks": len(everything),
            "lost": sum(id not in received for id in everything),
            "doubled": doubled,
            "gaps": len(clients[name].gaps),
            "p50": quantile(added, 0.5),
            "p99": quantile(added, 0.99),
            "max": max(added),
            "statistics": clients[name].statistics,
        }
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("sdks", nargs="+", choices=list(PROGRAMS))
    arguments = parser.parse_args()
    results = {name: measure(PROGRAMS[name], arguments.rounds) for name in arguments.sdks}
    if arguments.json:
        print(json.dumps(results))
    else:
        print("| SDK | connections | replica | rounds | ticks | lost | added age p50, p99, max (ms) |")
        print("|---|---|---|---|---|---|---|")
        for sdk, both in results.items():
            for name, result in both.items():
                for kind, row in [*result["kinds"].items(), ("all", result)]:
                    ages = ", ".join(f"{row[age]:.0f}" for age in ("p50", "p99", "max"))
                    print(f"| {sdk} | {name} | {kind} | {row['rounds']} | {row['ticks']} | {row['lost']} | {ages} |")
                counts = result["statistics"]
                print(f"{sdk}, {name}: doubled {result['doubled']}, gaps {result['gaps']}, {counts}", file=sys.stderr)
    bad = [sdk for sdk, both in results.items() if both["two"]["lost"] or both["two"]["doubled"] or both["two"]["gaps"]]
    for sdk in bad:
        print(f"measure: {sdk} has lost or doubled a tick, or got a gap", file=sys.stderr)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
