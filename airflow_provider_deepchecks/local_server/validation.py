# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What becomes of each row: stored, refused with a reason, or the ruin of its whole request.

Row by row this is the JSON schema of the version, checked by fastjsonschema as on the server: its wording.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fastjsonschema

from airflow_provider_deepchecks.local_server.clock import to_datetime, to_microseconds
from airflow_provider_deepchecks.local_server.errors import ServerFault
from airflow_provider_deepchecks.local_server.schema import LABEL, LOGGED_TIME, PROBABILITIES, SAMPLE_ID, TIME
from airflow_provider_deepchecks.local_server.times import (
    DATE_TIME_PATTERN,
    parse_time,
    python_repr,
    zone_name,
)

#: PostgreSQL refuses an index entry of more bytes than this, after compressing it.
MAX_INDEXED_BYTES = 2_704

Row = dict[str, Any]
Validate = Callable[[Row], Any]


@dataclass(frozen=True)
class Refusal:
    """A row that is not stored, as ingestion-errors lists it."""

    sample_id: Any
    error: str
    sample: str


@dataclass(frozen=True)
class Sample:
    """A row that passed all checks of its own.

    :param time: microseconds since 1970.
    :param text: the row as JSON.
    :param logged: when the server got it, in microseconds since 1970.
    """

    id: str
    time: int
    row: Row
    text: str
    logged: int


def compile_schema(schema: dict[str, Any]) -> Validate:
    """A function that checks one row.

    The library's own pattern for times refuses impossible days; the server's older one lets them pass.
    """
    validate: Validate = fastjsonschema.compile(schema, formats={"date-time": DATE_TIME_PATTERN})
    return validate


def reason(validate: Validate, row: Row) -> str | None:
    """Why a row breaks its schema, None when it does not."""
    try:
        validate(row)
    except fastjsonschema.JsonSchemaValueException as error:
        return str(error.message)
    return None


def sort_samples(
    rows: Iterable[tuple[Row, int]], validate: Validate, now: int, *, has_classes: bool
) -> tuple[list[Sample], list[Refusal]]:
    """Sort the rows of a request, or of a poll, into good and refused ones.

    :param rows: rows with the time the server got each.
    :param now: the server's time; a sample from after it is refused.
    :param has_classes: whether the version takes probabilities.
    :raises ServerFault: when a row has an impossible time.
    """
    good: dict[str, Sample] = {}
    refused: list[Refusal] = []
    for row, logged in rows:
        if has_classes:
            row.setdefault(PROBABILITIES, None)
        sample_id = row.get(SAMPLE_ID)
        if (error := reason(validate, row)) is not None:
            refused.append(Refusal(sample_id, f"Exception: {error}, for id: {sample_id}", repr(row)))
            continue
        moment = parse_time(row[TIME])
        sample = Sample(row[SAMPLE_ID], to_microseconds(moment), row, "", logged)
        if sample.time > now:
            error = f"Got future timestamp: {moment.isoformat()}, for sample id: {sample_id}"
            refused.append(Refusal(sample_id, error, row_repr(sample)))
        elif sample.id in good:
            refused.append(Refusal(sample_id, f"Got duplicate sample id: {sample_id}", row_repr(sample)))
        else:
            good[sample.id] = sample
    return list(good.values()), refused


def with_text(samples: Iterable[Sample]) -> Iterator[Sample]:
    """The samples with the text they are stored as.

    :raises ServerFault: when the database cannot hold one of them.
    """
    for sample in samples:
        yield Sample(sample.id, sample.time, sample.row, storable_json(sample.id, sample.row), sample.logged)


def sort_labels(rows: Iterable[Row], validate: Validate) -> tuple[dict[str, Any], list[Refusal]]:
    """Sort labels into good ones by sample id and refused ones; within a request the first of an id wins."""
    good: dict[str, Any] = {}
    refused: list[Refusal] = []
    for row in rows:
        sample_id = row.get(SAMPLE_ID)
        if (error := reason(validate, row)) is not None:
            error = f"Exception saving label: {error}, for id: {sample_id}"
            refused.append(Refusal(sample_id, error, repr(row)))
        elif sample_id in good:
            error = f"Got duplicate label for sample id: {sample_id}. {row[LABEL]} vs {good[sample_id]}"
            refused.append(Refusal(sample_id, error, repr(row)))
        else:
            good[row[SAMPLE_ID]] = row[LABEL]
    return good, refused


def already_stored(sample: Sample) -> Refusal:
    """The first write of an id wins; this is how the later ones are listed."""
    return Refusal(sample.id, f"Duplicate index on log for id {sample.id}", row_repr(sample))


def listable(refusals: Iterable[Refusal]) -> list[Refusal]:
    """The refusals as far as the server manages to list them: none when one of them has an unusable id."""
    refusals = list(refusals)
    for refusal in refusals:
        if not isinstance(refusal.sample_id, str | None) or not _is_storable(
            f"{refusal.sample_id}{refusal.error}"
        ):
            return []
    return refusals


def storable_json(sample_id: str, value: Any) -> str:
    """A value as the text it is stored as.

    :param sample_id: its sample id, which the database has an index on; measured for samples, the ids of
        labels are taken to be no better off.
    :raises ServerFault: when PostgreSQL cannot hold one of the two: a NUL character, a lone surrogate, an id
        too long to index.
    """
    text = json.dumps(value, ensure_ascii=False)
    # The first test is cheap and may be wrong, since a text may also hold a backslash before "u0000".
    nul = "\\u0000" in text and _holds_nul(value)
    if nul or not _is_storable(text) or not _is_storable(sample_id):
        raise ServerFault(f"row {sample_id!r} cannot be stored")
    if len(sample_id) > MAX_INDEXED_BYTES // 4 and _compressed(sample_id) > MAX_INDEXED_BYTES:
        raise ServerFault("sample id too long for the index")
    return text


def row_repr(sample: Sample) -> str:
    """A row as ingestion errors show it once its time was read."""
    moment = parse_time(sample.row[TIME])
    logged = python_repr(to_datetime(sample.logged), "UTC")
    parts = [
        f"{name!r}: {python_repr(moment, zone_name(moment, value)) if name == TIME else repr(value)}"
        for name, value in sample.row.items()
    ]
    return "{" + ", ".join([*parts, f"{LOGGED_TIME!r}: {logged}"]) + "}"


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_holds_nul(item) for pair in value.items() for item in pair)
    return isinstance(value, list) and any(map(_holds_nul, value))


def _compressed(text: str) -> int:
    # PostgreSQL's compression finds repetitions and does no more; fixed codes come close to that.
    packer = zlib.compressobj(strategy=zlib.Z_FIXED)
    return len(packer.compress(text.encode())) + len(packer.flush())
