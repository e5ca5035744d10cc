"""A WebSocket client made of Python's websockets, which frames, compresses and answers pings in its own way. It shares no
code with the server. tests/it/interop.rs runs it.

    websocket_client.py URL    print `prev` and `id` of each entry, and the close code and reason at the end
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def follow(url):
    # The client sends no pings itself, so that only the server's pings keep the connection alive.
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
