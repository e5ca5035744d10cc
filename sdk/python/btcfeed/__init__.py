"""Client of a btcfeed server: a feed of Bitcoin prices that continues over lost connections.

    import asyncio
    from btcfeed import Feed, Gap, Tick

    async def main() -> None:
        async with Feed("http://localhost:8080", currencies=["USD", "EUR"]) as feed:
            async for update in feed:
                if isinstance(update, Tick):
                    print(update.time, update.prices["USD"])
                elif isinstance(update, Gap):
                    print("missing", update.after, update.before, update.reason)

    asyncio.run(main())

`SyncFeed` is the same without asyncio.
"""

from .errors import FeedError, NoPrice, Refused
from .feed import AddressStatistics, Feed, Statistics
from .moment import PriceAt
from .sync import SyncFeed
from .updates import Gap, Status, Tick, Update

__all__ = [
    "AddressStatistics",
    "Feed",
    "FeedError",
    "Gap",
    "NoPrice",
    "PriceAt",
    "Refused",
    "Statistics",
    "Status",
    "SyncFeed",
    "Tick",
    "Update",
]
