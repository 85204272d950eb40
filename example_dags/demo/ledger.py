# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The accounts of the demo: what each run did, and whether the server holds what the warehouse does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

HEADS = ("DAG", "day", "read", "stored", "before", "refused", "kept out", "labels", "coverage", "seconds", "")


@dataclass(frozen=True)
class Entry:
    """One run of a DAG.

    :param expected: rows that the warehouse has for the run.
    :param read: rows that the run read; those that follow are what became of them.
    :param labels: labels sent, None for a run that sends samples.
    :param coverage: labelled share of the day's samples on the server after the run.
    :param on_server: rows of the day on the server after the run, and how many there should be.
    :param seconds: duration of the run.
    """

    dag_id: str
    day: date
    state: str
    expected: int
    read: int
    stored: int
    already_stored: int
    refused: int
    quarantined: int
    labels: int | None
    coverage: float | None
    on_server: tuple[int, int]
    seconds: float

    def faults(self) -> list[str]:
        """What does not add up; nothing when every row is accounted for."""
        found = []
        if self.state != "success":
            found.append(f"the run ended as {self.state}")
        if self.read != self.expected:
            found.append(f"read {self.read:,} rows, the warehouse has {self.expected:,}")
        settled = self.stored + self.already_stored + self.refused + self.quarantined
        if settled != self.read:
            found.append(f"{self.read - settled:,} of {self.read:,} rows read are neither stored nor named")
        held, wanted = self.on_server
        if held != wanted:
            found.append(f"Deepchecks has {held:,} rows, the warehouse {wanted:,}")
        return found

    def cells(self) -> tuple[str, ...]:
        """The table's row."""
        return (
            self.dag_id,
            f"{self.day:%Y-%m-%d}",
            f"{self.read:,}",
            f"{self.stored:,}",
            f"{self.already_stored:,}",
            f"{self.refused:,}",
            f"{self.quarantined:,}",
            "" if self.labels is None else f"{self.labels:,}",
            "" if self.coverage is None else f"{self.coverage:.1%}",
            f"{self.seconds:.1f}",
            "FAULT" if self.faults() else "ok",
        )


def table(entries: Iterable[Entry]) -> str:
    """All entries, names to the left and numbers to the right."""
    rows: list[Sequence[str]] = [HEADS, *(entry.cells() for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]

    def line(row: Sequence[str]) -> str:
        sides = "<<" + ">" * (len(row) - 2)
        cells = (f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True))
        return "  ".join(cells).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(rows[0]), rule, *(line(row) for row in rows[1:])])


def summary(entries: Sequence[Entry]) -> str:
    """One sentence for a demo without faults."""
    samples = sum(entry.read for entry in entries if entry.labels is None)
    labels = sum(entry.labels or 0 for entry in entries)
    kept_out = sum(entry.refused + entry.quarantined for entry in entries)
    return (
        f"Every row is accounted for: {samples:,} samples and {labels:,} labels read, "
        f"{kept_out:,} of them named with a reason, all others in Deepchecks."
    )
