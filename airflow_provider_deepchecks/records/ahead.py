# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The next chunk is read, checked and encoded while the one before is on the wire."""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow_provider_deepchecks.records.batches import close_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

log = logging.getLogger(__name__)

T = TypeVar("T")

_END: Final = object()
#: Seconds for which a source that does not answer holds up a caller that stops early: a task's time-out.
PATIENCE: Final = 30.0


def ahead(items: Iterable[T], n: int = 1, *, stop: Callable[[], None] = lambda: None) -> Generator[T]:
    """Make the next ``n`` items in one background thread while the caller works on the present one.

    Order is kept; an error comes out where its item would have come. When the caller stops early, the item in
    the making is waited for and a generator behind ``items`` is closed, so that no cursor or file stays open.
    Only a source that hangs for :data:`PATIENCE` seconds is left to its thread, with a warning.

    :param n: items made in advance, which is what is held in memory besides the caller's; 0 makes none.
    :param stop: called when no more items are wanted: whoever makes one now need not finish it.
    """
    if n < 1:
        yield from items
        return
    source = iter(items)
    # The task's context variables hold in the thread as well.
    context = copy_context()

    def make() -> Any:
        return context.run(next, source, _END)

    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="deepchecks-read-ahead")
    making = deque(pool.submit(make) for _ in range(n))
    try:
        while (item := making.popleft().result()) is not _END:
            making.append(pool.submit(make))
            yield item
    finally:
        stop()
        for future in making:
            future.cancel()
        # In the thread that opened what is closed now: SQLite's connections insist on it.
        closed = pool.submit(close_steps, source)
        pool.shutdown(wait=False)
        if wait([closed], PATIENCE).done:
            pool.shutdown(wait=True)
            closed.result()
        else:
            log.warning("The source has not answered for %.0f s: it is not waited for any longer.", PATIENCE)
