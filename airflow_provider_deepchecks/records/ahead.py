# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The next chunk is read, checked and encoded while the one before is on the wire."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

T = TypeVar("T")

_END: Final = object()


def ahead(items: Iterable[T], n: int = 1) -> Generator[T]:
    """Make the next ``n`` items in one background thread while the caller works on the present one.

    Order is kept; an error comes out where its item would have come. When the caller stops early, the item in
    the making is waited for and a generator behind ``items`` is closed, so that no cursor or file stays open.

    :param n: items made in advance, which is what is held in memory besides the caller's; 0 makes none.
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
        for future in making:
            future.cancel()
        if close := getattr(source, "close", None):
            # In the thread that opened what is closed now: SQLite's connections insist on it.
            pool.submit(close).result()
        pool.shutdown(wait=True)
