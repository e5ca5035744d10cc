"""Prints the id of each tick and the time at which it came: print.py REDUNDANCY URL…"""

import asyncio
import json
import sys
import time
from dataclasses import asdict

from btcfeed import Feed, Gap, Tick


async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: sys.stdin.buffer.raw.read(100) or ended.set())
    async with Feed(sys.argv[2:], redundancy=int(sys.argv[1])) as feed:

        async def read():
            async for update in feed:
                if isinstance(update, Tick):
                    print(update.id, time.time() * 1000, flush=True)
                elif isinstance(update, Gap):
                    print("gap", update, flush=True)

        reading = asyncio.create_task(read())
        await ended.wait()
        reading.cancel()
        print(json.dumps(asdict(feed.statistics)), flush=True)


asyncio.run(main())
