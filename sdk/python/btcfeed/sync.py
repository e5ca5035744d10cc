"""A feed without asyncio: an iterator. The connections run in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from .feed import Feed, Statistics
from .moment import PriceAt
from .updates import Update


class SyncFeed:
    """A feed as an iterator. Its arguments are those of `Feed`. Close it, or use it as a context manager."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._feed = Feed(*arguments, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="btcfeed", daemon=True)

    @property
    def last_id(self) -> int | None:
        """The id of the last tick or status that was taken, like `Feed.last_id`."""
        return self._feed.last_id

    @property
    def statistics(self) -> Statistics:
        """Counts of updates, in all and for each address."""
        return self._feed.statistics

    def prices_at(
        self, time: datetime | str | int | float | None = None, window: timedelta | str | None = None
    ) -> Mapping[str, PriceAt]:
        """Returns the price in each currency that was in force at a moment, like `Feed.prices_at`."""
        if self._loop.is_closed():
            raise RuntimeError("the feed is closed")
        self._start()
        return asyncio.run_coroutine_threadsafe(self._feed.prices_at(time, window), self._loop).result()

    def close(self) -> None:
        """Closes the feed. Nothing more can be taken from it."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._feed.aclose(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _start(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()

    def __enter__(self) -> SyncFeed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Update]:
        return self

    def __next__(self) -> Update:
        if self._loop.is_closed():
            raise StopIteration
        self._start()
        next_update = asyncio.run_coroutine_threadsafe(self._feed.__anext__(), self._loop)
        try:
            return next_update.result()
        except StopAsyncIteration:
            raise StopIteration from None
        except BaseException:
            next_update.cancel()
            raise
