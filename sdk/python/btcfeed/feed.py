"""A feed: an asynchronous iterator over its updates."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from .address import Address
from .connection import http_client, read_history
from .cursor import Cursor
from .errors import Refused
from .line import Line
from .merge import Delivered, Merge
from .moment import PriceAt, read_prices_at
from .options import Options
from .updates import Gap, Message, Update

#: The maximum number of updates that wait for the program. When it is reached, connections are not read until some were
#: taken.
_MAX_UNREAD = 1000
#: To close a hole, the history of every address is read in each of several rounds. The pause between two rounds is at
#: first `_HEAL_EVERY_S`, and doubles up to `_MAX_HEAL_EVERY_S`. A hole is given up if it does not get smaller for
#: `_HEAL_FOR_S`. It is given up earlier if every address has answered and no line can still send the missing entries.
_HEAL_FOR_S, _HEAL_EVERY_S, _MAX_HEAL_EVERY_S = 5.0, 0.1, 1.6


@dataclass(frozen=True)
class AddressStatistics:
    """Counts of one `address`: the ticks and statuses `taken` from it, and the `reconnects`. These are the connections
    to this address that were opened after an earlier connection, to this or another address, had ended."""

    address: str
    taken: int = 0
    reconnects: int = 0


@dataclass(frozen=True)
class Statistics:
    """Counts of a feed's ticks and statuses: `taken` from a connection, `doubled` (copies that were dropped), and
    `healed` (read from the history before any connection had sent them). `addresses` has the counts of each address."""

    taken: int
    doubled: int
    healed: int
    addresses: tuple[AddressStatistics, ...]


class Feed:
    """A feed that delivers every update once and in order, however often the connection is lost, on any replica.

    It is an asynchronous iterator of `Tick`, `Status` and `Gap`. If something is missing, it delivers a `Gap`. It
    reconnects by itself until it is closed, or until the server refuses it permanently; then the iterator raises
    `Refused`. It connects when the first update is requested, and reads no more than a thousand updates ahead.

    `url`: the address of the feed, `http://host:port` (or https, ws, wss). With several addresses, the feed begins at
    any of them, and changes to the next one when a connection is lost.
    `currencies`: one or several, such as `["USD", "EUR"]`. By default the feed chooses.
    `since`: the moment to replay from: a `datetime`, RFC 3339, Unix seconds or milliseconds.
    `after`: the id of the last update that you have (`last_id`), to resume after it.
    `changes`: only ticks in which a price has changed.
    `every`: at most one tick in this time, a `timedelta` or text such as `30s`.
    `limit`: the maximum number of ticks to replay on each connection. A gap (`replay_limit`) replaces older ticks.
    `client_id`: a secret name (a random UUID) for clients that cannot store `last_id`: without `since` and `after`, the
    feed resumes after the last update that was sent under this name. For one feed at a time.
    `key`: the API key, if the server serves only clients with a key.
    `redundancy`: the number of connections at the same time (1 to 4), each to another address if there are enough
    addresses. The first copy of each update is delivered. An update that all connections lack is read from the history.
    `transport`: `websocket` or `sse` (server-sent events).
    `silence`: the time without any sign of the server after which a connection counts as dead, in seconds.
    `retry`: a pair of durations in seconds. The pause before another attempt to connect is random. The first duration
    is the maximum before the first such attempt. The maximum doubles with each further attempt, up to the second
    duration.

    With `changes` or `every`, the `prev` of a tick may be an id that was not delivered, and only the server reports
    gaps.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        currencies: str | Sequence[str] = (),
        since: datetime | str | int | float | None = None,
        after: int | None = None,
        changes: bool = False,
        every: timedelta | str | None = None,
        limit: int | None = None,
        client_id: str | None = None,
        key: str | None = None,
        redundancy: int = 1,
        transport: str = "websocket",
        silence: float = 50.0,
        retry: tuple[float, float] = (0.1, 10.0),
    ) -> None:
        self._options = Options(
            currencies, since, after, changes, every, limit, client_id, key, redundancy, transport, silence, retry
        )
        self._addresses = [Address.parse(one) for one in ([url] if isinstance(url, str) else url)]
        if not self._addresses:
            raise ValueError("invalid url []: expected at least one address")
        self._cursor = Cursor(after, self._options.is_chained)
        self._merge = Merge(self._cursor) if redundancy > 1 else None
        first = random.randrange(len(self._addresses))
        numbers = [(first + number) % len(self._addresses) for number in range(redundancy)]
        self._lines = [Line(self, self._addresses, number, self._options) for number in numbers]
        self._counts = [AddressStatistics(address.base) for address in self._addresses]
        self._unread: deque[Update] = deque()
        self._has_unread = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._last_id = after
        self._tasks: set[asyncio.Task[None]] = set()
        self._healing = False
        self._error: BaseException | None = None
        self._is_closed = False

    @property
    def last_id(self) -> int | None:
        """The id of the last tick or status that was taken. Pass it as `after` to resume later. In a loop, that is
        the update that the loop has just got. If you must process every update, store `update.id` after you have
        processed it."""
        return self._last_id

    @property
    def statistics(self) -> Statistics:
        """Counts of updates, in all and for each address."""
        taken = sum(count.taken for count in self._counts)
        healed = 0 if self._merge is None else self._merge.healed
        return Statistics(taken, self._cursor.doubled, healed, tuple(self._counts))

    async def prices_at(
        self, time: datetime | str | int | float | None = None, window: timedelta | str | None = None
    ) -> Mapping[str, PriceAt]:
        """Returns the price in each currency that was in force at a moment, by default now. The feed need not be
        connected.

        `time`: a `datetime`, RFC 3339, Unix seconds or milliseconds, or a time before now such as `10m`.
        `window`: return also the average over this time before the moment, a `timedelta` or text such as `60s`.

        Raises `NoPrice` if the feed had no price then, `Refused` if an argument or the key is invalid, and `FeedError`
        if no address answers.
        """
        async with http_client() as http:
            return await read_prices_at(http, self._addresses, self._options, time, window)

    async def aclose(self) -> None:
        """Closes the feed. Nothing more can be taken from it."""
        self._is_closed = True
        self._unread.clear()
        self._has_unread.set()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Feed:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Update:
        if not self._tasks and self._error is None and not self._is_closed:
            self._spawn(self._run())
        while not self._unread:
            if self._is_closed:
                raise StopAsyncIteration
            if self._error is not None:
                raise self._error
            self._has_unread.clear()
            await self._has_unread.wait()
        update = self._unread.popleft()
        if len(self._unread) < _MAX_UNREAD:
            self._has_room.set()
        if not isinstance(update, Gap):
            self._last_id = update.id
        return update

    async def _run(self) -> None:
        async with http_client() as http:
            self._http = http
            lines = [asyncio.create_task(line.run(http)) for line in self._lines]
            try:
                await asyncio.gather(*lines)
            finally:
                for line in lines:
                    line.cancel()
                await asyncio.gather(*lines, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._error = task.exception()
            self._has_unread.set()

    def _last(self) -> int | None:
        """Returns the id to continue after."""
        return self._cursor.last

    def _is_known(self) -> bool:
        """Returns true if an entry of the feed has been received."""
        return self._cursor.moved

    def _next_address(self, line: Line) -> int:
        """Returns the next address that no other line uses, or the same one."""
        taken = {other.position.address for other in self._lines if other is not line}
        count, current = len(self._addresses), line.position.address
        turns = ((current + 1 + turn) % count for turn in range(count))
        return next((number for number in turns if number not in taken), current)

    def _opened(self, line: Line, again: bool) -> None:
        """Counts a reconnect."""
        if again:
            count = self._counts[line.position.address]
            self._counts[line.position.address] = replace(count, reconnects=count.reconnects + 1)

    def _refused(self, line: Line, reason: str) -> None:
        """Ends the feed if every line is refused. Otherwise, the refused line is tried again later."""
        if all(line.is_refused for line in self._lines):
            raise Refused(reason)

    async def _received(self, line: Line, message: Message) -> None:
        """Receives a message of a line."""
        if self._merge is None:
            address = line.position.address
            self._deliver([Delivered(update, address) for update in self._cursor.receive(message)])
        else:
            positions = [other.position for other in self._lines]
            self._deliver(self._merge.receive(positions, line.position, message))
            late = self._merge.late(positions)
            for other in self._lines:
                if any(other.position is position for position in late):
                    other.replace("the connection is late")
            if self._merge.hole is not None and not self._healing:
                self._healing = True
                self._spawn(self._heal(self._merge))
            # If the merge is full, only a line that may close the hole is read.
            while self._merge.is_full and self._merge.is_ahead(line.position):
                await asyncio.sleep(_HEAL_EVERY_S)
        await self._has_room.wait()

    def _deliver(self, found: list[Delivered]) -> None:
        for update, address in found:
            if address is not None and not isinstance(update, Gap):
                self._counts[address] = replace(self._counts[address], taken=self._counts[address].taken + 1)
            self._unread.append(update)
        if self._unread:
            self._has_unread.set()
        if len(self._unread) >= _MAX_UNREAD:
            self._has_room.clear()

    async def _heal(self, merge: Merge) -> None:
        """Closes holes from the history."""
        try:
            while (hole := merge.hole) is not None:
                await self._heal_hole(merge, hole.until)
        finally:
            self._healing = False

    async def _heal_hole(self, merge: Merge, until: int) -> None:
        """Asks every address for the entries up to the id `until`."""
        loop = asyncio.get_running_loop()
        begin, deadline, pause_s = -1, 0.0, _HEAL_EVERY_S
        # The numbers of the addresses that have no more of the missing entries.
        answered: set[int] = set()
        while True:
            for number, address in enumerate(self._addresses):
                hole = merge.hole
                if hole is None or hole.until != until:
                    return
                query = {**self._options.currency, "format": "full,ndjson"}
                query |= {"after": str(hole.after), "until": str(until)}
                messages = await read_history(self._http, address.history(query), self._options.headers)
                hole = merge.hole
                for message in messages or []:
                    self._deliver(merge.heal(message))
                if hole != merge.hole:
                    answered.clear()
                elif messages is not None:
                    answered.add(number)
                await self._has_room.wait()
            hole = merge.hole
            if hole is None or hole.until != until:
                return
            if hole.after != begin:
                begin, deadline, pause_s = hole.after, loop.time() + _HEAL_FOR_S, _HEAL_EVERY_S
            is_awaited = merge.is_awaited([line.position for line in self._lines])
            if (len(answered) == len(self._addresses) and not is_awaited) or loop.time() > deadline:
                self._deliver(merge.give_up())
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_HEAL_EVERY_S)
