# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the rows of a version, or the labels of a model, have to look like.

A *wire batch* is an Arrow record batch with these columns, in this order:

=================================  =====================================================================
``__position``                     int64, never null: the row's number in the source, from 0
``_dc_sample_id``                  string, never null
``__time``                         timestamp[us, UTC], never null; absent from labels without a time column
``_dc_prediction``                 double (regression) or string (classification), never null; samples only
``_dc_prediction_probabilities``   list<double>, or null where a row has none; only when asked for
the version's columns              as below, null allowed; additional data that the source lacks is left out
``_dc_label``                      double or string; null in samples whose label is not known yet, and in
                                   labels where a label is to be taken back; only when asked for
=================================  =====================================================================

The version's columns: numeric is double (finite); integer and bigint are int64; boolean is bool; categorical
and text are string; array_float is list<double>; array_float_2d is list<list<double>>; datetime is
timestamp[us, UTC] in the years 1 to 9999. Text is valid UTF-8 without NUL. All batches of one source have the
same types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_deepchecks.exceptions import DeepchecksColumnsError, DeepchecksConfigError
from airflow_provider_deepchecks.records.casts.numbers import INT64
from airflow_provider_deepchecks.records.columns import (
    INTERNAL,
    LABEL,
    PREDICTION,
    PROBABILITIES,
    QUARANTINE_COLUMNS,
    SAMPLE_ID,
    SENT_TIME,
    TIME,
    Columns,
    named,
    nearest,
)

if TYPE_CHECKING:
    from airflow_provider_deepchecks.client.types import VersionSchema


class Kind(StrEnum):
    """What a column holds; the words are for messages."""

    ID = "sample ids"
    TIME = "sample times"
    CLASS = "classes"
    NUMBER = "numbers"
    INTEGER = "whole numbers"
    BOOLEAN = "booleans"
    TEXT = "text"
    DATETIME = "times"
    LIST = "lists of numbers"
    LIST_2D = "lists of lists of numbers"
    PROBABILITIES = "probabilities"


#: Deepchecks' column types.
KINDS = {
    "numeric": Kind.NUMBER,
    "integer": Kind.INTEGER,
    "bigint": Kind.INTEGER,
    "categorical": Kind.TEXT,
    "boolean": Kind.BOOLEAN,
    "text": Kind.TEXT,
    "array_float": Kind.LIST,
    "array_float_2d": Kind.LIST_2D,
    "datetime": Kind.DATETIME,
}
#: Integers over 32 bits are refused in integer columns (measured on server 0.19.3).
_BOUNDS = {"integer": (-(2**31), 2**31 - 1)}


def wire_type(kind: Kind) -> pa.DataType:
    """The Arrow type of a column on the wire.

    :param kind: what it holds.
    """
    return _WIRE_TYPES.get(kind, pa.string())


_WIRE_TYPES: dict[Kind, pa.DataType] = {
    Kind.TIME: pa.timestamp("us", "UTC"),
    Kind.DATETIME: pa.timestamp("us", "UTC"),
    Kind.NUMBER: pa.float64(),
    Kind.INTEGER: pa.int64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.LIST: pa.list_(pa.float64()),
    Kind.PROBABILITIES: pa.list_(pa.float64()),
    Kind.LIST_2D: pa.list_(pa.list_(pa.float64())),
}


@dataclass(frozen=True)
class Field:
    """One column on the wire.

    :param name: its name on the wire.
    :param kind: what it holds.
    :param source: the source's columns it is made of (several for probabilities).
    :param required: whether the source must have it.
    :param nullable: whether a row may have no value.
    :param minimum: smallest integer.
    :param maximum: largest integer.
    :param classes: the classes a row may have, None when any.
    :param open_classes: classes outside of ``classes`` are let through and told in the log.
    :param two_classes: at most two classes in a run (binary models whose classes are not declared).
    :param null_elements: whether a list may hold null.
    """

    name: str
    kind: Kind
    source: tuple[str, ...]
    required: bool = True
    nullable: bool = False
    minimum: int = INT64[0]
    maximum: int = INT64[1]
    classes: tuple[str, ...] | None = None
    open_classes: bool = False
    two_classes: bool = False
    null_elements: bool = False


