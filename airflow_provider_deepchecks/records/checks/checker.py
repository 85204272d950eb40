# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Checking rows before they are sent: what the server would refuse, lose or choke on is found here.

A :class:`Checker` turns batches of a source into wire batches, whose columns are told in
:mod:`~airflow_provider_deepchecks.records.checks.schema`, and sets aside the rows that cannot be sent, each
with all its reasons.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.exceptions import DeepchecksColumnsError, DeepchecksConfigError
from airflow_provider_deepchecks.records.casts.cast import Cast, masked, null_where
from airflow_provider_deepchecks.records.casts.numbers import (
    cast_boolean,
    cast_integer,
    cast_list,
    cast_number,
    cast_probabilities,
)
from airflow_provider_deepchecks.records.casts.texts import (
    byte_lengths,
    cast_id,
    cast_text,
    is_text,
    is_uuid,
    plain_text,
)
from airflow_provider_deepchecks.records.casts.times import (
    INSTANT,
    TimestampUnit,
    cast_sample_time,
    cast_time,
    check_unit,
    check_zone,
)
from airflow_provider_deepchecks.records.checks.binding import check_columns
from airflow_provider_deepchecks.records.checks.checked import Checked
from airflow_provider_deepchecks.records.checks.classes import ClassRule
from airflow_provider_deepchecks.records.checks.limits import without_large_rows
from airflow_provider_deepchecks.records.checks.schema import Field, Kind, RecordSchema, wire_type
from airflow_provider_deepchecks.records.columns import POSITION
from airflow_provider_deepchecks.records.reasons import Array, BadRow, Finding, Problem, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BadRow", "CheckOptions", "Checked", "Checker"]

NonFinite = Literal["null", "invalid"]

#: The server tells its time in whole seconds (``Date``), so its clock is known to a second.
CLOCK_TOLERANCE = timedelta(seconds=1)
#: Rows without a time get the time of the run's start, and a moment less so that the server does not see the
#: future.
START_MARGIN = timedelta(seconds=2)

_MISSING = {Kind.ID: Reason.ID_MISSING, Kind.TIME: Reason.TIME_MISSING}


@dataclass(frozen=True)
class CheckOptions:
    """How rows are read where there is a choice.

    :param timezone: zone of times that have none: an IANA name or "UTC". None: such times are an error.
    :param timestamp_unit: unit of numeric times: "s", "ms", "us" or "ns"; None is seconds. Numbers that are
        plausible in another unit only are bad rows which say so.
    :param non_finite: NaN and infinities become "null", or make the row "invalid". A prediction, a
        probability or a label of a label upload is never null, so there they are always invalid.
    :param default_time: time of all rows when the source has no time column, UTC; None is the start of the
        run.
    :raises DeepchecksConfigError: a value that is none of these.
    """

    timezone: str | None = None
    timestamp_unit: TimestampUnit | None = None
    non_finite: NonFinite = "null"
    default_time: datetime | None = None

    def __post_init__(self) -> None:
        check_zone(self.timezone)
        check_unit(self.timestamp_unit)
        if self.non_finite not in get_args(NonFinite):
            raise DeepchecksConfigError(
                f"non_finite={self.non_finite!r} is unknown: give 'null' or 'invalid'."
            )
        if self.default_time is not None and self.default_time.tzinfo is None:
            raise DeepchecksConfigError("default_time has no zone: give a timezone-aware datetime.")


