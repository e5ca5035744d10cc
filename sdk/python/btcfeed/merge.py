"""Merges the entries of several lines to one feed. A line has one connection at a time. The first copy of each entry is
delivered, and later copies are dropped. The `prev` of each entry names the one before it. If an entry does not continue
the last delivered one, there is a hole before it. This entry waits until another line or the history has closed the
hole, or until the hole is given up.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .cursor import NEVER_WRITTEN, Cursor
from .updates import Entry, Gap, Message, Status, Synced, Tick, Unknown, Update

#: The longest time that a line may lack an entry that was already delivered. After this time, the line is replaced.
_MAX_LAG_S = 5.0
#: If every line is before our last id, and no entry was delivered for this time, the feed counts as restored from an
#: older copy.
_REWIND_AFTER_S = 10.0
#: Reasons of gaps in which entries of the feed are missing, and not only prices.
_MISSING_ENTRIES = ("history_expired", "history_lost", "replay_limit")
#: The maximum number of waiting entries.
MAX_WAITING = 10_000


@dataclass
class Position:
    """What a merge knows about one line. Each connection begins with a new position."""

    #: The number of the line's address.
    address: int
    #: The newest id that has come over this connection.
    newest: int | None = None
    #: An id, and a time at which the line did not have it yet.
    behind: tuple[int, float] | None = None
    #: The gaps that the line has reported since its last entry.
    gaps: list[Gap] = field(default_factory=list)
    #: True after the replay is over.
    live: bool = False


class Hole(NamedTuple):
    """Entries that no line has sent."""

    after: int
    #: The last id in the hole.
    until: int


class Delivered(NamedTuple):
    """An update to deliver, and the number of the address that it came from, or `None` for the history."""

    update: Update
    address: int | None


class _Waiting(NamedTuple):
    entry: Entry
    gaps: list[Gap]
    #: The number of the address, or `None` for the history.
    address: int | None


def _explains(gap: Gap) -> bool:
    """Returns true if a gap may be the reason why entries are missing."""
    return gap.reason not in NEVER_WRITTEN


class Merge:
    """The entries of several lines in one order."""

    def __init__(self, cursor: Cursor, now: Callable[[], float] = time.monotonic) -> None:
        self._cursor = cursor
        self._now = now
        self._moved_at = now()
        #: Entries behind a hole, in the order of their ids.
        self._waiting: list[_Waiting] = []
        #: The ids of the waiting entries.
        self._ids: list[int] = []
        #: The gaps of the history that have not been used yet.
        self._gaps: list[Gap] = []
        #: The number of entries that were delivered from the history.
        self.healed = 0

    @property
    def hole(self) -> Hole | None:
        """The hole before the first waiting entry."""
        if not self._waiting or self._cursor.last is None:
            return None
        return Hole(self._cursor.last, self._waiting[0].entry.prev)

    @property
    def is_full(self) -> bool:
        """True if so many entries wait that a line that is ahead of the hole must not be read."""
        return len(self._waiting) >= MAX_WAITING

    def is_awaited(self, lines: Sequence[Position]) -> bool:
        """Returns true if a line is still before the end of the hole. Such a line may send the missing entries."""
        until = self._waiting[0].entry.prev
        return any(line.newest is not None and line.newest < until for line in lines)

    def is_ahead(self, line: Position) -> bool:
        """Returns true if a line cannot close the hole."""
        return bool(self._waiting) and line.newest is not None and line.newest > self._waiting[0].entry.prev

    def receive(self, lines: Sequence[Position], line: Position, message: Message) -> list[Delivered]:
        """Receives a message of one of the `lines`. Returns the updates to deliver."""
        if isinstance(message, (Tick, Status)):
            line.newest = message.id
            if line.behind is not None and line.behind[0] <= message.id:
                line.behind = None
            return self._entry(line, message)
        if isinstance(message, Gap):
            line.gaps.append(message)
            return []
        if isinstance(message, Synced):
            return self._synced(lines, line, message)
        if isinstance(message, Unknown):
            self._cursor.receive(message)
        return self._drain([])

    def heal(self, message: Message) -> list[Delivered]:
        """Receives a message from the history of an address. A gap in this history does not explain a hole, because the
        history of another address may have the missing entries. If the hole is given up, the gap is delivered.
        """
        if isinstance(message, (Tick, Status)):
            gaps = self._take_gaps(message.id)
            return [] if self._is_known(message.id) else self._add(_Waiting(message, gaps, None))
        if isinstance(message, Gap):
            self._gaps.append(message)
        elif isinstance(message, Unknown):
            self._cursor.receive(message)
        return self._drain([])

    def give_up(self) -> list[Delivered]:
        """Delivers the entry after the hole, with a gap before it, because nothing can close the hole."""
        del self._ids[0]
        first = self._waiting.pop(0)
        is_explained = any(map(_explains, first.gaps))
        found = [gap for gap in self._take_gaps(first.entry.id) if not (is_explained and _explains(gap))]
        return self._drain(self._deliver(first._replace(gaps=first.gaps + found)))

    def late(self, lines: Sequence[Position]) -> list[Position]:
        """Returns the lines that are so late that they are to be replaced, or none if all lines are late."""
        late, last, now = [], self._cursor.last, self._now()
        for line in lines:
            if last is None or not line.live or line.newest is None or line.newest >= last:
                continue
            if line.behind is None:
                line.behind = (last, now)
            if now - line.behind[1] > _MAX_LAG_S:
                late.append(line)
        return late if len(late) < len(lines) else []

    def _entry(self, line: Position, entry: Entry) -> list[Delivered]:
        """A gap that a line reports does not explain a hole: another line or the history may have the entries."""
        gaps, line.gaps = line.gaps, []
        if self._is_known(entry.id):
            self._cursor.doubled += 1
            return []
        return self._add(_Waiting(entry, gaps, line.address))

    def _take_gaps(self, id: int) -> list[Gap]:
        """Takes the gaps of the history that end at this entry or before. Several addresses may explain the same hole,
        so only the last explanation is returned.
        """
        found = [gap for gap in self._gaps if gap.before <= id and not self._cursor.knows(gap.before)]
        self._gaps = [gap for gap in self._gaps if gap.before > id]
        best = next((gap for gap in reversed(found) if _explains(gap)), None)
        return [gap for gap in found if gap is best or not _explains(gap)]

    def _is_known(self, id: int) -> bool:
        place = bisect.bisect_left(self._ids, id)
        return self._cursor.knows(id) or self._ids[place : place + 1] == [id]

    def _add(self, added: _Waiting) -> list[Delivered]:
        """Delivers an entry, or adds it to the waiting ones."""
        if self._cursor.continues(added.entry):
            return self._drain(self._deliver(added))
        place = bisect.bisect_left(self._ids, added.entry.id)
        self._ids.insert(place, added.entry.id)
        self._waiting.insert(place, added)
        return []

    def _deliver(self, delivered: _Waiting) -> list[Delivered]:
        entry, gaps, address = delivered
        self._moved_at = self._now()
        self.healed += address is None
        # If the entry directly follows the last one, no entry is missing, even if its line has reported a gap.
        is_next = entry.prev == self._cursor.last
        missing = [gap for gap in gaps if not is_next or gap.reason not in _MISSING_ENTRIES]
        messages: list[Message] = [*missing, entry]
        return [Delivered(update, address) for message in messages for update in self._cursor.receive(message)]

    def _drain(self, found: list[Delivered]) -> list[Delivered]:
        """Delivers the waiting entries that the hole no longer holds back."""
        taken = 0
        for first in self._waiting:
            is_known = self._cursor.knows(first.entry.id)
            if not is_known and not self._cursor.continues(first.entry):
                break
            taken += 1
            if not is_known:
                found.extend(self._deliver(first))
        del self._waiting[:taken], self._ids[:taken]
        if not self._waiting:
            self._gaps = []
        return found

    def _synced(self, lines: Sequence[Position], line: Position, message: Synced) -> list[Delivered]:
        """Receives the end of a line's replay. A line may be a little later than another one, so a replay that ends
        before our last id usually means nothing. But if every line is before our last id, and no entry was delivered
        for a while, the feed was restored from an older copy. Then the feed continues after the end of the replay.
        """
        line.newest = max(line.newest or 0, message.id)
        line.live = True
        gaps, line.gaps = line.gaps, []
        messages: list[Message] = list(gaps)
        last = self._cursor.last
        is_quiet = self._now() - self._moved_at > _REWIND_AFTER_S
        is_before = [last is not None and other.newest is not None and other.newest < last for other in lines]
        if last is None or message.id >= last or not self._cursor.moved or (is_quiet and all(is_before)):
            messages.append(message)
        return [Delivered(update, line.address) for each in messages for update in self._cursor.receive(each)]
