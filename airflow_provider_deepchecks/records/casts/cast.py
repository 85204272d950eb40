# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What every cast gives, a column and what is wrong in it, and the masks that casts work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.records.reasons import Array, Mask, Problem, Reason, shown


@dataclass(frozen=True)
class Cast:
    """A column in its wire type, and what is wrong in it.

    :param values: one value a row; the values of rows with a problem mean nothing.
    :param problems: what is wrong.
    """

    values: Array
    problems: tuple[Problem, ...] = ()


def masked(flags: Array) -> Mask:
    """Arrow flags as a mask, null as false."""
    mask: Mask = flags.fill_null(False).to_numpy(zero_copy_only=False).astype(bool, copy=False)
    return mask


def null_where(values: Array, mask: Mask) -> Array:
    """The values with null where the mask is set."""
    return pc.if_else(pa.array(mask), pa.scalar(None, values.type), values)


def outside(values: Array, minimum: int, maximum: int) -> Mask:
    """Which integers are not in a range.

    :param values: integers.
    :param minimum: smallest of the range.
    :param maximum: largest of the range.
    """
    low, high = pa.scalar(minimum, values.type), pa.scalar(maximum, values.type)
    return masked(pc.or_(pc.less(values, low), pc.greater(values, high)))


def value_problem(reason: Reason, mask: Mask, values: Array, hint: str = "") -> tuple[Problem, ...]:
    """One problem that shows the value of the source, or none when no row has it.

    :param reason: the reason.
    :param mask: one flag a row.
    :param values: the source's values.
    :param hint: what to add to the explanation.
    """
    if not mask.any():
        return ()
    return (Problem(reason, mask, lambda row: f"{reason}: {shown(cell(values, row))}{hint}"),)


def cell(values: Array, row: int) -> Any:
    """One value as Python has it; never raises.

    :param values: any Arrow array.
    :param row: number of the row.
    """
    scalar = values[row]
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.cast(pa.binary()).as_py().decode("utf-8", "backslashreplace")
    except (ValueError, OverflowError):  # times that Python's datetime cannot hold
        return str(scalar.cast(pa.int64()).as_py())
