# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A digest of ids, times and labels in their order: tells whether a source still begins with the rows
already sent.

Not of the features: the first write of a sample wins, so what has changed in them could not be sent anyway.
The last write of a label does.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_PARTS = ("ids", "ids lengths", "times", "labels", "labels lengths", "label nulls")


class PrefixDigest:
    """Digest of the rows seen so far; the same rows in other batches give the same digest.

    Bytes, lengths and nulls go into hashes of their own, so that batch borders leave no trace.
    """

    def __init__(self) -> None:
        self._parts = {name: hashlib.blake2b(digest_size=16) for name in _PARTS}
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in the rows of a wire batch (its ``_dc_sample_id`` and, if there, ``__time`` and
        ``_dc_label``)."""
        import pyarrow as pa

        self._add_texts("ids", batch.column("_dc_sample_id"))
        if "__time" in batch.schema.names:
            self._parts["times"].update(_bytes(batch.column("__time").cast(pa.int64())))
        if "_dc_label" in batch.schema.names:
            labels: Any = batch.column("_dc_label")
            self._parts["label nulls"].update(_bytes(labels.is_null().cast(pa.int64())))
            if pa.types.is_integer(labels.type) or pa.types.is_floating(labels.type):
                self._parts["labels"].update(_bytes(labels.cast(pa.float64(), safe=False)))
            else:
                self._add_texts("labels", labels)
        self.rows += batch.num_rows

    def _add_texts(self, what: str, texts: Any) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_dictionary(texts.type):
            texts = texts.dictionary_decode()
        texts = texts.cast(pa.large_binary()).fill_null(b"")
        lengths: Any = pc.binary_length(texts)
        self._parts[f"{what} lengths"].update(_bytes(lengths.cast(pa.int64())))
        self._parts[what].update(_characters(texts))

    def copy(self) -> PrefixDigest:
        """A digest of the same rows that goes its own way from here."""
        other = PrefixDigest()
        other._parts = {name: part.copy() for name, part in self._parts.items()}
        other.rows = self.rows
        return other

    def hexdigest(self) -> str:
        """The digest, as text."""
        whole = hashlib.blake2b(digest_size=16)
        for part in self._parts.values():
            whole.update(part.digest())
        return f"{self.rows}:{whole.hexdigest()}"


def _bytes(numbers: Any) -> memoryview:
    """The eight bytes of each number; null as 0."""
    return memoryview(numbers.fill_null(0).to_numpy(zero_copy_only=False)).cast("B")


def _characters(ids: Any) -> memoryview:
    """All ids' bytes, one after the other, without a copy."""
    _, offsets, data = ids.buffers()
    if data is None or not len(ids):
        return memoryview(b"")
    ends = memoryview(offsets).cast("q")
    return memoryview(data)[ends[ids.offset] : ends[ids.offset + len(ids)]]
