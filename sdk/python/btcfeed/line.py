"""A line to a feed: one connection after the other, with a pause between two attempts. The pauses grow and are random,
so that clients do not all reconnect at the same moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import httpx

from .address import Address
from .connection import read_events, read_websocket
from .errors import Disconnected
from .merge import Position
from .options import Options
from .updates import Hello, Message, Status, Synced, Tick

log = logging.getLogger("btcfeed")


class Owner(Protocol):
    """The interface of a feed for its lines."""

    def _last(self) -> int | None:
        """Returns the id to continue after."""

    def _next_address(self, line: Line) -> int:
        """Returns the number of the line's next address."""

    def _is_known(self) -> bool:
        """Returns true after the first entry. From then on, a line retries an address even if its answer is not from a
        feed.
        """

    def _opened(self, line: Line, again: bool) -> None:
        """The server has answered. `again` is true if the line has had a connection before."""

    async def _received(self, line: Line, message: Message) -> None:
        """A message has come."""

    def _refused(self, line: Line, reason: str) -> None:
        """The server has refused the line, and would refuse it again. Raises if every line is refused."""


class Line:
    """A line to a feed. It uses one address of the feed at a time."""

    def __init__(self, owner: Owner, addresses: Sequence[Address], number: int, options: Options) -> None:
        self.position = Position(number)
        self.is_refused = False
        self._owner = owner
        self._addresses = addresses
        self._options = options
        self._attempts = 0
        self._min_pause_s = 0.0
        self._was_open = False
        #: The time of the first message of the connection.
        self._opened_at = math.inf
        self._session: asyncio.Task[None] | None = None
        self._replaced: str | None = None

    def replace(self, reason: str) -> None:
        """Replaces the connection by one to the next address."""
        if self._session is not None:
            self._replaced = reason
            self._session.cancel()

    async def run(self, http: httpx.AsyncClient) -> None:
        """Connects again and again. Raises if the server refuses every line of the feed."""
        while True:
            self._opened_at, address = math.inf, self._addresses[self.position.address]
            end = await self._connect(http)
            # A connection that lasts long enough resets the pauses. The time counts from the first message, because an
            # attempt without an answer may take long, too.
            if time.monotonic() - self._opened_at > self._options.retry[1]:
                self._attempts = 0
            is_final = end.final and not (end.no_feed and self._owner._is_known())
            if is_final:
                self.is_refused = True
                self._owner._refused(self, end.reason)
            pause_s = self._rest(end) if is_final else self._pause(end)
            log.info("%s: %s; next attempt in %.1f s", address.base, end.reason, pause_s)
            self.position = Position(self._owner._next_address(self))
            await asyncio.sleep(pause_s)

    async def _connect(self, http: httpx.AsyncClient) -> Disconnected:
        """Reads one connection to its end, and returns why it has ended."""
        self._replaced = None
        self._session = asyncio.create_task(self._read(http))
        try:
            await asyncio.wait({self._session})
        except asyncio.CancelledError:
            self._session.cancel()
            await asyncio.wait({self._session})
            raise
        if self._session.cancelled():
            return Disconnected(self._replaced or "cancelled", soon=True)
        error = self._session.exception()
        if isinstance(error, Disconnected):
            return error
        if error is not None:
            raise error
        return Disconnected("the connection was lost")

    async def _read(self, http: httpx.AsyncClient) -> None:
        is_open = False
        async with contextlib.aclosing(self._messages(http)) as messages:
            async for message in messages:
                if not is_open:
                    is_open, self.is_refused = True, False
                    self._opened_at = time.monotonic()
                    self._owner._opened(self, self._was_open)
                    self._was_open = True
                if isinstance(message, Hello):
                    log.info("%s: connected to %s", self._addresses[self.position.address].base, message.replica)
                if isinstance(message, (Tick, Status, Synced)):
                    self._attempts = 0
                await self._owner._received(self, message)

    def _messages(self, http: httpx.AsyncClient) -> AsyncGenerator[Message, None]:
        address = self._addresses[self.position.address]
        query, headers = self._options.query(self._owner._last()), self._options.headers
        if self._options.transport == "sse":
            return read_events(http, address.events(query), headers, self._options.silence, self._at_least)
        return read_websocket(address.websocket(query), headers, self._options.silence)

    def _at_least(self, pause_s: float) -> None:
        self._min_pause_s = pause_s

    def _rest(self, end: Disconnected) -> float:
        """Returns the pause after a refusal. It is at least half the second value of the option `retry`."""
        return max(end.retry_after_s, self._options.retry[1] * (1 + random.random()) / 2)

    def _pause(self, end: Disconnected) -> float:
        """Returns the pause before the next attempt: what the server asked for, plus a random time below a bound. The
        bound begins with the first value of the option `retry` and doubles with each attempt, up to the second value.
        If another replica can take over at once (`end.soon`), the bound is the first value.
        """
        first, longest = self._options.retry
        bound: float = min(first * 2 ** (0 if end.soon else self._attempts), longest)
        if not end.soon:
            self._attempts = min(self._attempts + 1, 30)
        return max(end.retry_after_s, self._min_pause_s) + bound * random.random()
