# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The books of an upload that goes on after another attempt."""

from __future__ import annotations

import pytest

from airflow_provider_deepchecks.delivery.ids import SentIds
from airflow_provider_deepchecks.delivery.upload.checkpoint import NoCheckpoint, Progress
from airflow_provider_deepchecks.delivery.upload.ledger import Ledger
from airflow_provider_deepchecks.records.chunks.chunker import Chunk
from tests.delivery.conftest import START, rows


@pytest.mark.parametrize(
    ("place", "taken", "missing"),
    [(0, [9, 10], "s0"), (9, [9, 10], "s9"), (10, [10, 9], "s10"), (19, [10, 9], "s19")],
)
def test_a_rejected_row_is_entered_in_its_chunk_only(place: int, taken: list[int], missing: str) -> None:
    progress = Progress("same", START, acknowledged=20, rejected=((place, "no"),))
    whole = rows(20)
    with SentIds() as ids:
        books = Ledger(progress, NoCheckpoint(), noun="rows", ids=ids, on_rejected=None)
        entered = [books.enter_again(Chunk(whole.slice(start, 10)), start) for start in (0, 10)]
        assert [chunk.rows for chunk in entered if chunk is not None] == taken
        sent = {name for batch in ids.batches() for name in batch.column(0).to_pylist()}
    assert sent == {f"s{n}" for n in range(20)} - {missing}


def test_a_digest_made_ahead_is_that_of_the_rows() -> None:
    """Chunks are hashed when they are about to be sent; another cut of the rows gives the same digest."""
    digests = []
    for size in (10, 5):
        books = Ledger(Progress("same", START), NoCheckpoint(), noun="rows", ids=None, on_rejected=None)
        for start in range(0, 20, size):
            chunk = Chunk(rows(20).slice(start, size))
            ahead = books.digest_with([chunk])
            books.acknowledge(chunk, found=0, resent=0, rejected=())
            assert books.progress.digest == ahead
        digests.append(books.progress.digest)
    # Looking ahead at rows that do not come changes nothing.
    books = Ledger(Progress("same", START), NoCheckpoint(), noun="rows", ids=None, on_rejected=None)
    books.digest_with([Chunk(rows(3))])
    books.acknowledge(Chunk(rows(20)), found=0, resent=0, rejected=())
    assert {*digests, books.progress.digest} == {digests[0]}
