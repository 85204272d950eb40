# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Whether a source has the columns that its rows need, before a row is read."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from airflow_provider_deepchecks.exceptions import DeepchecksColumnsError
from airflow_provider_deepchecks.records.batches import KNOWN_EXTENSIONS, extension_of
from airflow_provider_deepchecks.records.casts.numbers import is_number, list_depth
from airflow_provider_deepchecks.records.casts.texts import is_text, is_uuid
from airflow_provider_deepchecks.records.checks.schema import Field, Kind, RecordSchema
from airflow_provider_deepchecks.records.columns import (
    LABEL,
    PREDICTION,
    PROBABILITIES,
    SAMPLE_ID,
    TIME,
    guesses,
    named,
    nearest,
)

#: Names on the wire that no column_mapping can give, and the settings that name their columns.
_SETTINGS = {
    SAMPLE_ID: "sample_id_column",
    TIME: "timestamp_column",
    PREDICTION: "prediction_column",
    PROBABILITIES: "prediction_probas_columns",
    LABEL: "label_column",
}


def check_columns(schema: RecordSchema, source: pa.Schema, *, untyped: bool) -> None:
    """Whether a source has the columns, and in types that can hold them. All that is wrong is told at once.

    :param schema: the columns wanted.
    :param source: the source's columns.
    :param untyped: the source has text for everything (CSV), so text may be any type.
    :raises DeepchecksColumnsError: columns that are missing, unknown, named twice, or of a type that cannot
        be meant.
    """
    wrong: list[str] = []
    doubled = [name for name, times in Counter(source.names).items() if times > 1]
    if doubled:
        wrong.append(f"The source has several columns named {named(doubled)}: give each its own name.")
    used = {name for wanted in schema.fields for name in wanted.source}
    missing = {
        name: _SETTINGS.get(wanted.name)
        for wanted in schema.fields
        if wanted.required
        for name in wanted.source
        if name not in source.names
    }
    spare = set(source.names) - used
    settings = [f"{setting}={name!r}" for name, setting in missing.items() if setting is not None]
    if settings:
        misnamed = [name for name, setting in missing.items() if setting is not None]
        wrong.append(
            f"{', '.join(settings)}: the source has no such column; it has "
            f"{named(source.names) + '.' if source.names else 'no column at all: is it empty?'} "
            f"{nearest(misnamed, spare)}".rstrip()
        )
    lacking = [name for name, setting in missing.items() if setting is None]
    if lacking:
        wrong.append(
            f"The source lacks {named(lacking)}, which the version needs: add the columns, or rename what "
            f"holds them (column_mapping= of an operator). {nearest(lacking, spare)}".rstrip()
        )
    if schema.unknown is not None:
        # What is meant by a misspelt name is told above.
        meant = set(guesses(missing, spare).values())
        unknown = [name for name in source.names if name not in used | schema.unknown | meant]
        declared = (wanted for wanted in schema.fields if wanted.name not in _SETTINGS)
        renamed = {wanted.name: wanted.source[0] for wanted in declared if wanted.name in unknown}
        for name, other in renamed.items():
            wrong.append(
                f"The source has {name!r}, and column_mapping renames {other!r} to it: leave one out."
            )
        unknown = [name for name in unknown if name not in renamed]
        if unknown:
            wrong.append(
                f"The version does not have {named(unknown)}: leave them out, or rename them "
                "(column_mapping= of an operator)."
            )
    for wanted in schema.fields:
        for name in wanted.source:
            if source.names.count(name) == 1:
                kind = source.field(name).type
                complaint = unknown_extension(source.field(name)) or misfit(wanted, kind, untyped=untyped)
                if complaint:
                    wrong.append(f"Column {name!r} is {kind}, wanted are {wanted.kind}: {complaint}.")
    if wrong:
        raise DeepchecksColumnsError(" ".join(wrong))


#: How to write extension types that are known to be met, as what is meant.
_REWRITE = {
    "pandas.period": "write periods as text with astype(str), or as times with dt.to_timestamp()",
    "pandas.interval": "write intervals as text with astype(str), or their bounds as columns",
}


def unknown_extension(source: pa.Field[Any]) -> str | None:
    """What to do about a column of an extension type, whose storage may mean anything; None for others.

    :param source: the source's column.
    """
    kind: Any = source.type
    while pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        kind = kind.value_type
    name = extension_of(source) or getattr(kind, "extension_name", None)
    if name is None or name in KNOWN_EXTENSIONS:
        return None
    return _REWRITE.get(name, f"the extension type {name!r} is not known here; write it as a plain type")


def misfit(wanted: Field, kind: pa.DataType, *, untyped: bool) -> str | None:
    """Why no value of an Arrow type can be meant for a column; None when it can.

    :param wanted: the column on the wire.
    :param kind: the type of the source's column.
    :param untyped: the source has text for everything (CSV).
    """
    kind = value_type(kind)
    if pa.types.is_null(kind):
        return None
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "decode the bytes to text, numbers or whatever they are"
    number, text = is_number(kind), is_text(kind)
    match wanted.kind:
        case Kind.ID:
            whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
            ok = text or whole or is_uuid(kind)
            why = "an id is text or an integer; 1.0 is not '1'" if number else "an id is text or an integer"
        case Kind.TIME:
            ok = text or number or pa.types.is_timestamp(kind) or pa.types.is_date(kind)
            why = "a time is a timestamp, a date, ISO 8601 text or a number of seconds since 1970"
        case Kind.DATETIME:
            ok = text or pa.types.is_timestamp(kind) or pa.types.is_date(kind)
            why = "a time is a timestamp, a date or ISO 8601 text"
        case Kind.TEXT | Kind.CLASS:
            ok = text or number or is_uuid(kind)
            why = "write the values as the text you mean ('True', 'true' and '1' are three categories)"
        case Kind.BOOLEAN:
            ok = pa.types.is_boolean(kind) or number or (text and untyped)
            why = "convert it to booleans, or to 0 and 1"
        case Kind.LIST | Kind.LIST_2D:
            ok = list_depth(kind) == (1 if wanted.kind is Kind.LIST else 2)
            why = "CSV has no lists; use Parquet or JSON lines" if text and untyped else "convert it"
        case Kind.PROBABILITIES:
            single = len(wanted.source) == 1
            ok = list_depth(kind) == 1 if single else number or (text and untyped)
            why = f"name one column a class ({named(wanted.classes or ())}), or one column of lists"
        case _:
            ok = number or (text and untyped)
            why = "convert it to numbers, for example by CAST in the query"
    return None if ok else why


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values themselves: without extension (but UUID), dictionary and run-length encoding."""
    if (
        isinstance(kind, pa.BaseExtensionType)
        and not is_uuid(kind)
        and kind.extension_name in KNOWN_EXTENSIONS
    ):
        return value_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return value_type(kind.value_type)
    return kind
