"""What is pushed to browsers (server-sent events): topics that say when they changed, and the stream over them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

PUSH_INTERVAL_S = 0.2
KEEP_ALIVE_TICKS = 50


class Topic(Protocol):
    """Something that browsers are told of when it changes."""

    def news(self, case_id: str, seen: Any) -> tuple[Any, Sequence[tuple[str, Any]]]:
        """What a stream has to be told. Runs in the thread of the server: must be quick.

        Parameters
        ----------
        case_id : str
            Case that the browser shows; empty for none.
        seen : object
            What this returned before for the same stream; None at first.

        Returns
        -------
        seen : object
        messages : sequence of (str, object)
            Name of the event, and its JSON-ready data.
        """
        ...


@dataclass(frozen=True)
class RevisionTopic:
    """A topic whose whole content is told whenever its number changed.

    Parameters
    ----------
    name : str
        Of the event.
    revision : callable
        Number of the content, by the case that is shown; None where there is nothing to tell.
    data : callable
        The content, JSON-ready, by the case that is shown.
    """

    name: str
    revision: Callable[[str], int | None]
    data: Callable[[str], Any]

    def news(self, case_id: str, seen: Any) -> tuple[Any, Sequence[tuple[str, Any]]]:
        """See `Topic`."""
        revision = self.revision(case_id)
        if revision is None or revision == seen:
            return seen, ()
        return revision, ((self.name, self.data(case_id)),)


async def push(
    topics: Sequence[Topic],
    case_id: str,
    *,
    is_over: Callable[[], bool],
    is_disconnected: Callable[[], Awaitable[bool]],
    interval_s: float = PUSH_INTERVAL_S,
) -> AsyncIterator[str]:
    """Events as text, at most once per topic and interval, and only what changed."""
    seen: list[Any] = [None] * len(topics)
    ticks = 0
    yield "retry: 2000\n\n"
    while not is_over() and not await is_disconnected():
        ticks += 1
        for k, topic in enumerate(topics):
            seen[k], messages = topic.news(case_id, seen[k])
            for name, data in messages:
                ticks = 0
                yield f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
        if ticks >= KEEP_ALIVE_TICKS:
            ticks = 0
            yield ": still here\n\n"
        await asyncio.sleep(interval_s)
