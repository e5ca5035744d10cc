"""A client of the feed that reconnects, and detects missing and repeated entries."""

import base64
import hashlib
import json
import os
import socket
import struct
import threading
import time

# Seconds without a message after which a follower reconnects. Another replica takes over from a killed leader in less
# time.
SILENCE_S = 8.0


class Failure(Exception):
    """A check that failed."""


def require(condition, message):
    if not condition:
        raise Failure(message)


def wait_for(what, condition, seconds):
    """Waits until the condition is true. Returns its value, and the time that it took in seconds."""
    started = time.monotonic()
    while True:
        value = condition()
        took = time.monotonic() - started
        if value:
            return value, took
        require(took < seconds, f"timed out after {seconds} s, waiting for {what}")
        time.sleep(0.1)


class WebSocket:
    """The client's side of a WebSocket (RFC 6455). Supports only unfragmented text, ping and close frames."""

    TEXT, CLOSE, PING = 1, 8, 9
    KEY_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    def __init__(self, address, query):
        self.socket = socket.create_connection(address, timeout=SILENCE_S)
        self.stream = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /v1/ws?{query} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = list(iter(lambda: self.stream.readline().decode().strip(), ""))
        accept = base64.b64encode(hashlib.sha1((key + self.KEY_SUFFIX).encode()).digest()).decode()
        if not head or " 101 " not in head[0] or not any(line.endswith(f": {accept}") for line in head):
            self.close()
            raise ConnectionError(f"no WebSocket: {head}")

    def read(self):
        """Returns the next message. Raises ConnectionError if the connection is closed, and OSError after a timeout."""
        while True:
            first, length = self.exactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", self.exactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self.exactly(8))
            payload = self.exactly(length)
            kind = first & 0x0F
            if kind == self.TEXT:
                return json.loads(payload)
            if kind == self.PING:
                # The pong has the same payload. A client has to mask it, and a mask of zeros does not change it.
                self.socket.sendall(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)
            if kind == self.CLOSE:
                raise ConnectionError(f"closed with {payload!r}")

    def exactly(self, length):
        data = self.stream.read(length)
        if len(data) < length:
            raise ConnectionError("the connection ended")
        return data

    def close(self):
        self.stream.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Follower(threading.Thread):
    """A client that first connects to `address`. After a failure it resumes at `fallback`, after its last entry."""

    def __init__(self, name, address, fallback, after):
        super().__init__(name=name, daemon=True)
        self.address, self.fallback, self.after = address, fallback, after
        self.entries, self.connections, self.fault = [], 0, None
        self.ended = threading.Event()
        self.start()

    def run(self):
        while not self.ended.is_set():
            try:
                with WebSocket(self.address, f"format=full&currency=USD,EUR&after={self.after}") as feed:
                    self.connections += 1
                    while not self.ended.is_set():
                        self.take(feed.read())
            except OSError:
                self.address = self.fallback
                self.ended.wait(0.1)

    def take(self, message):
        if message["type"] == "gap":
            self.fault = self.fault or f"{self.name} received a gap: {message}"
        if message["type"] in ("tick", "status"):
            if message["prev"] != self.after:
                self.fault = self.fault or f"{self.name} had {self.after}, and received {message}"
            self.after = message["id"]
            self.entries.append(message)

    def wait_for(self, more, seconds):
        """Waits for this number of further ticks, and checks that none is missing or repeated."""
        before = len(self.ticks())
        has_more = lambda: self.fault or len(self.ticks()) >= before + more
        wait_for(f"{more} more ticks for {self.name}", has_more, seconds)
        self.check()

    def check(self):
        if self.fault:
            raise Failure(self.fault)

    def ticks(self):
        return [entry for entry in list(self.entries) if entry["type"] == "tick"]

    def longest_pause_s(self):
        """Returns the longest time between two ticks, in seconds. The ids of ticks are Unix milliseconds."""
        ids = [tick["id"] for tick in self.ticks()]
        return max(later - earlier for earlier, later in zip(ids, ids[1:])) / 1000


def replay(address, after, until):
    """Returns what a new client gets after the id `after`, up to the first entry whose id is `until` or greater."""
    entries, deadline = [], time.monotonic() + 10
    with WebSocket(address, f"format=full&currency=USD,EUR&after={after}") as feed:
        while not entries or entries[-1]["id"] < until:
            message = feed.read()
            if message["type"] == "gap" or time.monotonic() > deadline:
                raise Failure(f"replay after {after} from {address} stopped at {message}")
            if message["type"] in ("tick", "status"):
                entries.append(message)
    return entries
