"""The shared scenarios that need no server, and other tests without a server."""

from __future__ import annotations

import logging
import re
import time
from decimal import Decimal

import pytest
from btcfeed import Feed, Gap, Tick
from btcfeed.address import Address
from btcfeed.connection import EventParser, _refusal
from btcfeed.cursor import Cursor
from btcfeed.errors import Disconnected
from btcfeed.merge import MAX_WAITING, Merge, Position
from btcfeed.updates import Synced, Unknown, read_message
from fixture import SCENARIOS


def message(short):
    """Returns the message that a scenario writes in short."""
    [(kind, value)] = short.items()
    if kind == "tick":
        return Tick(*value, {})
    if kind == "gap":
        return Gap(*value)
    if kind == "synced":
        return Synced(value)
    return Unknown(value.get("id"), value.get("prev"))


def in_short(updates):
    """Returns updates as a scenario writes them."""
    return [[it.after, it.before, it.reason] if isinstance(it, Gap) else it.id for it in updates]


def named(scenarios):
    return pytest.mark.parametrize("it", scenarios, ids=[it.get("name", it.get("given")) for it in scenarios])


@named(SCENARIOS["cursor"])
def test_cursor(it):
    cursor = Cursor(it.get("after"), it.get("chained", True))
    found = [update for short in it["messages"] for update in cursor.receive(message(short))]
    assert in_short(found) == it["expect"]
    assert cursor.last == it.get("last", cursor.last)
    assert cursor.doubled == it.get("doubled", cursor.doubled)


@named(SCENARIOS["merge"])
def test_merge(it):
    now = 0.0
    cursor = Cursor(it.get("after"))
    lines = [Position(0, live=True), Position(1, live=True)]
    merge = Merge(cursor, lambda: now)
    found = []
    for kind, *detail in it["steps"]:
        if kind == "wait":
            now += detail[0]
        elif kind == "lost":
            lines[detail[0]] = Position(detail[0])
        elif kind == "hole":
            assert list(merge.hole) == detail[0]
        elif kind == "awaited":
            assert merge.is_awaited(lines) == detail[0]
        elif kind == "history":
            found += merge.heal(message(detail[0]))
        elif kind == "give up":
            found += merge.give_up()
        else:
            found += merge.receive(lines, lines[kind], message(detail[0]))
    assert in_short(update for update, _ in found) == it["expect"]
    assert (cursor.doubled, merge.healed, merge.hole) == (it.get("doubled", 0), it.get("healed", 0), None)


@named(SCENARIOS["addresses"])
def test_address(it):
    if "error" in it:
        with pytest.raises(ValueError, match=re.escape(it["error"])):
            Address.parse(it["given"])
    else:
        address = Address.parse(it["given"])
        assert (address.websocket({}), address.events({})) == (it["websocket"], it["events"])


def test_line_that_is_late_for_5_s_is_replaced():
    now = 0.0
    merge = Merge(Cursor(), lambda: now)
    lines = [Position(0, live=True), Position(1, live=True)]
    late = []
    for id in range(1, 30):
        now = float(id)
        merge.receive(lines, lines[0], Tick(id, id - 1, {}))
        late += [id for _ in merge.late(lines)]
        if 2 < id < 20:
            merge.receive(lines, lines[1], Tick(id - 2, id - 3, {}))
            assert merge.late(lines) == []
    assert late == [25, 26, 27, 28, 29]


def test_many_entries_behind_a_hole_take_little_time():
    merge, lines = Merge(Cursor(0)), [Position(0), Position(1)]
    began = time.monotonic()
    for line in lines:
        for id in range(2, MAX_WAITING + 2):
            merge.receive(lines, line, Tick(id, id - 1, {}))
    assert merge.is_full and merge.is_ahead(lines[0])
    assert len(merge.heal(Tick(1, 0, {}))) == MAX_WAITING + 1
    assert time.monotonic() - began < 5


def test_prices_keep_their_digits():
    tick = read_message('{"type":"tick","id":2,"prev":1,"prices":{"USD":97116.10,"EUR":5},"spread":{"USD":0.50}}')
    assert isinstance(tick, Tick)
    assert (str(tick.prices["USD"]), tick.prices["EUR"], str(tick.spread["USD"])) == ("97116.10", Decimal(5), "0.50")
    assert tick.time.isoformat() == "1970-01-01T00:00:00.002000+00:00"
    for invalid in ["", "[]", "7", '{"type":"tick","id":-1,"prev":0,"prices":{}}', '{"type":"tick","id":1,"prev":0}']:
        with pytest.raises(ValueError):
            read_message(invalid)


def test_events_may_be_cut_anywhere():
    text = b': hi\r\nretry: 1500\r\n\r\nid: 7\ndata: {"a":\ndata:1}\n\nevent: gap\rdata: \xe2\x82\xac\r\rdata: half'
    for cut in range(len(text)):
        parser = EventParser()
        assert parser.read(text[:cut]) + parser.read(text[cut:]) == [1.5, '{"a":\n1}', "€"]
    with pytest.raises(Disconnected, match="too long"):
        EventParser().read(b"x" * 70_000)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"since": 1, "after": 2}, "invalid since and after: expected only one of them"),
        ({"redundancy": 5}, "invalid redundancy 5: expected 1 to 4"),
        ({"key": "secret\n"}, "invalid key: expected printable ASCII characters without spaces"),
        ({"redundancy": 2, "limit": 5}, "expected neither changes, every, limit nor client_id"),
        ({"transport": "tcp"}, "invalid transport 'tcp': expected websocket or sse"),
    ],
)
def test_invalid_options_are_errors(options, expected):
    with pytest.raises(ValueError, match=expected):
        Feed("http://localhost", **options)


def test_error_has_no_part_of_a_password():
    for url in ("me:secret@host", "http://me:secret@host:99999", "http://me:se/cret@host", "http://me:secret@host"):
        with pytest.raises(ValueError, match="invalid address") as error:
            Feed(url)
        assert "cret" not in str(error.value)


def test_plain_404_is_no_answer_of_a_feed():
    assert _refusal(404, b"404 page not found", None).no_feed
    assert not _refusal(404, b'{"detail":"unknown path"}', None).no_feed
    assert not _refusal(403, b"", None).no_feed
    assert not _refusal(403, b"[" * 60_000, None).no_feed


def test_hostile_numbers_are_ignored():
    for value in ("nan", "inf", "-5", "9" * 400, "soon"):
        assert _refusal(503, b"", value).retry_after_s == 0
    assert _refusal(503, b"", "7").retry_after_s == 7
    assert EventParser().read(b"retry: " + b"9" * 400 + b"\n") == []
    parser = EventParser()
    with pytest.raises(Disconnected, match="an event is too long"):
        for _ in range(70):
            parser.read(b"data:\n" * 1000)


def test_name_of_a_client_is_not_logged(caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger("httpx").info("GET %s", "http://x/?client_id=abc")
        logging.getLogger("httpx").info("GET %s", "http://x/")
    assert caplog.messages == ["GET http://x/"]
