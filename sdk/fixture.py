"""A feed for the tests of the SDKs: replicas with simulated prices on one Redis, and a proxy before each of them.

    python3 sdk/fixture.py [REPLICAS [PROXIES]]

The first line of the output is JSON with the addresses: `control`, `proxies`, `direct` for the replicas themselves, and
`lossy` for servers that leave out a quarter of the ticks of a stream of events. All of them leave out the same ticks.
A POST to a path of `control` changes something, and is answered when it has happened:

    /proxy/0/cut?ms=300        close all connections, and accept none for this time
    /proxy/0/freeze            let the open connections hang
    /proxy/0/break?bytes=700   close the connection that carries the 700th byte that the replica sends from now on
    /proxy/0/delay?ms=500      delay all bytes by this time, in each direction
    /proxy/0/trouble?ms=10000  cut, freeze and break at random moments, for this time
    /proxy/0/connected         wait until there is a connection over which ticks come
    /replica/0/kill            also `stop` (SIGSTOP), `continue` and `start`; `start` waits until the replica is ready

With more proxies than replicas, some replicas have several proxies. Everything ends when the standard input ends. Each
replica runs the program at the path in BTCFEED_PROGRAM. The default is target/debug/btcfeed, or debug/btcfeed in
CARGO_TARGET_DIR. With one replica, the feed is in memory and needs no redis-server.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import urllib.parse
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = os.environ.get("BTCFEED_PROGRAM", str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug/btcfeed"))
INTERVAL = os.environ.get("BTCFEED_INTERVAL", "100ms")
READY_TIMEOUT_S = 60
# A connection counts as one with ticks after this number of reads from the replica. The response to a rejected request
# takes fewer reads.
FLOWING_READS = 5


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Proxy:
    """A TCP proxy that breaks connections on request."""

    def __init__(self, port):
        self.to = port
        self.port = None
        self.delay_s = 0.0
        self.is_down = False
        self.frozen = 0
        self.break_after = None
        #: The open connections, and how often the replica has sent something over each.
        self.open = {}

    async def start(self):
        server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def accept(self, reader, writer):
        if self.is_down:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        other = None
        try:
            from_replica, other = await asyncio.open_connection("127.0.0.1", self.to)
            if self.is_down:
                return
            self.open[task] = 0
            up = asyncio.create_task(self.forward(reader, other, is_answer=False))
            down = asyncio.create_task(self.forward(from_replica, writer, is_answer=True, connection=task))
            try:
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                up.cancel()
                down.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.open.pop(task, None)
            for end in (writer, other):
                if end is not None:
                    end.transport.abort()

    async def forward(self, reader, writer, is_answer, connection=None):
        frozen, under_way = self.frozen, asyncio.Queue()

        async def arrive():
            while (item := await under_way.get()) is not None:
                at, data = item
                await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))
                writer.write(data)
                await writer.drain()

        arriving = asyncio.create_task(arrive())
        try:
            while data := await reader.read(4096):
                if self.frozen != frozen:
                    await asyncio.Event().wait()
                if connection in self.open:
                    self.open[connection] += 1
                breaks = is_answer and self.break_after is not None and self.break_after <= len(data)
                if breaks:
                    data, self.break_after = data[: self.break_after], None
                elif is_answer and self.break_after is not None:
                    self.break_after -= len(data)
                await under_way.put((asyncio.get_running_loop().time() + self.delay_s, data))
                if breaks:
                    break
            await under_way.put(None)
            await arriving
        except OSError:
            pass
        finally:
            arriving.cancel()

    async def cut(self, ms=0, **_):
        self.is_down = True
        for task in list(self.open):
            task.cancel()
        await asyncio.sleep(ms / 1000)
        self.is_down = False

    async def freeze(self, **_):
        self.frozen += 1

    async def break_(self, bytes=1, **_):
        self.break_after = bytes

    async def delay(self, ms=0, **_):
        self.delay_s = ms / 1000

    async def connected(self, **_):
        while max(self.open.values(), default=0) < FLOWING_READS:
            await asyncio.sleep(0.02)

    async def trouble(self, ms=10_000, **_):
        end = asyncio.get_running_loop().time() + ms / 1000
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(random.uniform(0, 0.7))
            kind = random.choices(["cut", "break", "freeze"], weights=[4, 5, 1])[0]
            if kind == "cut":
                await self.cut(ms=random.randrange(300))
            elif kind == "break":
                await self.break_(bytes=random.randrange(1, 2000))
            else:
                await self.freeze()
        self.break_after = None


class Lossy:
    """A server that passes on what a replica answers, but leaves out a quarter of the ticks of a stream of events."""

    def __init__(self, port):
        self.to = port
        self.port = None

    async def start(self):
        server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def accept(self, reader, writer):
        other = None
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            answer, other = await asyncio.open_connection("127.0.0.1", self.to)
            # An answer of HTTP/1.0 has no chunks, and ends with the connection.
            line, *headers = request.split(b"\r\n")
            headers = [header for header in headers if not header.lower().startswith(b"connection:")]
            other.write(b"\r\n".join([line.replace(b"HTTP/1.1", b"HTTP/1.0"), *headers]))
            head = await answer.readuntil(b"\r\n\r\n")
            writer.write(head)
            if b"text/event-stream" not in head:
                writer.write(await answer.read())
                await writer.drain()
                return
            while event := await answer.readuntil(b"\n\n"):
                id = re.search(rb'"type":"tick","id":(\d+)', event)
                if id is None or zlib.crc32(id[1]) % 4 != 0:
                    writer.write(event)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            if other is not None:
                other.close()


class Replica:
    """A process of btcfeed, which can be stopped and started again."""

    def __init__(self, name, redis):
        self.name = name
        self.port, self.ops = free_port(), free_port()
        self.child = None
        self.environment = {
            "PATH": os.environ["PATH"],
            "BTCFEED_REPLICA": name,
            "BTCFEED_LISTEN": f"127.0.0.1:{self.port}",
            "BTCFEED_OPS_LISTEN": f"127.0.0.1:{self.ops}",
            "BTCFEED_DATA": "none",
            "BTCFEED_SOURCES": "simulated",
            "BTCFEED_INTERVAL": INTERVAL,
            "BTCFEED_LEASE_TTL": "1s",
            "BTCFEED_ADDRESS_RATE": "1000000",
            "BTCFEED_ADDRESS_VOLUME": "1000000000",
            "RUST_LOG": "warn",
        }
        if redis is not None:
            self.environment["REDIS_URL"] = f"redis://127.0.0.1:{redis}"

    async def start(self, **_):
        self.child = await asyncio.create_subprocess_exec(PROGRAM, "serve", env=self.environment, stdout=sys.stderr)
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        while not await self.is_ready():
            if self.child.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"{self.name} is not ready; its exit code is {self.child.returncode}")
            await asyncio.sleep(0.02)

    async def is_ready(self):
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ops)
            writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
            status = await reader.readline()
            writer.close()
            return b" 200 " in status
        return False

    async def kill(self, **_):
        self.child.kill()
        await self.child.wait()

    async def stop(self, **_):
        self.child.send_signal(signal.SIGSTOP)

    async def continue_(self, **_):
        self.child.send_signal(signal.SIGCONT)


class Control:
    """The HTTP server that changes the fixture."""

    def __init__(self, parts):
        self.parts = parts

    async def answer(self, reader, writer):
        method, target, _ = (await reader.readline()).decode().split()
        while (await reader.readline()).strip():
            pass
        url = urllib.parse.urlsplit(target)
        kind, number, action = url.path.strip("/").split("/")
        given = {name: int(value) for name, value in urllib.parse.parse_qsl(url.query)}
        part = self.parts[kind][int(number)]
        act = getattr(part, action, None) or getattr(part, f"{action}_")
        assert method == "POST", "changes need POST"
        await act(**given)
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


async def main(count, proxy_count):
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        redis = None
        if count > 1:
            redis = free_port()
            program = shutil.which("redis-server") or sys.exit("fixture: redis-server is missing; see tests/setup")
            arguments = ["--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
            server = await asyncio.create_subprocess_exec(program, *arguments, stdout=asyncio.subprocess.DEVNULL)
            stack.callback(server.kill)
        replicas = [Replica(f"r{number}", redis) for number in range(count)]
        # The replica with the highest number starts first, so it leads. Killing the others does not pause the feed.
        for replica in reversed(replicas):
            await replica.start()
            stack.callback(lambda replica=replica: replica.child.returncode is None and replica.child.kill())
        proxies = [Proxy(replicas[number % count].port) for number in range(max(count, proxy_count))]
        lossy = [Lossy(replica.port) for replica in replicas]
        for server in (*proxies, *lossy):
            await server.start()
        control = Control({"proxy": proxies, "replica": replicas})
        server = await asyncio.start_server(control.answer, "127.0.0.1", 0)
        address = "http://127.0.0.1:{}".format
        print(json.dumps({
            "control": address(server.sockets[0].getsockname()[1]),
            "proxies": [address(proxy.port) for proxy in proxies],
            "direct": [address(replica.port) for replica in replicas],
            "lossy": [address(each.port) for each in lossy],
        }), flush=True)
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sys.stdin, lambda: sys.stdin.buffer.raw.read(4096) or ended.set())
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(*[*map(int, sys.argv[1:]), 1, 1][:2]))
