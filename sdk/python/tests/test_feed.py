"""The shared scenarios on running replicas, over both transports."""

from __future__ import annotations

import asyncio
import os
import uuid

import pytest
from btcfeed import Feed, FeedError, Gap, NoPrice, Refused, SyncFeed, Tick
from fixture import SCENARIOS, Fixture

#: The time for which connections break at random moments.
TROUBLE_MS = int(os.environ.get("BTCFEED_SDK_SECONDS", "10")) * 1000
TIMEOUT_S = TROUBLE_MS / 1000 + 60
TRANSPORTS = ["websocket", "sse"]
NAMES = {"clientId": "client_id"}


@pytest.fixture(scope="module")
def fixture():
    running = Fixture(2)
    yield running
    running.end()


async def run(fixture, scenario, transport):
    """Runs a scenario. Returns the updates and the statistics."""
    given = {NAMES.get(name, name): value for name, value in scenario["options"].items()}
    if "client_id" in given:
        given["client_id"] = str(uuid.uuid4())
    servers = fixture.lossy if scenario.get("lossy") else fixture.proxies
    urls = [address + scenario.get("path", "") for address in servers][: given.get("redundancy", 1)]
    options = {**given, "transport": transport, "silence": 1.5, "retry": (0.02, 0.2)}
    feed, seen = Feed(urls, **options), []

    async def read():
        seen.append(await feed.__anext__())
        return seen[-1]

    try:
        for step in scenario["steps"]:
            left = step.get("read", 0)
            while left:
                left -= not isinstance(await read(), Gap)
            for kind in ("cut", "break"):
                if kind in step:
                    unit = "ms" if kind == "cut" else "bytes"
                    change = f"proxy/{step.get('proxy', 0)}/{kind}?{unit}={step[kind]}"
                    await asyncio.to_thread(fixture.change, change)
            for kind in {"resume", "reopen"} & set(step):
                await feed.aclose()
                await asyncio.sleep(step[kind] / 1000)
                feed = Feed(urls, **{**options, "since": None, "after": feed.last_id if kind == "resume" else None})
            if "trouble" in step:
                trouble = asyncio.create_task(asyncio.to_thread(fixture.change, f"proxy/0/trouble?ms={TROUBLE_MS}"))
                while not trouble.done():
                    await read()
                await trouble
    finally:
        await feed.aclose()
    return seen, feed.statistics


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", SCENARIOS["feed"], ids=[it["name"] for it in SCENARIOS["feed"]])
def test_scenario(fixture, scenario, transport):
    if transport not in scenario.get("transports", TRANSPORTS):
        pytest.skip("not over this transport")
    running = asyncio.wait_for(run(fixture, scenario, transport), TIMEOUT_S)
    if "error" in scenario:
        with pytest.raises(Refused, match=scenario["error"]):
            asyncio.run(running)
        return
    seen, statistics = asyncio.run(running)
    reasons, gaps = [it.reason for it in seen if isinstance(it, Gap)], scenario.get("gaps", [])
    assert reasons[1:] == [] if gaps == ["*"] else reasons == gaps
    entries = [it for it in seen if not isinstance(it, Gap)]
    history = fixture.entries(scenario["options"].get("currencies", ["USD"]), entries[0].id, entries[-1].id)
    known = [(it["id"], it.get("prices", it.get("state"))) for it in history]
    received = [(it.id, it.prices if isinstance(it, Tick) else it.state) for it in entries]
    # The history contains all received entries, in the same order. No entry was received twice.
    assert [it for it in known if it in received] == received
    if scenario["expect"] == "history":
        assert len(known) - len(received) <= scenario.get("missing", 0), f"{received} is not all of {known}"
    assert statistics.taken > 0
    assert statistics.healed >= scenario.get("healed", 0)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_sync_iterator(fixture, transport):
    with SyncFeed(fixture.direct[0], transport=transport) as feed:
        seen = [update for _, update in zip(range(5), feed)]
    last = feed.last_id
    assert last == seen[-1].id
    with SyncFeed(fixture.direct[0], transport=transport, after=last) as feed:
        assert next(feed).prev == last
    assert list(feed) == []
    with pytest.raises(Refused, match="invalid currency"):
        list(SyncFeed(fixture.direct[0], transport=transport, currencies="XXX"))


def test_slow_program_loses_nothing(fixture):
    async def main():
        async with Feed(fixture.direct[0], since=0) as feed:
            first = await feed.__anext__()
            last = first
            for _ in range(8):
                await asyncio.sleep(0.3)
                for _ in range(3):
                    update = await feed.__anext__()
                    assert update.prev == last.id
                    last = update
            assert feed.last_id == last.id

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))


def test_absent_server_is_tried_again_until_it_starts(fixture):
    async def main():
        await asyncio.to_thread(fixture.change, "replica/0/kill")
        async with Feed(fixture.direct[0], retry=(0.05, 0.2)) as feed:
            first = asyncio.create_task(feed.__anext__())
            await asyncio.to_thread(fixture.change, "replica/0/start")
            assert isinstance(await first, Tick)

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))


def test_price_at_a_moment(fixture):
    with SyncFeed(fixture.direct, currencies=["USD", "EUR"]) as feed:
        tick = next(update for update in feed if isinstance(update, Tick))
        prices = feed.prices_at(tick.id, "1s")
        assert {currency: price.price for currency, price in prices.items()} == tick.prices
        assert prices["USD"].id == tick.id and prices["USD"].age.total_seconds() == 0
        assert 0 <= prices["USD"].covered <= 1
        assert feed.prices_at().keys() == {"USD", "EUR"}
        with pytest.raises(NoPrice, match="no price in USD"):
            feed.prices_at("2020-01-01")
        with pytest.raises(Refused, match="invalid window"):
            feed.prices_at(tick.id, "2h")
    with pytest.raises(RuntimeError, match="the feed is closed"):
        feed.prices_at(tick.id)


def test_endless_answer_is_not_kept():
    async def send(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(bytes(65_536))
            await writer.drain()

    async def main():
        server = await asyncio.start_server(send, "127.0.0.1", 0)
        feed = Feed(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(FeedError, match="the answer has more than 16777216 bytes"):
            await feed.prices_at()
        server.close()

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))
