# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""From a source to the rows that can be sent: read, check, set aside what cannot go, keep the count."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_deepchecks.records.checks.unique import UniqueIds
from airflow_provider_deepchecks.records.quarantine import Quarantine, beside
from airflow_provider_deepchecks.records.reasons import Reason
from airflow_provider_deepchecks.records.report import CheckReport, Rule, too_many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    import pyarrow as pa

    from airflow_provider_deepchecks.records.checks.checked import Checked
    from airflow_provider_deepchecks.records.checks.checker import Checker
    from airflow_provider_deepchecks.records.set_aside import SetAside
    from airflow_provider_deepchecks.records.sources.source import Source

log = logging.getLogger(__name__)

#: Seconds between two lines of progress in the log.
LOG_EVERY = 10.0


@dataclass(frozen=True)
class BadRowRules:
    """What happens to rows that cannot be sent.

    :param on_invalid: ``fail``: nothing more is sent. ``quarantine``: they are set aside, the others go.
    :param on_late: the same for rows older than the version's newest sample, or ``send``.
    :param max_invalid: most rows set aside: a count (int), a share (float), or None for any number.
    :param quarantine_path: Parquet file for them; a path, URL or ObjectStoragePath.
    :param part: run of a task, and which of its mapped tasks this is: none replaces the file of another one.
    """

    on_invalid: Literal["fail", "quarantine"] = "fail"
    on_late: Literal["fail", "send", "quarantine"] = "fail"
    max_invalid: int | float | None = None
    quarantine_path: Any = None
    part: tuple[str, int] | None = None

    def errors_path(self) -> Any:
        """The file beside the quarantine's for what the server lists about the rows later; a mapped task has
        its own, since the quarantine's path may be shared by tasks none of which sets rows aside.
        """
        index = -1 if self.part is None else self.part[1]
        return beside(self.quarantine_path, "errors" if index < 0 else f"errors-{index}")

    def broken(self, checked: Checked) -> set[Rule]:
        """The rules by which a batch holds a bad row that must not be passed over."""
        kinds = {
            Rule.NO_LATE if finding.reason is Reason.LATE else Rule.NO_INVALID for finding in checked.findings
        }
        forbidden = {Rule.NO_INVALID: self.on_invalid == "fail", Rule.NO_LATE: self.on_late == "fail"}
        return {rule for rule in kinds if forbidden[rule]}


class Intake:
    """One reading of a source, from its first row; a context manager that keeps the quarantine.

    :param source: the rows.
    :param new_checker: makes the checker of a reading.
    :param rules: what happens to bad rows.
    :param set_aside_late: sets aside the late rows of a batch; None to send them.
    :param watermark: time of the version's newest sample, for the error about late rows.
    :param set_aside: collects ids and reasons of bad rows.
    """

    def __init__(
        self,
        source: Source,
        new_checker: Callable[[], Checker],
        rules: BadRowRules,
        *,
        set_aside_late: Callable[[Checked], Checked] | None = None,
        watermark: datetime | None = None,
        set_aside: SetAside | None = None,
    ) -> None:
        self.report = CheckReport()
        #: All rows are read, so that the report is final.
        self.complete = False
        self.quarantine = (
            None if rules.quarantine_path is None else Quarantine(rules.quarantine_path, part=rules.part)
        )
        self._source = source
        self._new_checker = new_checker
        self._rules = rules
        self._set_aside_late = set_aside_late
        self._watermark = watermark
        self._set_aside = set_aside

    def __enter__(self) -> Intake:
        if self.quarantine is not None:
            self.quarantine.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self.quarantine is not None:
            self.quarantine.__exit__(*exc)

    def batches(self, between: Callable[[], None] = lambda: None) -> Iterator[pa.RecordBatch]:
        """The rows that can be sent, as wire batches in the source's order. Called again, it starts anew.

        Once a row is found that must not be passed over no more rows come, but the rest is still checked, so
        that the error tells all there is to mend.

        :param between: called for each batch read, before it is counted or kept; raises to stop.
        :raises DeepchecksColumnsError: the source's columns do not fit, before the first row.
        :raises DeepchecksInvalidRowsError: after the last row was read.
        """
        self.report, self.complete = CheckReport(), False
        if self.quarantine is not None:
            self.quarantine.discard()
        if self._set_aside is not None:
            self._set_aside.discard()
        rules, report = self._rules, self.report
        broken: set[Rule] = set()
        for checked in self._checked():
            between()
            report.add(checked)
            if checked.findings:
                broken |= rules.broken(checked)
                if self.quarantine is not None:
                    self.quarantine.add(checked)
                if self._set_aside is not None:
                    self._set_aside.add(checked)
                if too_many(report.bad, report.read, rules.max_invalid, complete=False):
                    broken.add(Rule.LIMIT)
            if not broken:
                yield checked.rows
        self.complete = True
        if too_many(report.bad, report.read, rules.max_invalid, complete=True):
            broken.add(Rule.LIMIT)
        if broken:
            raise report.error(broken, limit=rules.max_invalid, watermark=self._watermark)
        if report.bad:
            log.warning("%s", report.text())

    def check(self, between: Callable[[], None] | None = None) -> CheckReport:
        """Check all rows and give none: a dry run.

        :param between: called between two batches; raises to stop.
        """
        for checked in self._checked():
            self.report.add(checked)
            if between is not None:
                between()
        self.complete = True
        return self.report

    def good_rows(self) -> Iterator[pa.RecordBatch]:
        """Read the source once more for its valid rows, late ones included; nothing is counted or kept."""
        for checked in self._read():
            yield checked.rows

    def _checked(self) -> Iterator[Checked]:
        logged = time.monotonic()
        for checked in self._read():
            yield checked if self._set_aside_late is None else self._set_aside_late(checked)
            if time.monotonic() - logged >= LOG_EVERY:
                logged = time.monotonic()
                log.info("%s rows read and checked.", f"{self.report.read:,}")

    def _read(self) -> Iterator[Checked]:
        position, bound = 0, False
        checker = self._new_checker()
        with UniqueIds() as unique, closing(self._source.batches()) as batches:  # type: ignore[type-var]
            for batch in batches:
                if not bound:
                    checker.bind(batch.schema, untyped=self._source.untyped)
                    bound = True
                yield unique.check(checker.check(batch, position))
                position += batch.num_rows
