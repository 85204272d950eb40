# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A batch after its check: the rows that can be sent, and why the others cannot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from airflow_provider_deepchecks.records.casts.cast import cell
from airflow_provider_deepchecks.records.columns import POSITION
from airflow_provider_deepchecks.records.reasons import Array, BadRow, Finding, Mask, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Checked:
    """A batch after its check.

    :param source: the rows as read.
    :param first_position: number of the first of them in the source.
    :param rows: the rows that can be sent, as a wire batch.
    :param findings: why the others cannot.
    :param id_column: the source's column of the sample ids.
    """

    source: pa.RecordBatch
    first_position: int
    rows: pa.RecordBatch
    findings: tuple[Finding, ...]
    id_column: str

    @cached_property
    def bad_indices(self) -> npt.NDArray[np.int64]:
        """The bad rows' numbers in the batch, ascending."""
        if not self.findings:
            return np.zeros(0, dtype=np.int64)
        return np.unique(np.concatenate([finding.rows for finding in self.findings]))

    @property
    def bad(self) -> pa.RecordBatch | None:
        """The bad rows as read, None when there is none."""
        if not self.bad_indices.size:
            return None
        columns = [_taken(column, self.bad_indices) for column in self.source.columns]
        return pa.RecordBatch.from_arrays(columns, self.source.schema.names)

    def bad_positions(self) -> npt.NDArray[np.int64]:
        """The bad rows' numbers in the source, in the order of :attr:`bad`."""
        return self.bad_indices + self.first_position

    def bad_ids(self) -> list[str | None]:
        """The bad rows' sample ids as text, in the order of :attr:`bad`."""
        return [self._id(row) for row in self.bad_indices.tolist()]

    def bad_reasons(self) -> list[list[str]]:
        """All reasons of each bad row with column and value, in the order of :attr:`bad`."""
        reasons: dict[int, list[str]] = {row: [] for row in self.bad_indices.tolist()}
        for finding in self.findings:
            prefix = f"{finding.column}: " if finding.column is not None else ""
            for row in finding.rows.tolist():
                reasons[row].append(prefix + finding.explain(row))
        return list(reasons.values())

    def counts(self) -> Counter[str]:
        """Bad rows per reason; a row with several reasons counts under each."""
        rows: dict[str, list[npt.NDArray[np.int64]]] = {}
        for finding in self.findings:
            rows.setdefault(finding.reason.value, []).append(finding.rows)
        return Counter({reason: np.unique(np.concatenate(parts)).size for reason, parts in rows.items()})

    def bad_rows(self) -> Iterator[BadRow]:
        """Each reason of each bad row, in the source's order, made one at a time: take as many as needed."""
        starts = [0] * len(self.findings)
        for row in self.bad_indices.tolist():
            for number, finding in enumerate(self.findings):
                if starts[number] < finding.rows.size and finding.rows[starts[number]] == row:
                    starts[number] += 1
                    position = self.first_position + row
                    yield BadRow(
                        position, self._id(row), finding.column, finding.reason.value, finding.explain(row)
                    )

    def set_aside(
        self, mask: Mask, reason: Reason, explain: Callable[[int], str], column: str | None
    ) -> Checked:
        """The batch with more rows set aside.

        :param mask: one flag a row of :attr:`rows`.
        :param reason: the reason.
        :param explain: row of :attr:`rows` -> the reason for this row, with the value.
        :param column: the source's column, None when the row as a whole is meant.
        """
        if not mask.any():
            return self
        chosen = np.flatnonzero(mask)
        indices = self.rows.column(POSITION).to_numpy()[chosen] - self.first_position
        row_of = dict(zip(indices.tolist(), chosen.tolist(), strict=True))
        finding = Finding(column, reason, indices, lambda index: explain(row_of[index]))
        return replace(self, rows=self.rows.filter(pa.array(~mask)), findings=(*self.findings, finding))

    def _id(self, row: int) -> str | None:
        value = cell(self.source.column(self.id_column), row)
        return None if value is None else str(value)


def _taken(column: Array, rows: npt.NDArray[np.int64]) -> Array:
    """Some rows of a column.

    :param rows: their numbers, one at least.
    """
    try:
        return column.take(pa.array(rows))
    except pa.ArrowNotImplementedError:  # string views, also inside of lists and structs
        return pa.concat_arrays([column.slice(row, 1) for row in rows.tolist()])
