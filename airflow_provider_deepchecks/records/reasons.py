# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Why a row cannot be sent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

#: An Arrow array. pyarrow's own stubs exist in some of its versions only, and have a type for each type of
#: values.
Array: TypeAlias = Any
#: One flag a row.
Mask = npt.NDArray[np.bool_]

#: Characters of a value that an error shows.
SHOWN = 80


class Reason(StrEnum):
    """The reasons, in words that do not change, so that they can be counted and searched for."""

    ID_MISSING = "sample id is missing"
    ID_EMPTY = "sample id is empty"
    ID_TOO_LONG = "sample id is over 2,000 bytes"
    ID_REPEATED = "sample id twice in this run"
    TIME_MISSING = "time is missing"
    TIME_UNREADABLE = "not a time"
    TIME_NAIVE = "time has no zone"
    TIME_AMBIGUOUS = "local time exists twice or not at all"
    TIME_WRONG_UNIT = "time is in another unit"
    TIME_BEFORE_1970 = "time is before 1970"
    TIME_IN_FUTURE = "time is in the future"
    TIME_OUT_OF_RANGE = "time is outside the years 1 to 9999"
    LATE = "time is older than the version's newest sample"
    MISSING = "value is missing"
    NOT_FINITE = "NaN or infinite"
    NOT_A_NUMBER = "not a number"
    NOT_WHOLE = "not a whole number"
    OUT_OF_RANGE = "number is out of range"
    NOT_A_BOOLEAN = "neither true nor false"
    NUL_CHARACTER = "text holds a NUL character"
    NOT_UTF8 = "text is not valid Unicode"
    UNKNOWN_CLASS = "class is unknown to the version"
    THIRD_CLASS = "third class of a binary model"
    PROBABILITY_COUNT = "wrong number of probabilities"
    PROBABILITY_MISSING = "a probability is missing"
    ELEMENT_MISSING = "list holds a missing value"
    ROW_TOO_LARGE = "row is over 900,000 bytes"


@dataclass(frozen=True)
class Problem:
    """What is wrong in one column of a batch.

    :param reason: the reason.
    :param rows: one flag a row of the batch.
    :param explain: row of the batch -> the reason for this row, with the value.
    """

    reason: Reason
    rows: Mask
    explain: Callable[[int], str]


@dataclass(frozen=True)
class Finding:
    """One reason of the bad rows of a batch.

    :param column: the source's column, None when the row as a whole is meant.
    :param reason: the reason.
    :param rows: numbers of the rows in the batch, ascending.
    :param explain: row of the batch -> the reason for this row, with the value.
    """

    column: str | None
    reason: Reason
    rows: npt.NDArray[np.int64]
    explain: Callable[[int], str]


@dataclass(frozen=True)
class BadRow:
    """One reason of one row.

    :param position: the row's number in the source, from 0.
    :param sample_id: its id as text, None when it has none.
    :param column: the source's column, None when the row as a whole is meant.
    :param reason: the reason, countable.
    :param detail: the reason with the value.
    """

    position: int
    sample_id: str | None
    column: str | None
    reason: str
    detail: str


def shown(value: Any) -> str:
    """A value for a message, cut when it is long.

    :param value: a value of the source.
    """
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def counted(rows: int, noun: str = "rows") -> str:
    """A number of rows for a message: ``1 row``, ``2 rows``.

    :param rows: the number.
    :param noun: what they are called when they are many.
    """
    return f"{rows:,} {noun.removesuffix('s') if rows == 1 else noun}"
