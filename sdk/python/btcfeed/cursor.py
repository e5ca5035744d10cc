"""The position of a client in the feed. It tells which updates the client has, which are missing, and where the next
connection begins. Every SDK has this class, and `sdk/scenarios.json` tests all of them alike.

The `prev` of each entry is the id of the entry before it. Whatever the server sends, no update is returned twice or out
of order. If the server sends every entry, none is missing without a gap.
"""

from __future__ import annotations

from .updates import Entry, Gap, Message, Status, Synced, Tick, Unknown, Update

#: The maximum number of gaps to remember. Before an entry, a server sends at most one for each currency, and few
#: others.
_MAX_REPORTED = 16
_UNEXPLAINED = "unexplained"
#: Reasons of gaps in which nothing was removed from the feed: there was no price, or ticks were never written. They do
#: not explain why an entry is missing.
NEVER_WRITTEN = ("source_outage", "held_too_long")
#: 2009-01-03T00:00:00Z, before the first block of Bitcoin. No entry has an older id. So if a client begins after an
#: older id, no entry is missing before the first entry of the feed.
_FIRST_DAY_MS = 1_230_940_800_000


class Cursor:
    """A position in the feed."""

    def __init__(self, after: int | None = None, chained: bool = True) -> None:
        #: The newest id that was received, or the id to begin after.
        self.last = after
        #: True after an entry has been received.
        self.moved = False
        #: True if the server sends every entry, so that each must continue the one before.
        self.chained = chained
        #: The number of known entries that were dropped.
        self.doubled = 0
        #: Gaps that were returned and whose end has not come yet. The server sends them again on a new connection.
        self._reported: list[Gap] = []

    def receive(self, message: Message) -> list[Update]:
        """Receives a message and returns the updates to deliver."""
        if isinstance(message, (Tick, Status)):
            return self._entry(message)
        if isinstance(message, Gap):
            return self._gap(message)
        if isinstance(message, Synced):
            return self._synced(message.id)
        # An entry of a new type continues the chain. Other messages may have an `id` and a `prev` by chance.
        if isinstance(message, Unknown) and message.id is not None and self.last is not None:
            if message.prev == self.last and message.id > self.last:
                self._move_to(message.id)
        return []

    def knows(self, id: int) -> bool:
        """Returns true if the entry was received, or is before the last one."""
        return self.last is not None and id <= self.last

    def continues(self, entry: Entry) -> bool:
        """Returns true if no entry is missing between the last one and this one, or a gap explains the missing ones."""
        return self.last is None or entry.prev <= self.last or self._is_explained(entry.id)

    def _entry(self, entry: Entry) -> list[Update]:
        if self.knows(entry.id):
            self.doubled += 1
            return []
        found: list[Update] = []
        last = self.last
        is_next = last is None or entry.prev == last or (entry.prev == 0 and last < _FIRST_DAY_MS)
        if self.chained and last is not None and not is_next and not self._is_explained(entry.id):
            found.append(Gap(last, entry.id, _UNEXPLAINED))
        self._move_to(entry.id)
        found.append(entry)
        return found

    def _is_explained(self, id: int) -> bool:
        """Returns true if a gap explains why entries before `id` are missing."""
        return any(gap.before == id and gap.reason not in NEVER_WRITTEN for gap in self._reported)

    def _gap(self, gap: Gap) -> list[Update]:
        if self.knows(gap.before) or gap in self._reported:
            return []
        self._reported = [*self._reported[1 - _MAX_REPORTED :], gap]
        return [gap]

    def _synced(self, id: int) -> list[Update]:
        """Receives the end of the replay at the server's position `id`. A cursor without an id takes this one. If our
        id is greater, the feed does not have it yet, or has lost its newest entries. The cursor then moves back to
        `id`, because it would otherwise drop the next entries as known. There is one exception: a server that does not
        send every entry may send an entry and then a position before that entry. The cursor ignores this position.
        """
        last = self.last
        if last is not None and (last <= id or (self.moved and not self.chained)):
            return []
        self.last = id
        self._reported = []
        return [Gap(last, id, _UNEXPLAINED)] if last is not None and self.moved else []

    def _move_to(self, id: int) -> None:
        self.last = id
        self.moved = True
        self._reported = [gap for gap in self._reported if gap.before > id]
