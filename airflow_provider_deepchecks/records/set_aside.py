# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Which rows the checks kept out, by id and reason only: what a table of statuses needs of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pyarrow as pa

from airflow_provider_deepchecks.records.spool import Spool, temporary_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_deepchecks.records.checks.checked import Checked

_SCHEMA = pa.schema([("sample_id", pa.string()), ("reason", pa.string())])


class SetAside:
    """Collects ids and reasons of bad rows in a temporary file; a context manager that removes it."""

    def __init__(self) -> None:
        self._spool = Spool(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.discard()

    def add(self, checked: Checked) -> None:
        """Put in the bad rows of a batch.

        :param checked: a checked batch.
        """
        reasons = ["; ".join(found) for found in checked.bad_reasons()]
        with temporary_files("Ids of bad rows"):
            self._spool.add(pa.record_batch([checked.bad_ids(), reasons], schema=_SCHEMA))

    def discard(self) -> None:
        """Forget all rows: the reading starts again."""
        self._spool.discard()

    def rows(self) -> Iterator[tuple[str | None, str]]:
        """Id and reasons of each row, in the source's order. None can be put in once this was called."""
        for batch in self._spool.batches():
            ids, reasons = (column.to_pylist() for column in batch.columns)
            yield from zip(ids, reasons, strict=True)
