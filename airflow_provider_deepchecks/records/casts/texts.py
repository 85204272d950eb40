# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Text: sample ids, classes and categories, and what the server cannot take in a text.

Arrow does not check that text from another producer is valid UTF-8, and one NUL character or lone surrogate
makes the server answer 500, or lose up to 500 neighbours with Kafka (measured on server 0.19.3).
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.records.casts.cast import Cast, masked, null_where, value_problem
from airflow_provider_deepchecks.records.reasons import Array, Problem, Reason

#: Longest sample id, in bytes of UTF-8: PostgreSQL indexes no 12,000 random characters (measured), 2,000 are
#: safe.
MAX_ID_BYTES = 2000


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view"


def is_uuid(kind: pa.DataType) -> bool:
    """Whether an Arrow type is the canonical UUID extension type."""
    return getattr(kind, "extension_name", None) == "arrow.uuid"


def plain_text(values: Array) -> Array:
    """Text of any Arrow text type as ``string``, without copying the characters where that can be.

    :param values: string, large_string or string_view.
    """
    if pa.types.is_string(values.type):
        return values
    if not pa.types.is_large_string(values.type):  # older Arrows cannot cast views
        values = pl.Series(values).to_arrow().cast(pa.large_string())
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        # A slice of a column of more than 2 GiB has offsets beyond 32 bits: copy the slice.
        return values.take(pa.array(np.arange(len(values)))).cast(pa.string())


# -- what text holds -----------------------------------------------------------------------------------------


def byte_lengths(values: Array) -> npt.NDArray[np.int64]:
    """Bytes of each text; null rows may hold anything."""
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.diff(_offsets(values)).astype(np.int64, copy=False)


def unsendable(values: Array) -> tuple[Problem, ...]:
    """NUL characters and invalid UTF-8.

    :param values: text.
    """
    data = _bytes(values)
    # Nearly all text is plain ASCII, which one look at the smallest and largest byte proves.
    if data.size == 0 or (data.min() > 0 and data.max() < 0x80):
        return ()
    problems: tuple[Problem, ...] = ()
    if data.min() == 0:
        problems += value_problem(Reason.NUL_CHARACTER, masked(pc.match_substring(values, "\0")), values)
    return problems + undecodable(values)


def undecodable(values: Array) -> tuple[Problem, ...]:
    """Invalid UTF-8, lone surrogates among it.

    :param values: text.
    """
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        invalid = np.fromiter(
            (raw is not None and not _is_utf8(raw) for raw in values.cast(pa.binary()).to_pylist()),
            bool,
            len(values),
        )
        return value_problem(Reason.NOT_UTF8, invalid, values, " (a lone surrogate, or another encoding)")
    return ()


def _offsets(values: Array) -> npt.NDArray[np.int32]:
    offsets = np.frombuffer(values.buffers()[1], dtype=np.int32)
    return offsets[values.offset : values.offset + len(values) + 1]


def _bytes(values: Array) -> npt.NDArray[np.uint8]:
    data = values.buffers()[2]
    if len(values) == 0 or data is None:
        return np.zeros(0, dtype=np.uint8)
    offsets = _offsets(values)
    return np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]]


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# -- casts ---------------------------------------------------------------------------------------------------


def cast_text(values: Array) -> Cast:
    """Text, numbers or UUIDs as text.

    The same number is the same text, whatever its type: in plain notation, whole ones with all their digits
    and no fraction (1.0 is "1", as the official client has it), others with the fewest digits that read back
    as the same number.

    :param values: text, integers, decimals, UUIDs, or floats without NaN and infinities.
    """
    if is_text(values.type):
        text = plain_text(values)
        return Cast(text, unsendable(text))
    return Cast(_uuids_as_text(values) if is_uuid(values.type) else _numbers_as_text(values))


def cast_id(values: Array) -> Cast:
    """Sample ids as text.

    :param values: text, integers, decimals without a fraction, UUIDs.
    """
    if is_uuid(values.type):
        ids = _uuids_as_text(values)
    else:
        ids = plain_text(values) if is_text(values.type) else values.cast(pa.string())
    problems: tuple[Problem, ...] = ()
    lengths = byte_lengths(ids)
    if lengths.size and (lengths.min() == 0 or lengths.max() > MAX_ID_BYTES):
        present = masked(ids.is_valid())
        problems += value_problem(Reason.ID_EMPTY, (lengths == 0) & present, values)
        problems += value_problem(Reason.ID_TOO_LONG, (lengths > MAX_ID_BYTES) & present, values)
    return Cast(ids, problems + unsendable(ids))


def _numbers_as_text(values: Array) -> Array:
    if pa.types.is_floating(values.type):
        return _floats_as_text(values)
    text = _without_exponents(values.cast(pa.string()))
    if pa.types.is_decimal(values.type) and values.type.scale > 0:
        text = pc.replace_substring_regex(text, r"^(-?\d+)\.0+$", r"\1")
        text = pc.replace_substring_regex(text, r"^(-?\d+\.\d*[1-9])0+$", r"\1")
    return text


def _floats_as_text(values: Array) -> Array:
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    text = values.cast(pa.string())
    numbers = values.fill_null(0.5).to_numpy()
    whole = np.isfinite(numbers) & (np.floor(numbers) == numbers)
    large = whole & (np.abs(numbers) >= 2.0**63)
    # As integers whole numbers have all their digits; Arrow writes 1e15 as "1e+15" and -0.0 as "-0".
    integers = pa.array(np.where(whole & ~large, numbers, 0).astype(np.int64)).cast(pa.string())
    text = pc.if_else(pa.array(whole & ~large), integers, text)
    if large.any():
        digits = [str(int(number)) for number in numbers[large].tolist()]
        text = pc.replace_with_mask(text, pa.array(large), pa.array(digits))
    return _without_exponents(text)


def _without_exponents(text: Array) -> Array:
    """Numbers in plain notation: 0.0000001 instead of 1E-7."""
    odd = masked(pc.match_substring(text, "e", ignore_case=True))
    if not odd.any():
        return text
    plain = [format(Decimal(one), "f") for one in text.filter(pa.array(odd)).to_pylist()]
    return pc.replace_with_mask(text, pa.array(odd), pa.array(plain))


def _uuids_as_text(values: Array) -> Array:
    storage = values.storage.fill_null(bytes(16))
    raw = np.frombuffer(b"".join(storage.to_pylist()), dtype=np.uint8).reshape(-1, 16)
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    text = np.full((len(raw), 36), ord("-"), dtype=np.uint8)
    columns = [i for i in range(36) if i not in (8, 13, 18, 23)]
    text[:, columns[0::2]] = digits[raw >> 4]
    text[:, columns[1::2]] = digits[raw & 15]
    offsets = np.arange(0, 36 * len(raw) + 1, 36, dtype=np.int32)
    ids = pa.StringArray.from_buffers(len(raw), pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes()))
    return null_where(ids, masked(values.is_null()))
