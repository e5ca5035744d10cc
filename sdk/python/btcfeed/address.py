"""The address of a feed: everything before its paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

#: The paths of streams. They are not part of the address of a feed, but users may paste them.
_STREAM_PATHS = ("/v1/ws", "/ws", "/pricefeed", "/v1/prices/stream", "/prices/stream")


def _redact(text: str) -> str:
    """Returns an address without the user name and the password in front of its host, for an error."""
    _, at, host = text.rpartition("@")
    return f"…@{host}" if at else text


@dataclass(frozen=True)
class Address:
    """The address of a feed, without the last slash."""

    base: str

    @staticmethod
    def parse(text: str) -> Address:
        """Parses `http://host:port` (or https, ws, wss). Raises `ValueError`."""
        try:
            parts = urlsplit(text)
            host = parts.hostname
            _ = parts.port
        except ValueError as error:
            raise ValueError(f"invalid address {_redact(text)!r}: the host or the port is invalid") from error
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        if parts.username is not None or parts.password is not None:
            raise ValueError("invalid address: a feed has no user names and passwords")
        if scheme not in ("http", "https") or not host:
            raise ValueError(f"invalid address {_redact(text)!r}: expected http://host:port (or https, ws, wss)")
        if parts.query or parts.fragment:
            # The values may be secrets.
            names = ", ".join(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
            what = f"a query ({names})" if parts.query else "a fragment"
            raise ValueError(f"invalid address with {what}: expected arguments of Feed instead")
        path = parts.path.rstrip("/")
        for stream in _STREAM_PATHS:
            if path.endswith(stream):
                path = path[: -len(stream)]
                break
        return Address(f"{scheme}://{parts.netloc}{path}")

    def websocket(self, query: Mapping[str, str]) -> str:
        """Returns the URL of the WebSocket."""
        return self._url("ws" + self.base[len("http") :] + "/v1/ws", query)

    def events(self, query: Mapping[str, str]) -> str:
        """Returns the URL of the server-sent events."""
        return self._url(self.base + "/v1/prices/stream", query)

    def history(self, query: Mapping[str, str]) -> str:
        """Returns the URL of the history."""
        return self._url(self.base + "/v1/prices", query)

    def prices_at(self, query: Mapping[str, str]) -> str:
        """Returns the URL of the prices at a moment."""
        return self._url(self.base + "/v1/prices/at", query)

    @staticmethod
    def _url(url: str, query: Mapping[str, str]) -> str:
        return f"{url}?{urlencode(query)}" if query else url
