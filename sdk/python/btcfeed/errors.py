"""The reasons why a feed ends, and why a connection ends."""

from __future__ import annotations


class FeedError(Exception):
    """The base class of the errors that a feed raises. `prices_at` raises it if every address fails."""


class Refused(FeedError):
    """The server refuses the request, and would refuse it again: a parameter or the API key is invalid, for example."""


class NoPrice(FeedError):
    """The feed had no price at the requested moment. The text says why: the moment is in a gap, too old, or in the
    future."""


class Disconnected(Exception):
    """A connection has ended or could not be opened."""

    def __init__(
        self,
        reason: str,
        *,
        soon: bool = False,
        final: bool = False,
        no_feed: bool = False,
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        #: True if another replica can take over at once.
        self.soon = soon
        #: True if another attempt would be refused too.
        self.final = final
        #: True if the server is not a feed. That is final only if it has never been one.
        self.no_feed = no_feed
        #: The pause that the server asks for.
        self.retry_after_s = retry_after_s
