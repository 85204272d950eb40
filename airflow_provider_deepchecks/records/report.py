# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the checks found in a run: rows per reason, first examples, and whether too many rows are bad."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from airflow_provider_deepchecks.allowance import is_limit, rows_allowed
from airflow_provider_deepchecks.exceptions import (
    DeepchecksConfigError,
    DeepchecksInvalidRowsError,
    DeepchecksLateRowsError,
)
from airflow_provider_deepchecks.records.casts.cast import masked
from airflow_provider_deepchecks.records.casts.times import late
from airflow_provider_deepchecks.records.columns import TIME
from airflow_provider_deepchecks.records.reasons import BadRow, Mask, Reason, counted

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from airflow_provider_deepchecks.records.checks.checked import Checked

#: Reasons of rows that are kept to show, and how many there are of each reason at least.
EXAMPLES = 10
EXAMPLES_PER_REASON = 3


class Rule(Enum):
    """What a run must not have."""

    NO_INVALID = auto()
    NO_LATE = auto()
    LIMIT = auto()


@dataclass
class CheckReport:
    """The checks of one run so far.

    :param read: rows read.
    :param bad: rows that cannot be sent.
    :param reasons: bad rows per reason; a row with several reasons counts under each.
    :param examples: the first reasons with their rows, and the first rows of each reason.
    :param first_time: oldest time of the rows that can be sent, UTC.
    :param last_time: newest time of the rows that can be sent, UTC.
    """

    read: int = 0
    bad: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[BadRow] = field(default_factory=list)
    first_time: datetime | None = None
    last_time: datetime | None = None

    @property
    def good(self) -> int:
        """Rows that can be sent."""
        return self.read - self.bad

    def add(self, checked: Checked) -> None:
        """Count a batch.

        :param checked: a checked batch, after all checks.
        """
        self.read += checked.source.num_rows
        self.bad += int(checked.bad_indices.size)
        self.reasons.update(checked.counts())
        if checked.findings:
            self.examples += self._new_examples(checked)
        if checked.rows.num_rows and TIME in checked.rows.schema.names:
            extremes: Any = pc.min_max(checked.rows.column(TIME)).as_py()
            if extremes["min"] is not None:
                self.first_time = min(filter(None, (self.first_time, extremes["min"])))
                self.last_time = max(filter(None, (self.last_time, extremes["max"])))

    def _new_examples(self, checked: Checked) -> list[BadRow]:
        found = list(islice(checked.bad_rows(), max(0, EXAMPLES - len(self.examples))))
        shown = Counter(row.reason for row in [*self.examples, *found])
        for finding in checked.findings:
            for row in islice(replace(checked, findings=(finding,)).bad_rows(), EXAMPLES_PER_REASON):
                if shown[row.reason] < EXAMPLES_PER_REASON and row not in found:
                    found.append(row)
                    shown[row.reason] += 1
        return sorted(found, key=lambda row: row.position)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON: what a dry run returns. It holds no values of rows."""
        return {
            "read": self.read,
            "valid": self.good,
            "invalid": self.bad,
            "reasons": dict(self.reasons.most_common()),
            "examples": [
                {
                    "position": row.position,
                    "sample_id": row.sample_id,
                    "column": row.column,
                    "reason": row.reason,
                }
                for row in self.examples
            ],
            "first_time": _iso(self.first_time),
            "last_time": _iso(self.last_time),
        }

    def text(self) -> str:
        """The report for the log: rows per reason, then the first examples."""
        lines = [f"{counted(self.read)} checked, {self.bad:,} cannot be sent."]
        lines += [f"  {counted(rows)}: {reason}" for reason, rows in self.reasons.most_common()]
        if self.examples:
            lines.append("The first ones:")
            lines += [f"  {_example(row)}" for row in self.examples]
        return "\n".join(lines)

    def error(
        self,
        broken: Collection[Rule],
        *,
        limit: float | None = None,
        watermark: datetime | None = None,
    ) -> DeepchecksInvalidRowsError:
        """The error of a run with rows that it may not have.

        :param broken: the rules that were.
        :param limit: most bad rows, as :func:`too_many` has it.
        :param watermark: time of the version's newest sample.
        """
        ways_out = {
            Rule.NO_INVALID: "Correct them at the source, or let an operator set them aside and send the "
            "others: on_invalid_rows='quarantine' with a quarantine_path.",
            Rule.NO_LATE: f"The version's newest sample is of {_iso(watermark)}, and Deepchecks asks for "
            "rows in time order. Set on_late_rows='send' to send them all the same, or 'quarantine' to set "
            "them aside.",
            Rule.LIMIT: f"{self.bad:,} of {self.read:,} rows are more than max_invalid_rows={limit} lets "
            "pass. Correct them at the source, or set another limit.",
        }
        told = " ".join(text for rule, text in ways_out.items() if rule in broken)
        kind = DeepchecksLateRowsError if set(broken) == {Rule.NO_LATE} else DeepchecksInvalidRowsError
        return kind(f"{self.text()}\nNo more rows were sent. {told}", reasons=self.reasons)


def set_aside_late(checked: Checked, watermark: datetime, *, spare: Mask | None = None) -> Checked:
    """Set aside the rows older than the version's newest sample.

    :param checked: a checked batch.
    :param watermark: time of the version's newest sample.
    :param spare: one flag a row; these are not late, however old they are.
    """
    times = checked.rows.column(TIME)
    if not len(times):
        return checked
    rows = masked(late(times, watermark))
    return checked.set_aside(
        rows if spare is None else rows & ~spare,
        Reason.LATE,
        lambda row: f"{Reason.LATE}: {_iso(times[row].as_py())}, newest is {_iso(watermark)}",
        None,
    )


def check_limit(max_invalid_rows: float | None) -> None:
    """Refuse a limit of bad rows that is none.

    :param max_invalid_rows: a count (an integer), a share (a float from 0 to 1), or None for no limit.
    :raises DeepchecksConfigError: it is something else.
    """
    if max_invalid_rows is not None and not is_limit(max_invalid_rows):
        raise DeepchecksConfigError(
            f"max_invalid_rows={max_invalid_rows!r} is neither a count (0, 1, 2, ...) nor a share "
            "(0.0 to 1.0)."
        )


def too_many(bad: int, read: int, max_invalid_rows: float | None, *, complete: bool) -> bool:
    """Whether a run has more bad rows than it may have.

    :param bad: bad rows so far.
    :param read: rows read so far.
    :param max_invalid_rows: a count (an integer), a share of the rows read (a float), or None for no limit.
    :param complete: whether all rows are read. A share is told at the end only: the first rows prove nothing.
    """
    if max_invalid_rows is None or (isinstance(max_invalid_rows, float) and not complete):
        return False
    return bad > rows_allowed(max_invalid_rows, read)


def _example(row: BadRow) -> str:
    where = "" if row.column is None else f"column {row.column!r}: "
    who = "without an id" if row.sample_id is None else repr(row.sample_id)
    return f"row {row.position:,} ({who}): {where}{row.detail}"


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
