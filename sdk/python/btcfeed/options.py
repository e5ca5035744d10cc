"""The options of a feed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

MAX_REDUNDANCY = 4
TRANSPORTS = ("websocket", "sse")


@dataclass(frozen=True)
class Options:
    """The options of a feed. `Feed` describes them."""

    currencies: str | Sequence[str] = ()
    since: datetime | str | int | float | None = None
    after: int | None = None
    changes: bool = False
    every: timedelta | str | None = None
    limit: int | None = None
    client_id: str | None = None
    key: str | None = None
    redundancy: int = 1
    transport: str = "websocket"
    silence: float = 50.0
    retry: tuple[float, float] = (0.1, 10.0)

    def __post_init__(self) -> None:
        if self.since is not None and self.after is not None:
            raise ValueError("invalid since and after: expected only one of them")
        # The key is a secret, so the error does not quote it.
        if self.key is not None and not re.fullmatch("[!-~]+", self.key):
            raise ValueError("invalid key: expected printable ASCII characters without spaces")
        if self.transport not in TRANSPORTS:
            raise ValueError(f"invalid transport {self.transport!r}: expected websocket or sse")
        if not 1 <= self.redundancy <= MAX_REDUNDANCY:
            raise ValueError(f"invalid redundancy {self.redundancy}: expected 1 to {MAX_REDUNDANCY}")
        if self.redundancy > 1 and (self.changes or self.every or self.limit or self.client_id):
            raise ValueError("invalid options with redundancy: expected neither changes, every, limit nor client_id")

    @property
    def is_chained(self) -> bool:
        """True if the server sends every entry, so that each must continue the one before."""
        return not self.changes and self.every is None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}

    @property
    def currency(self) -> dict[str, str]:
        """The parameter with the currencies, if there are any."""
        codes = [self.currencies] if isinstance(self.currencies, str) else list(self.currencies)
        return {"currency": ",".join(codes)} if codes else {}

    def query(self, last: int | None) -> dict[str, str]:
        """Returns the query of a stream that continues after the id `last`."""
        query = {"format": "full", "hello": "true", **self.currency}
        if last is not None:
            query["after"] = str(last)
        elif self.since is not None:
            query["since"] = moment_text(self.since)
        if self.changes:
            query["changes"] = "true"
        if self.every is not None:
            query["every"] = duration_text(self.every)
        if self.limit:
            query["limit"] = str(self.limit)
        if self.client_id is not None:
            query["client_id"] = self.client_id
        return query


def moment_text(moment: datetime | str | float) -> str:
    """Returns a moment as a parameter."""
    if isinstance(moment, datetime):
        return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    return str(moment)


def duration_text(duration: timedelta | str) -> str:
    """Returns a duration as a parameter."""
    return duration if isinstance(duration, str) else f"{duration // timedelta(milliseconds=1)}ms"