class Checker:
    """Checks the batches of one source, in order; :meth:`bind` comes first.

    :param schema: the columns wanted.
    :param options: how rows are read where there is a choice.
    :param now: the server's time, known to a second; asked once a batch.
    """

    def __init__(self, schema: RecordSchema, options: CheckOptions, *, now: Callable[[], datetime]) -> None:
        self.schema = schema
        self.options = options
        self._now = now
        self._untyped = False
        self._plan: list[tuple[Field, list[int]]] | None = None
        self._bound: pa.Schema | None = None
        self._start = options.default_time or now() - START_MARGIN
        self._class_rules = {wanted.name: ClassRule(wanted) for wanted in schema.fields}

    def bind(self, source_schema: pa.Schema, *, untyped: bool = False) -> None:
        """Find the source's columns.

        :param source_schema: the source's columns.
        :param untyped: the source has text for everything (CSV): text may be any type, and empty text is no
            value, except in text columns.
        :raises DeepchecksColumnsError: columns that are missing, unknown, named twice, or of a type that
            cannot be meant. All of them are named.
        """
        check_columns(self.schema, source_schema, untyped=untyped)
        self._untyped, self._bound = untyped, source_schema
        self._plan = [
            (wanted, [source_schema.get_field_index(name) for name in wanted.source])
            for wanted in self.schema.fields
            if all(name in source_schema.names for name in wanted.source)
        ]

    def check(self, batch: pa.RecordBatch, first_position: int) -> Checked:
        """Cast and check a batch. One whose types are others than those of the batch before is bound anew.

        :param batch: rows of the source that was bound.
        :param first_position: number of its first row in the source, from 0.
        :raises DeepchecksColumnsError: columns changed to a type that cannot be meant.
        """
        if self._plan is None or self._bound is None:
            raise RuntimeError("Checker.bind comes before Checker.check")
        if not batch.schema.equals(self._bound):
            self._bind_anew(batch.schema, first_position)
        now = self._now()
        names, arrays, findings = [POSITION], [_positions(first_position, batch.num_rows)], []
        readable = [
            [self._readable(wanted, batch.column(index)) for index in indices]
            for wanted, indices in self._plan
        ]
        casts = [
            self._cast(wanted, columns, batch.num_rows, now)
            for (wanted, _), columns in zip(self._plan, readable, strict=True)
        ]
        good = np.ones(batch.num_rows, dtype=bool)
        for problem in (problem for cast in casts for problem in cast.problems):
            good &= ~problem.rows
        for (wanted, _), columns, cast in zip(self._plan, readable, casts, strict=True):
            if wanted.kind is Kind.CLASS:
                # Last, because a row that cannot be sent does not tell the model's classes.
                cast = self._class_rules[wanted.name].check(cast, columns[0], good)
            names.append(wanted.name)
            arrays.append(cast.values)
            label = ", ".join(wanted.source) or None
            findings += [Finding(label, p.reason, np.flatnonzero(p.rows), p.explain) for p in cast.problems]
        rows = pa.RecordBatch.from_arrays(arrays, names=names)
        checked = Checked(batch, first_position, rows, tuple(findings), self._plan[0][0].source[0])
        if findings:
            good = np.ones(batch.num_rows, dtype=bool)
            good[checked.bad_indices] = False
            checked = replace(checked, rows=rows.filter(pa.array(good)))
        return without_large_rows(checked)

    def _bind_anew(self, schema: pa.Schema, position: int) -> None:
        try:
            self.bind(schema, untyped=self._untyped)
        except DeepchecksColumnsError as error:
            raise DeepchecksColumnsError(
                f"The source's types change from row {position + 1:,} on. {error}"
            ) from None

    # -- one column ------------------------------------------------------------------------------------------

    def _readable(self, wanted: Field, values: Array) -> Array:
        """The values without wrapping types, and without the empty texts of an untyped source."""
        while not is_uuid(values.type):
            if isinstance(values, pa.ExtensionArray):
                values = values.storage
            elif pa.types.is_dictionary(values.type):
                values = values.dictionary_decode()
            elif pa.types.is_run_end_encoded(values.type):
                values = pc.call_function("run_end_decode", [values])
            else:
                break
        if pa.types.is_null(values.type) and len(wanted.source) > 1:  # one class without any probability
            return values.cast(pa.float64())
        if self._untyped and is_text(values.type) and wanted.kind not in (Kind.TEXT, Kind.ID):
            empty = byte_lengths(plain_text(values)) == 0
            if empty.any():
                values = null_where(values, empty)
        return values

    def _cast(self, wanted: Field, columns: list[Array], rows: int, now: datetime) -> Cast:
        if not columns:  # the source has no time
            return Cast(pa.repeat(pa.scalar(self._start, INSTANT), rows))
        values = columns[0]
        if pa.types.is_null(values.type):
            cast = Cast(values.cast(wire_type(wanted.kind)))
        else:
            cast = self._cast_kind(wanted, columns, now)
        if wanted.nullable or not values.null_count:
            return cast
        reason = _MISSING.get(wanted.kind, Reason.MISSING)
        missing = Problem(reason, masked(values.is_null()), lambda _: reason)
        return Cast(cast.values, (*cast.problems, missing))

    def _cast_kind(self, wanted: Field, columns: list[Array], now: datetime) -> Cast:
        values, options = columns[0], self.options
        # What may not be missing may not become null either.
        non_finite = options.non_finite if wanted.nullable else "invalid"
        match wanted.kind:
            case Kind.ID:
                return cast_id(values)
            case Kind.TIME:
                return cast_sample_time(
                    values,
                    timezone=options.timezone,
                    unit=options.timestamp_unit,
                    now=now,
                    tolerance=CLOCK_TOLERANCE,
                )
            case Kind.DATETIME:
                return cast_time(values, timezone=options.timezone, unit=options.timestamp_unit)
            case Kind.NUMBER:
                return cast_number(values, non_finite=non_finite)
            case Kind.INTEGER:
                return cast_integer(
                    values, minimum=wanted.minimum, maximum=wanted.maximum, non_finite=non_finite
                )
            case Kind.BOOLEAN:
                return cast_boolean(values, non_finite=non_finite)
            case Kind.TEXT | Kind.CLASS:
                return _finite_text(values, non_finite)
            case Kind.PROBABILITIES:
                return cast_probabilities(columns, len(wanted.classes or ()))
            case Kind.LIST:
                return cast_list(values, depth=1, non_finite=non_finite, nulls=wanted.null_elements)
            case Kind.LIST_2D:
                return cast_list(values, depth=2, non_finite=non_finite, nulls=wanted.null_elements)


def _positions(first: int, rows: int) -> Array:
    return pa.array(np.arange(first, first + rows, dtype=np.int64))


def _finite_text(values: Array, non_finite: str) -> Cast:
    """Text; NaN among numbers is no category."""
    if not pa.types.is_floating(values.type):
        return cast_text(values)
    numbers = cast_number(values, non_finite=non_finite)
    if numbers.values.null_count != values.null_count:
        values = null_where(values, masked(numbers.values.is_null()))
    return Cast(cast_text(values).values, numbers.problems)
