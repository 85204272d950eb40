# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Sample ids that come twice in a run, found in bounded memory.

The server stores the first row of an id and lists the second as an error, so a run would end with rows that
are neither stored nor wrong. The first row of an id in the source's order is kept, later ones are bad rows.

Ids are known by 128 bits of hash. A Bloom filter of fixed size answers "never seen" for nearly all of them.
Those few that it may have seen are looked up exactly among the hashes, which beyond a quarter of a million
ids are kept in sorted files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from airflow_provider_deepchecks.records.columns import SAMPLE_ID
from airflow_provider_deepchecks.records.reasons import Array, Mask, Reason, shown
from airflow_provider_deepchecks.records.spool import temporary_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_deepchecks.records.checks.checked import Checked

#: Two halves of 64 bits of each hash: shape (2, ids).
Hashes = npt.NDArray[np.uint64]

#: Size of the filter in words of 64 bits (16 MiB): of 10,000,000 ids it lets about one in sixty through.
_WORDS = 2**21
#: Hashes kept in memory before they go to a file (4 MiB, and as much again twice while they are sorted).
_IN_MEMORY = 2**18
#: So few values numpy finds in an array by comparing with each, which beats sorting and searching.
_FEW = 32
#: Bits set in one word for an id.
_BITS = 4


class UniqueIds:
    """The sample ids of one run. Use as a context manager: it keeps files.

    :param directory: where to keep files; None is the system's temporary directory.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self._directory = directory
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: list[Path] = []
        self._recent: list[Hashes] = []
        self._in_recent = 0
        self._words = np.zeros(_WORDS, dtype=np.uint64)

    def __enter__(self) -> UniqueIds:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder, self._files = None, []

    def check(self, checked: Checked) -> Checked:
        """Set aside the rows whose id an earlier row of the run had.

        :param checked: a checked batch; those of a run come in the source's order.
        :raises DeepchecksSourceError: the disk is full.
        """
        ids = checked.rows.column(SAMPLE_ID)
        return checked.set_aside(
            self.repeated(ids),
            Reason.ID_REPEATED,
            lambda row: f"{Reason.ID_REPEATED}: {shown(ids[row].as_py())}",
            checked.id_column,
        )

    def repeated(self, ids: Array) -> Mask:
        """Which ids came before, in this batch or an earlier one; the others are known from now on.

        :param ids: text without null.
        """
        repeated = np.zeros(len(ids), dtype=bool)
        if not len(ids):
            return repeated
        hashes = _hashes(ids)
        candidates = np.flatnonzero(self._maybe_seen(hashes) | _twice(hashes[0]))
        if candidates.size:
            known = self._known(hashes[:, candidates])
            for row, key in zip(candidates.tolist(), _keys(hashes[:, candidates]), strict=True):
                repeated[row] = key in known
                known.add(key)
        self._remember(hashes if not repeated.any() else hashes[:, ~repeated])
        return repeated

    # -- the filter
    # --------------------------------------------------------------------------------------------------

    def _maybe_seen(self, hashes: Hashes) -> Mask:
        words, bits = self._slots(hashes)
        seen: Mask = (self._words[words] & bits) == bits
        return seen

    def _slots(self, hashes: Hashes) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """The word of each id, and its bits in it."""
        words = hashes[0] & np.uint64(self._words.size - 1)
        bits = np.zeros_like(words)
        for turn in range(_BITS):
            bits |= np.uint64(1) << ((hashes[1] >> np.uint64(6 * turn)) & np.uint64(63))
        return words, bits

    def _remember(self, hashes: Hashes) -> None:
        self._recent.append(hashes)
        self._in_recent += hashes.shape[1]
        self._mark(hashes)
        if self._in_recent >= _IN_MEMORY:
            self._spill()

    def _mark(self, hashes: Hashes) -> None:
        words, bits = self._slots(hashes)
        # Much quicker than bitwise_or.at, but of ids that share a word only one is written: mark the others
        # again.
        self._words[words] |= bits
        lost = (self._words[words] & bits) != bits
        np.bitwise_or.at(self._words, words[lost], bits[lost])

    # -- the hashes themselves
    # ---------------------------------------------------------------------------------------

    def _spill(self) -> None:
        hashes = np.concatenate(self._recent, axis=1)
        with temporary_files("Sample ids to compare", self._directory):
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="deepchecks-ids-", dir=self._directory)
            path = Path(self._folder.name, f"{len(self._files)}.hashes")
            # Not by tofile(), whose error does not tell why.
            path.write_bytes(hashes[:, np.argsort(hashes[0])].tobytes())
        self._files.append(path)
        self._recent, self._in_recent = [], 0

    def _opened(self) -> Iterator[Hashes]:
        for path in self._files:
            yield np.memmap(path, dtype=np.uint64, mode="r").reshape(2, -1)

    def _known(self, wanted: Hashes) -> set[tuple[int, int]]:
        """Those of the wanted hashes that are kept."""
        found: set[tuple[int, int]] = set()
        ordered = wanted[:, np.argsort(wanted[0])]
        for hashes in self._recent:
            found.update(_keys(hashes[:, _among(hashes[0], ordered[0])]))
        for hashes in self._opened():
            first = np.searchsorted(hashes[0], ordered[0], "left")
            behind = np.searchsorted(hashes[0], ordered[0], "right")
            while (first < behind).any():  # nearly always once: two ids seldom share half of their hash
                found.update(_keys(hashes[:, first[first < behind]]))
                first = first + 1
        return found


def _hashes(ids: Array) -> Hashes:
    series = pl.Series(ids)
    return np.stack([series.hash(seed).to_numpy() for seed in (1, 2)])


def _twice(halves: npt.NDArray[np.uint64]) -> Mask:
    """Which values are perhaps there more than once: 32 bits of them tell enough, and sort twice as fast."""
    quarters = halves.astype(np.uint32)
    ordered = np.sort(quarters)
    doubled = ordered[1:][ordered[1:] == ordered[:-1]]
    return _among(quarters, doubled) if doubled.size else np.zeros(halves.size, dtype=bool)


def _among(values: npt.NDArray[Any], ordered: npt.NDArray[Any]) -> Mask:
    """Which values are among others, which are sorted."""
    if ordered.size <= _FEW:
        return np.isin(values, ordered)
    places = np.searchsorted(ordered, values)
    places[places == ordered.size] = 0
    among: Mask = ordered[places] == values
    return among


def _keys(hashes: Hashes) -> list[tuple[int, int]]:
    return list(zip(hashes[0].tolist(), hashes[1].tolist(), strict=True))
