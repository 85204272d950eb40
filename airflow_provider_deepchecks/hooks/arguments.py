# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""From sequences, as :meth:`DeepchecksHook.log_batch` takes them, to one dict of named columns.

The columns that are no data get the server's own names, which no column of the data may have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from airflow_provider_deepchecks.exceptions import DeepchecksColumnsError, DeepchecksConfigError
from airflow_provider_deepchecks.records.columns import LABEL, PREDICTION, PROBABILITIES, SAMPLE_ID

#: The rows' times, as the server names them.
TIMESTAMP = "_dc_time"


def sample_columns(
    sample_ids: Any, data: Any, predictions: Any, prediction_probas: Any, timestamps: Any
) -> dict[str, Any]:
    """Columns of a batch of samples; see :meth:`DeepchecksHook.log_batch` for the arguments.

    :raises DeepchecksConfigError: an argument is no sequence, or they differ in length.
    :raises DeepchecksColumnsError: the data has a column of a name that is taken.
    """
    given = {"sample_ids": sample_ids, "predictions": predictions}
    if timestamps is not None:
        given["timestamps"] = timestamps
    sequences = {name: _sequence(name, values) for name, values in given.items()}
    if prediction_probas is not None:
        sequences["prediction_probas"] = _probabilities(prediction_probas)
    columns = _data_columns(data)
    _same_length(sequences, columns)
    names = {
        "sample_ids": SAMPLE_ID,
        "timestamps": TIMESTAMP,
        "predictions": PREDICTION,
        "prediction_probas": PROBABILITIES,
    }
    taken = sorted(set(columns) & set(names.values()))
    if taken:
        raise DeepchecksColumnsError(
            f"data has a column {taken[0]!r}: ids, times, predictions and probabilities are arguments of "
            f"their own."
        )
    return {names[name]: values for name, values in sequences.items()} | columns


def label_columns(sample_ids: Any, labels: Any) -> dict[str, Any]:
    """Columns of a batch of labels.

    :raises DeepchecksConfigError: an argument is no sequence, or they differ in length.
    """
    sequences = {"sample_ids": _sequence("sample_ids", sample_ids), "labels": _sequence("labels", labels)}
    _same_length(sequences, {})
    return {SAMPLE_ID: sequences["sample_ids"], LABEL: sequences["labels"]}


def _sequence(name: str, values: Any) -> Any:
    """A column as it is; what can be gone through only once becomes a list."""
    problem = DeepchecksConfigError(
        f"{name} is {type(values).__name__}: give a sequence (Series, array or list) with one value a sample."
    )
    # A text is one value, and a set has no order by which its values belong to samples.
    if values is None or isinstance(values, str | bytes | Mapping | Set):
        raise problem
    if len(getattr(values, "shape", ())) > 1:
        raise DeepchecksConfigError(f"{name} has {len(values.shape)} dimensions: give one value a sample.")
    if hasattr(values, "__len__"):
        return values
    try:
        return list(values)
    except TypeError:
        raise problem from None


def in_class_order(probas: Any, classes: Sequence[str] | None) -> Any:
    """Probabilities with their columns in the order of the classes, where they bear the classes' names.

    Other names say nothing, and the columns stay as they are.

    :param classes: of the version, sorted; None when it declares none.
    :raises DeepchecksConfigError: some columns bear names of classes, and others do not.
    """
    given = _names(probas)
    names = [str(name) for name in given]
    known = set(classes or ())
    # Counted columns are what pandas makes of an array.
    if given == list(range(len(given))) or not known.intersection(names) or names == list(classes or ()):
        return probas
    if sorted(names) != sorted(known):
        raise DeepchecksConfigError(
            f"prediction_probas has the columns {', '.join(map(repr, names))}, the version the classes "
            f"{', '.join(map(repr, sorted(known)))}: give one column a class, or an array without names, "
            "classes sorted."
        )
    order = [names.index(name) for name in classes or ()]
    if hasattr(probas, "iloc"):
        return probas.iloc[:, order]
    if hasattr(probas, "get_column"):
        # Not by Polars' select(), which enters its thread pool: that hangs in a forked task.
        return type(probas)([probas.get_column(given[place]) for place in order])
    return probas.select([given[place] for place in order])


def _names(probas: Any) -> list[Any]:
    """Names of the columns of a frame or a table; none for what has no names."""
    for attribute in ("column_names", "columns"):
        names = getattr(probas, attribute, None)
        if names is not None and not callable(names) and hasattr(probas, "shape"):
            # An Arrow table calls its columns' data `columns`, and their names `column_names`.
            return list(names)
    return []


def _probabilities(values: Any) -> Any:
    """One list of probabilities a sample, from anything with two dimensions."""
    import pyarrow as pa

    if len(getattr(values, "shape", ())) == 2:
        try:
            matrix = _matrix(values)
        except (TypeError, ValueError) as error:
            raise DeepchecksConfigError(f"prediction_probas holds what is no number: {error}.") from error
        if matrix.shape[1] > 0:
            return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    if isinstance(values, pa.Array | pa.ChunkedArray) and pa.types.is_nested(values.type):
        return values
    rows = list(_sequence("prediction_probas", values))
    first = next((row for row in rows if row is not None), ())
    if isinstance(first, str | bytes | Mapping) or not hasattr(first, "__len__"):
        raise DeepchecksConfigError(
            "prediction_probas has one dimension: give one row a sample, one column a class, classes sorted."
        )
    return [None if row is None else list(row) for row in rows]


def _matrix(values: Any) -> Any:
    """Two dimensions of anything as doubles, row by row; missing ones are NaN."""
    import numpy as np

    if hasattr(values, "iloc"):
        values = values.to_numpy(np.float64, na_value=np.nan)
    elif hasattr(values, "get_columns") and values.width:
        # Column by column, since Polars makes an array of a whole frame in its thread pool.
        values = np.column_stack([column.to_numpy() for column in values.get_columns()])
    return np.ascontiguousarray(np.asarray(values), dtype=np.float64)


def _data_columns(data: Any) -> dict[str, Any]:
    """Features and additional data by name, without copying what is a column already."""
    if data is None:
        return {}
    if isinstance(data, Mapping):
        return {str(name): values for name, values in data.items()}
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        # pandas, whose columns may be named twice; by position the index of the frame plays no part.
        pairs = [(str(name), data.iloc[:, position]) for position, name in enumerate(data.columns)]
    else:
        import pyarrow as pa

        from airflow_provider_deepchecks.records.sources.frames import open_frame

        batches = list(open_frame(data).batches())
        try:
            table = pa.Table.from_batches(batches) if batches else pa.table({})
        except pa.ArrowInvalid as error:
            raise DeepchecksConfigError(
                f"The parts of data differ in the types of their columns ({error}): give them one type, or "
                "one frame."
            ) from error
        pairs = list(zip(table.column_names, table.columns, strict=True))
    columns = dict(pairs)
    if len(columns) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = sorted({name for name in names if names.count(name) > 1})
        raise DeepchecksColumnsError(f"data has several columns named {doubled[0]!r}.")
    return columns


def _same_length(sequences: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
    lengths = {name: len(values) for name, values in sequences.items()}
    lengths |= {
        f"data[{name!r}]": len(values) for name, values in columns.items() if hasattr(values, "__len__")
    }
    wanted = lengths["sample_ids"]
    other = {name: length for name, length in lengths.items() if length != wanted}
    if other:
        name, length = next(iter(other.items()))
        raise DeepchecksConfigError(
            f"sample_ids has {wanted} values, {name} has {length}: give one a sample."
        )