@dataclass(frozen=True)
class RecordSchema:
    """The columns on the wire, and the source's columns that make them.

    :param fields: the columns on the wire, without ``__position``.
    :param unknown: names that the source may not have are told by being neither in a field's source nor here;
        None when other columns of the source are simply not read (labels).
    """

    fields: tuple[Field, ...]
    unknown: frozenset[str] | None = field(default_factory=frozenset)

    @classmethod
    def samples(cls, schema: VersionSchema, task_type: str, columns: Columns) -> RecordSchema:
        """The samples of a version, with their labels when ``columns.label`` is set.

        :param schema: the version's schema.
        :param task_type: regression, binary or multiclass.
        :param columns: which of the source's columns is what.
        :raises DeepchecksConfigError: the prediction column is not set.
        :raises DeepchecksColumnsError: a name that the version cannot have.
        """
        if columns.prediction is None:
            raise DeepchecksConfigError("prediction_column is not set: name the column of the predictions.")
        declared = {**schema.features, **schema.additional_data}
        _check_names(declared, columns)
        sources = {target: source for source, target in columns.mapping.items()}
        fields = [Field(SAMPLE_ID, Kind.ID, (columns.sample_id,)), _time(columns, nullable=False)]
        fields.append(_target(PREDICTION, columns.prediction, task_type, schema.classes))
        if columns.prediction_probas:
            fields.append(_probabilities(schema, columns))
        for name, column_type in declared.items():
            properties = schema.monitor_schema.get("properties", {}).get(name, {})
            fields.append(
                _declared(
                    name,
                    column_type,
                    properties,
                    sources.get(name, name),
                    # Who renames a column means that it is there.
                    required=name in schema.features or name in sources,
                )
            )
        if columns.label is not None:
            open_classes = task_type == "multiclass"
            fields.append(
                _target(
                    LABEL, columns.label, task_type, schema.classes, nullable=True, open_classes=open_classes
                )
            )
        return cls(tuple(fields), frozenset(columns.roles() | QUARANTINE_COLUMNS))

    @classmethod
    def labels(
        cls,
        task_type: str,
        columns: Columns,
        *,
        classes: tuple[str, ...] | None = None,
        allow_null: bool = False,
    ) -> RecordSchema:
        """The labels of a model: id and label, and the sample's time when ``columns.timestamp`` is set.

        Other columns of the source are not read.

        :param task_type: regression, binary or multiclass.
        :param columns: which of the source's columns is what.
        :param classes: the model's classes. A binary model drops a third one without a trace; a multiclass
            model takes any (measured on server 0.19.3).
        :param allow_null: null labels are sent; they take a label back.
        :raises DeepchecksConfigError: the label column is not set.
        """
        if columns.label is None:
            raise DeepchecksConfigError("label_column is not set: name the column of the labels.")
        fields = [Field(SAMPLE_ID, Kind.ID, (columns.sample_id,))]
        if columns.timestamp is not None:
            fields.append(_time(columns, nullable=True))
        open_classes = task_type == "multiclass"
        fields.append(
            _target(LABEL, columns.label, task_type, classes, nullable=allow_null, open_classes=open_classes)
        )
        return cls(tuple(fields), None)


def _time(columns: Columns, *, nullable: bool) -> Field:
    source = () if columns.timestamp is None else (columns.timestamp,)
    return Field(TIME, Kind.DATETIME if nullable else Kind.TIME, source, nullable=nullable)


def _target(
    name: str,
    source: str,
    task_type: str,
    classes: tuple[str, ...] | None,
    *,
    nullable: bool = False,
    open_classes: bool = False,
) -> Field:
    """A prediction or a label: a number for regression, a class otherwise."""
    if task_type == "regression":
        return Field(name, Kind.NUMBER, (source,), nullable=nullable)
    return Field(
        name,
        Kind.CLASS,
        (source,),
        nullable=nullable,
        classes=classes,
        open_classes=open_classes,
        two_classes=task_type == "binary" and classes is None,
    )


def _probabilities(schema: VersionSchema, columns: Columns) -> Field:
    if schema.classes is None:
        raise DeepchecksColumnsError(
            "The version declares no classes and so takes no probabilities: "
            "leave out prediction_probas_columns."
        )
    given = len(columns.prediction_probas)
    if given not in (1, len(schema.classes)):
        raise DeepchecksColumnsError(
            f"prediction_probas_columns names {given} columns, the version has {len(schema.classes)} classes "
            f"({named(schema.classes)}): name one column a class, in this order, or one column of lists."
        )
    return Field(
        PROBABILITIES, Kind.PROBABILITIES, columns.prediction_probas, nullable=True, classes=schema.classes
    )


def _declared(
    name: str, column_type: str, properties: Mapping[str, Any], source: str, *, required: bool
) -> Field:
    kind = KINDS.get(column_type)
    if kind is None:
        raise DeepchecksColumnsError(
            f"The version's column {name!r} is of the type {column_type!r}, which this provider does not "
            "know: a newer provider may."
        )
    low, high = _BOUNDS.get(column_type, INT64)
    items = properties.get("items", {})
    return Field(
        name,
        kind,
        (source,),
        required=required,
        nullable="null" in properties.get("type", ["null"]),
        minimum=max(int(properties.get("minimum", low)), INT64[0]),
        maximum=min(int(properties.get("maximum", high)), INT64[1]),
        null_elements="null" in (items.get("type", ()) if isinstance(items, Mapping) else ()),
    )


def _check_names(declared: Mapping[str, str], columns: Columns) -> None:
    taken = INTERNAL | {SAMPLE_ID, SENT_TIME, PREDICTION}
    if columns.prediction_probas:
        taken |= {PROBABILITIES}
    if columns.label is not None:
        taken |= {LABEL}
    clash = sorted(taken & declared.keys())
    if clash:
        raise DeepchecksColumnsError(
            f"The version has a column named {named(clash)}, which is the name of something else here: "
            "samples of this version cannot be sent" + (" together with labels." if clash == [LABEL] else ".")
        )
    strangers = [target for target in columns.mapping.values() if target not in declared]
    if strangers:
        raise DeepchecksColumnsError(
            f"column_mapping renames to {named(strangers)}, which the version does not have; it has "
            f"{named(declared)}. {nearest(strangers, declared)}".rstrip()
        )
