"""One connection to a feed: a WebSocket, or server-sent events. Both are iterators of messages. At its end, an iterator
raises `Disconnected`.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version

import anyio
import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from .errors import Disconnected
from .updates import Goodbye, Message, read_message

_CONNECT_TIMEOUT_S = 10.0
#: The maximum length of a message. The messages of a feed are much shorter; the limit protects the memory.
_MAX_MESSAGE_BYTES = 65_536
#: The maximum length of a response that is not a stream. Real ones have less than a tenth. The limit protects the
#: memory.
_MAX_TEXT_BYTES = 16 * 1024 * 1024
#: The maximum pause that a server can ask for.
_MAX_ASKED_S = 600.0
try:
    _USER_AGENT = f"btcfeed-python/{version('btcfeed')}"
except PackageNotFoundError:
    _USER_AGENT = "btcfeed-python"


def _is_no_secret(record: logging.LogRecord) -> bool:
    return "client_id=" not in record.getMessage()


# httpx logs every URL. The `client_id` in a URL is a secret.
logging.getLogger("httpx").addFilter(_is_no_secret)
_LINE_END = re.compile(r"\r\n|\n|\r(?!\Z)")


def http_client() -> httpx.AsyncClient:
    """Returns the HTTP client of a feed."""
    return httpx.AsyncClient(timeout=_CONNECT_TIMEOUT_S, headers={"User-Agent": _USER_AGENT}, follow_redirects=True)


async def read_websocket(url: str, headers: Mapping[str, str], silence_s: float) -> AsyncGenerator[Message, None]:
    """Reads messages from a WebSocket. A connection on which no ping is answered for `silence_s` is closed."""
    try:
        socket = await connect(
            url,
            additional_headers=dict(headers),
            user_agent_header=_USER_AGENT,
            compression=None,
            open_timeout=_CONNECT_TIMEOUT_S,
            ping_interval=silence_s / 2,
            ping_timeout=silence_s / 2,
            close_timeout=1,
            max_size=_MAX_MESSAGE_BYTES,
        )
    except InvalidStatus as error:
        answer = error.response
        body = bytes(answer.body or b"")
        raise _refusal(answer.status_code, body, answer.headers.get("Retry-After")) from error
    except (OSError, InvalidHandshake, asyncio.TimeoutError, EOFError) as error:
        raise Disconnected(str(error) or "the server does not answer") from error
    try:
        async for text in socket:
            yield _read(text)
        raise Disconnected(_closed(socket.close_reason), soon=socket.close_code == 1001)
    except ConnectionClosed as error:
        code = None if error.rcvd is None else error.rcvd.code
        reason = _closed(None if error.rcvd is None else error.rcvd.reason)
        raise Disconnected(reason, soon=code == 1001, final=code is not None and 4500 <= code <= 4999) from error
    finally:
        # A dead connection may take long to close.
        socket.transport.abort()


def _closed(reason: str | None) -> str:
    return reason or "the connection was lost"


async def read_events(
    http: httpx.AsyncClient,
    url: str,
    headers: Mapping[str, str],
    silence_s: float,
    on_retry: Callable[[float], None],
) -> AsyncGenerator[Message, None]:
    """Reads messages from a stream of server-sent events. A connection on which nothing comes for `silence_s` is
    closed. `on_retry` gets the least pause before further attempts.
    """
    timeout = httpx.Timeout(_CONNECT_TIMEOUT_S, read=silence_s)
    accepted = {**headers, "Accept": "text/event-stream", "Accept-Encoding": "identity"}
    try:
        async with http.stream("GET", url, headers=accepted, timeout=timeout) as answer:
            content_type = answer.headers.get("Content-Type", "")
            if answer.status_code != 200 or not content_type.startswith("text/event-stream"):
                raise _refusal(answer.status_code, await _explanation(answer), answer.headers.get("Retry-After"))
            parser = EventParser()
            async for data in answer.aiter_bytes():
                for item in parser.read(data):
                    if isinstance(item, float):
                        on_retry(min(item, _MAX_ASKED_S))
                        continue
                    message = _read(item)
                    if isinstance(message, Goodbye):
                        raise Disconnected(message.message or message.reason, soon=message.reason == "draining")
                    yield message
    except httpx.HTTPError as error:
        raise Disconnected(str(error) or f"the connection was lost ({type(error).__name__})") from error
    raise Disconnected(_closed(None))


async def _body(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for data in answer.aiter_bytes():
        body += data
        if len(body) > _MAX_TEXT_BYTES:
            raise ValueError(f"the answer has more than {_MAX_TEXT_BYTES} bytes")
    return bytes(body)


async def _explanation(answer: httpx.Response) -> bytes:
    try:
        return await _body(answer)
    except ValueError:
        return b""


async def read_text(
    http: httpx.AsyncClient, url: str, headers: Mapping[str, str], timeout_s: float = _CONNECT_TIMEOUT_S
) -> tuple[int, str]:
    """Returns the status and the text of an answer. Raises `httpx.HTTPError`, or `ValueError` if it is too long or not
    UTF-8."""
    try:
        # The timeouts of httpx bound only the time between two parts.
        with anyio.fail_after(timeout_s):
            async with http.stream("GET", url, headers=headers) as answer:
                return answer.status_code, (await _body(answer)).decode()
    except TimeoutError:
        raise httpx.ReadTimeout(f"no complete answer within {timeout_s:g} s") from None


async def read_history(http: httpx.AsyncClient, url: str, headers: Mapping[str, str]) -> list[Message] | None:
    """Returns the messages of a part of the history, or `None` if the request fails or the answer is invalid."""
    try:
        status, text = await read_text(http, url, headers, timeout_s=2.0)
        return [read_message(line) for line in text.splitlines() if line] if status == 200 else None
    except (httpx.HTTPError, ValueError, RecursionError):
        return None


def _read(text: str | bytes) -> Message:
    try:
        return read_message(text)
    except (ValueError, RecursionError) as error:
        raise Disconnected(f"invalid message {text[:60]!r}: {error}") from error


def _refusal(status: int, body: bytes, retry_after: str | None) -> Disconnected:
    """Returns the failure of a request that was answered with something else than a stream."""
    try:
        detail, is_explained = str(json.loads(body)["detail"]), True
    except (ValueError, KeyError, TypeError, RecursionError):
        detail, is_explained = f"the server answered with HTTP {status}", False
    if 200 <= status < 300:
        problem = f"there is no feed at this address: it answers HTTP {status}"
        return Disconnected(problem, final=True, no_feed=True)
    final = 300 <= status < 500 and status not in (408, 425, 429)
    # Every feed has the paths of the streams, and explains its errors. So a 404 or 405 without `detail` is not from a
    # feed.
    no_feed = status in (404, 405) and not is_explained
    return Disconnected(detail, final=final, no_feed=no_feed, retry_after_s=_retry_after(retry_after))


def _retry_after(value: str | None) -> float:
    """Returns the pause in a header `Retry-After`, which has seconds or a date."""
    if re.fullmatch("[0-9]{1,9}", value or "0"):
        seconds = float(value or 0)
    else:
        try:
            seconds = (parsedate_to_datetime(value or "") - datetime.now(timezone.utc)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            seconds = 0.0
    return min(max(seconds, 0.0), _MAX_ASKED_S)


class EventParser:
    """A parser of event streams (HTML Living Standard §9.2.6) whose input may be cut anywhere."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._line = ""
        self._data: list[str] = []

    def read(self, data: bytes) -> list[str | float]:
        """Parses a piece. Returns the data of each complete event, and each pause of `retry:` in seconds."""
        *lines, self._line = _LINE_END.split(self._line + self._decoder.decode(data))
        if len(self._line) + sum(len(line) + 1 for line in self._data) > _MAX_MESSAGE_BYTES:
            raise Disconnected("an event is too long")
        items: list[str | float] = []
        for line in lines:
            if not line:
                if self._data:
                    items.append("\n".join(self._data))
                self._data = []
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                self._data.append(value)
            elif name == "retry" and re.fullmatch("[0-9]{1,9}", value):
                items.append(int(value) / 1000)
        return items
