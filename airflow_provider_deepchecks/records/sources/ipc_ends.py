# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Where Arrow IPC ends: Arrow takes the end of the bytes for the end mark, and the last of several files for
the only one."""

from __future__ import annotations

from typing import Any, Final

MAGIC: Final = b"ARROW1"
#: The length of the footer and the magic word, behind it.
_TAIL_BYTES: Final = 4 + len(MAGIC)
#: Between the last batch and the footer: the end mark, and what some writers fill up.
_GAP_BYTES: Final = 8 + 64
#: Fields of the footer's table that list blocks: dictionaries and record batches.
_BLOCK_FIELDS: Final = (2, 3)
_BLOCK_BYTES: Final = 24


class WatchedStream:
    """A stream that knows whether more was asked of it than it had."""

    closed = False

    def __init__(self, stream: Any) -> None:
        self.ended = False
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Read so many bytes, fewer only at the end."""
        data: bytes = self._stream.read(size)
        self.ended |= len(data) < size
        return data

    def close(self) -> None:
        """Leave the stream to whoever opened it."""


def is_footer(stream: Any) -> bool:
    """Whether the rest of a stream is the footer of one file.

    :param stream: read up to the end mark.
    """
    rest, size = b"", 0
    while data := stream.read(2**16):
        rest, size = (rest + data)[-_TAIL_BYTES:], size + len(data)
    return rest[4:] == MAGIC and _number(rest, 0, 4) == size - _TAIL_BYTES


def is_one_file(file: Any) -> bool:
    """Whether the batches of a file reach to its footer: those of the last of several do not.

    :param file: a file with a footer, for random access.
    """
    file.seek(0, 2)
    end = file.tell()
    file.seek(end - _TAIL_BYTES)
    start = end - _TAIL_BYTES - _number(file.read(4), 0, 4)
    file.seek(start)
    ends = _block_ends(file.read(end - _TAIL_BYTES - start))
    return not ends or start - max(ends) <= _GAP_BYTES


def _block_ends(footer: bytes) -> list[int]:
    """Where the blocks end that a footer lists, which is a table of Flatbuffers."""
    root = _number(footer, 0, 4)
    fields = root - _number(footer, root, 4)
    ends = []
    for field in _BLOCK_FIELDS:
        entry = 4 + 2 * field
        place = _number(footer, fields + entry, 2) if entry < _number(footer, fields, 2) else 0
        if not place:
            continue
        vector = root + place + _number(footer, root + place, 4)
        for number in range(_number(footer, vector, 4)):
            block = vector + 4 + number * _BLOCK_BYTES
            # Its offset, the length of its description, the length of its body.
            ends.append(
                _number(footer, block, 8) + _number(footer, block + 8, 4) + _number(footer, block + 16, 8)
            )
    return ends


def _number(data: bytes, place: int, size: int) -> int:
    return int.from_bytes(data[place : place + size], "little", signed=size > 2)
