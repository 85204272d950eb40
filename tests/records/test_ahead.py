# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Reading ahead keeps order, passes errors on where they belong, and leaves nothing open."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from airflow_provider_deepchecks.records import ahead as module
from airflow_provider_deepchecks.records.ahead import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator

task: ContextVar[str] = ContextVar("task", default="none")


class Source:
    """Numbers; remembers what was asked of it."""

    def __init__(self, n: int, fails_at: int | None = None) -> None:
        self.n = n
        self.fails_at = fails_at
        self.made: list[int] = []
        self.threads: set[threading.Thread] = set()
        self.closed = False
        self.made_one = threading.Condition()

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self.n):
                if number == self.fails_at:
                    raise OSError("connection lost")
                with self.made_one:
                    self.made.append(number)
                    self.threads.add(threading.current_thread())
                    self.made_one.notify_all()
                yield number
        finally:
            self.closed = True

    def wait_for(self, n: int) -> bool:
        with self.made_one:
            return self.made_one.wait_for(lambda: len(self.made) >= n, timeout=10)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_order_is_kept(n: int) -> None:
    assert list(ahead(iter(Source(100)), n)) == list(range(100))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_next_items_are_made_while_the_caller_works_but_no_more(n: int) -> None:
    source = Source(20)
    items = ahead(iter(source), n)
    assert next(items) == 0
    assert source.wait_for(1 + n)
    # Had the one thread more to make, it would have done so before the next that is asked of it.
    assert next(items) == 1
    assert source.wait_for(2 + n)
    assert len(source.made) == 2 + n
    items.close()
    assert len(source.made) <= 2 + n
    assert source.closed


def test_items_are_made_in_one_thread_that_ends() -> None:
    source = Source(5)
    assert list(ahead(iter(source))) == list(range(5))
    [thread] = source.threads
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


@pytest.mark.parametrize("n", [0, 1, 4])
def test_error_comes_after_the_items_before_it(n: int) -> None:
    source = Source(10, fails_at=3)
    items = ahead(iter(source), n)
    seen = [next(items), next(items), next(items)]
    with pytest.raises(OSError, match="connection lost"):
        next(items)
    assert seen == [0, 1, 2]
    assert source.closed


def test_early_end_closes_the_source() -> None:
    source = Source(1000)
    for item in (items := ahead(iter(source))):
        if item == 3:
            break
    items.close()
    assert source.closed
    assert len(source.made) <= 5


def test_source_is_closed_in_the_thread_that_opened_it() -> None:
    """SQLite's connections may only be used there."""
    threads = []

    def source() -> Iterator[int]:
        threads.append(threading.get_ident())
        try:
            yield from range(10)
        finally:
            threads.append(threading.get_ident())

    items = ahead(source())
    next(items)
    items.close()
    assert len(threads) == 2
    assert threads[0] == threads[1] != threading.get_ident()


def test_error_of_the_caller_closes_the_source() -> None:
    source = Source(1000)

    def consume() -> Iterator[int]:
        yield from ahead(iter(source))

    items = consume()
    next(items)
    with pytest.raises(RuntimeError, match="send failed"):
        items.throw(RuntimeError("send failed"))
    assert source.closed


def test_a_source_that_hangs_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that times out ends, though its database does not answer; what it answers later is closed."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    asked, answers, closed = threading.Event(), threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        try:
            yield 1
            asked.set()
            answers.wait(30)
            yield 2
        finally:
            closed.set()

    stopped: list[bool] = []
    items = ahead(source(), stop=lambda: stopped.append(closed.is_set()))
    assert next(items) == 1
    assert asked.wait(10)
    items.close()
    assert stopped == [False]
    assert not closed.is_set()
    assert "not waited for" in caplog.text
    answers.set()
    assert closed.wait(10)


def test_context_of_the_task_holds_in_the_thread() -> None:
    def source() -> Iterator[str]:
        yield task.get()
        yield task.get()

    token = task.set("upload")
    try:
        assert list(ahead(source())) == ["upload", "upload"]
    finally:
        task.reset(token)


def test_plain_iterables_will_do() -> None:
    assert list(ahead([1, 2, 3])) == [1, 2, 3]
    assert list(ahead([])) == []
