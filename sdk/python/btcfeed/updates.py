"""The updates of a feed, and the messages of a server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Union

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Tick:
    """Prices at one moment.

    `id`: the position in the feed, which is also the moment in Unix milliseconds.
    `prev`: the id of the entry before it.
    `prices`: an exact price for each chosen currency that has one.
    `sources`: for each price, the sources that it was made of.
    `method`: the version of the method by which the prices were made, or 0 if the server did not say it.
    `confidence`: for each price, how far the sources differ, as the page `/method` of a server defines it.
    `spread`: for each price, the highest minus the lowest value that was used.
    """

    id: int
    prev: int
    prices: Mapping[str, Decimal]
    sources: Mapping[str, list[str]] = field(default_factory=dict)
    method: int = 0
    confidence: Mapping[str, Decimal] = field(default_factory=dict)
    spread: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def time(self) -> datetime:
        """The moment, in UTC."""
        return _EPOCH + timedelta(milliseconds=self.id)


@dataclass(frozen=True)
class Status:
    """A change of the feed's health.

    `id`: the position in the feed, which is also the moment in Unix milliseconds.
    `prev`: the id of the entry before it.
    `state`: `live`, `degraded`, `stale` or `down`.
    `since`: the start of the state, RFC 3339.
    `reason`: the reason, as text for people.
    """

    id: int
    prev: int
    state: str
    since: str
    reason: str


@dataclass(frozen=True)
class Gap:
    """A range of ids in which updates are missing.

    `after`: the last id before the gap.
    `before`: the first id after it.
    `reason`: `source_outage`, `history_expired`, `history_lost`, `replay_limit`, `held_too_long`, `unknown_client_id`,
    or `unexplained` if the server gave no reason.
    `currencies`: the affected currencies, or `None` if all chosen ones are affected.
    """

    after: int
    before: int
    reason: str
    currencies: tuple[str, ...] | None = None


Update = Union[Tick, Status, Gap]
Entry = Union[Tick, Status]


@dataclass(frozen=True)
class Synced:
    """The replay is over."""

    id: int


@dataclass(frozen=True)
class Hello:
    """The replica that has answered."""

    replica: str


@dataclass(frozen=True)
class Goodbye:
    """The server ends the stream."""

    reason: str
    message: str


@dataclass(frozen=True)
class Unknown:
    """A message of a type that this version does not know, with its position if it has one."""

    id: int | None = None
    prev: int | None = None


Message = Union[Tick, Status, Gap, Synced, Hello, Goodbye, Unknown]


def read_message(text: str | bytes) -> Message:
    """Reads a message of the format `full`. Raises `ValueError` if the text is not one."""
    try:
        return _read(json.loads(text, parse_float=Decimal))
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read(fields: dict[str, Any]) -> Message:
    kind = fields["type"]
    if kind == "tick":
        return Tick(
            _id(fields["id"]),
            _id(fields["prev"]),
            _amounts(fields["prices"]),
            fields.get("sources", {}),
            int(fields.get("method", 0)),
            _amounts(fields.get("confidence", {})),
            _amounts(fields.get("spread", {})),
        )
    if kind == "status":
        return Status(_id(fields["id"]), _id(fields["prev"]), fields["state"], fields["since"], fields["reason"])
    if kind == "gap":
        currencies = fields.get("currencies")
        affected = None if currencies is None else tuple(currencies)
        return Gap(_id(fields["after"]), _id(fields["before"]), fields["reason"], affected)
    if kind == "synced":
        return Synced(_id(fields["id"]))
    if kind == "hello":
        return Hello(fields.get("replica", ""))
    if kind == "goodbye":
        return Goodbye(fields["reason"], fields.get("message", ""))
    if isinstance(fields.get("id"), int) and isinstance(fields.get("prev"), int):
        return Unknown(fields["id"], fields["prev"])
    return Unknown()


def _id(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} is not an id")
    return value


def _amounts(values: dict[str, int | Decimal]) -> dict[str, Decimal]:
    return {currency: Decimal(value) for currency, value in values.items()}
