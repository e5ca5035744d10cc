"""The prices at a moment, from the history of a feed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from .address import Address
from .connection import read_text
from .errors import FeedError, NoPrice, Refused
from .options import Options, duration_text, moment_text


@dataclass(frozen=True)
class PriceAt:
    """The price in one currency at a moment.

    `price`: the price of the tick that was in force. `None` if no tick was in force at the moment, which is possible
    only with a window.
    `id`: the id of that tick, or `None`.
    `age`: the time from that tick to the moment, or `None`.
    `average`: the average over the window before the moment, weighted by time. Only with a window.
    `covered`: the share of the window in which a price was in force. Only with a window.
    """

    price: Decimal | None
    id: int | None
    age: timedelta | None
    average: Decimal | None
    covered: float | None


async def read_prices_at(
    http: httpx.AsyncClient,
    addresses: Sequence[Address],
    options: Options,
    time: datetime | str | int | float | None,
    window: timedelta | str | None,
) -> Mapping[str, PriceAt]:
    """Returns the price in each currency at a moment, from the first address that answers."""
    query = dict(options.currency)
    if time is not None:
        query["time"] = moment_text(time)
    if window is not None:
        query["window"] = duration_text(window)
    problem = "the feed does not answer"
    for address in addresses:
        try:
            status, text = await read_text(http, address.prices_at(query), options.headers)
            fields = json.loads(text, parse_float=Decimal)
            if status == 200:
                return {price["currency"]: _read(price) for price in fields["prices"]}
            problem = str(fields["detail"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError, RecursionError) as error:
            problem = f"{address.base}: {error or type(error).__name__}"
            continue
        if status == 404:
            raise NoPrice(problem)
        if status < 500 and status != 429:
            raise Refused(problem)
    raise FeedError(problem)


def _read(fields: dict[str, Any]) -> PriceAt:
    price, average, age_ms, covered = (fields.get(name) for name in ("price", "average", "age_ms", "covered"))
    return PriceAt(
        None if price is None else Decimal(price),
        fields.get("id"),
        None if age_ms is None else timedelta(milliseconds=age_ms),
        None if average is None else Decimal(average),
        None if covered is None else float(covered),
    )
