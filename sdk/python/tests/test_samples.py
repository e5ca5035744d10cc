"""The sample of the API reference, as a user runs it."""

from __future__ import annotations

import subprocess
import sys

from fixture import SDK, Fixture


def test_sample_follows_the_feed():
    fixture = Fixture(1)
    try:
        source = (SDK.parent / "examples/docs/follow.py").read_text()
        source = source.replace("http://localhost:8080", fixture.direct[0])
        with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as child:
            try:
                lines = [child.stdout.readline() for _ in range(3)]
            finally:
                child.kill()
        assert all(line.startswith("20") and "USD" in line and "EUR" in line for line in lines), lines
    finally:
        fixture.end()
