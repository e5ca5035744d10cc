"""Reads the feed over WebSocket with Python's websockets, which frames, compresses and answers pings in its own way: a client
that has nothing in common with the server under test. The tests in tests/it/stranger.rs run it.

    stranger_ws.py URL    print what each entry follows on and its id, and at the end the close code and its reason
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def follow(url):
    # It sends no pings of its own, so that only the server's keep the connection.
    async with connect(url, ping_interval=None) as socket:
        try:
            while True:
                message = json.loads(await socket.recv())
                if message["type"] in ("tick", "status"):
                    print(message["prev"], message["id"], flush=True)
                elif message["type"] != "synced":
                    print(message, flush=True)
        except ConnectionClosed as closed:
            print(f"CLOSED {closed.rcvd.code}: {closed.rcvd.reason}" if closed.rcvd else "CUT", flush=True)


asyncio.run(follow(sys.argv[1]))
