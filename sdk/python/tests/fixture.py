"""The shared scenarios, and the feed of `sdk/fixture.py`."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import urllib.request
from decimal import Decimal
from typing import Any

SDK = pathlib.Path(__file__).resolve().parents[2]
SCENARIOS = json.loads((SDK / "scenarios.json").read_text())


class Fixture:
    """A running fixture with `replicas` replicas."""

    def __init__(self, replicas: int) -> None:
        command = [sys.executable, str(SDK / "fixture.py"), str(replicas)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.child.stdout.readline()
        assert line, "the fixture did not start"
        addresses = json.loads(line)
        self.control = addresses["control"]
        self.proxies = addresses["proxies"]
        self.direct = addresses["direct"]
        self.lossy = addresses["lossy"]

    def change(self, path: str) -> None:
        """Changes the fixture, and waits until the change has happened."""
        request = urllib.request.Request(f"{self.control}/{path}", method="POST")
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert answer.status == 204, path

    def entries(self, currencies: list[str], first: int, last: int) -> list[dict[str, Any]]:
        """Returns the entries of the first replica with ids from `first` to `last`."""
        query = f"format=full&limit=100000&since={first}&until={last}&currency={','.join(currencies)}"
        with urllib.request.urlopen(f"{self.direct[0]}/v1/prices?{query}", timeout=30) as answer:
            found = json.loads(answer.read(), parse_float=Decimal)["prices"]
        return [entry for entry in found if entry["type"] != "gap" and first <= entry["id"] <= last]

    def end(self) -> None:
        """Ends the fixture."""
        self.child.stdin.close()
        self.child.wait(30)
