# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Blocks of a CSV in which Arrow finds whole rows.

Arrow parses block by block and takes a row that lies in two of them, but none that lies in three. Small
blocks keep memory flat; one that ends inside of a long row is handed out together with those that follow, so
that such a row reaches the checks, which name it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of text parsed at a time. Measured: of 1 and 4 MiB the smaller is the faster one, and takes 135 MiB
#: for 1,000,000 rows instead of 274.
BLOCK_BYTES = 2**20
#: Longest row of text. The server takes rows of up to 900 kB; this leaves room for naming larger ones.
ROW_BYTES = 16 * BLOCK_BYTES

#: From outside of a quoted field to the first line break that is not in one; from inside of one, to its end.
#: After a carriage return at the very end Arrow waits for what follows.
_TO_ROW_END = re.compile(rb'[^"\r\n]*+(?:"[^"]*+"[^"\r\n]*+)*+(?:\n|\r(?s:.))')
_TO_QUOTE = re.compile(rb'[^"]*+"')


class Quoted(Protocol):
    """The text of a CSV that knows its quotes."""

    @property
    def inside(self) -> bool:
        """Whether what was read last ended in a quoted field."""
        ...

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, fewer only at the end."""
        ...


class CsvBlocks:
    """A file that Arrow reads in blocks of :data:`BLOCK_BYTES`, in each of which a row ends, and none of
    which ends between the two characters of a line break.

    A row of more than :data:`ROW_BYTES` is handed out as it is, which Arrow refuses.
    """

    def __init__(self, text: Quoted) -> None:
        self.closed = False
        self._text = text

    def read(self, size: int = -1) -> bytes:
        """Read one block.

        :param size: most bytes of it.
        """
        blocks: list[bytes] = []
        left = ROW_BYTES if size < 0 else size
        while left > 0:
            inside = self._text.inside
            block = self._text.read(min(BLOCK_BYTES, left))
            blocks.append(block)
            left -= len(block)
            # Arrow drops a line feed that comes first in a block when a carriage return ended the one before,
            # even in the middle of a quoted field.
            if not block or (not block.endswith(b"\r") and row_ends(block, inside=inside)):
                break
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def close(self) -> None:
        """Leave the text to whoever opened it."""
        self.closed = True


def row_ends(text: bytes, *, inside: bool) -> bool:
    """Whether a row ends in a part of a CSV.

    :param inside: the part begins in a quoted field.
    """
    start = 0
    if inside:
        quote = _TO_QUOTE.match(text)
        if quote is None:
            return False
        start = quote.end()
    return _TO_ROW_END.match(text, start) is not None


@contextmanager
def bounded_rows(where: str, hint: str = "") -> Iterator[None]:
    """Say what Arrow means when a row is larger than the largest block.

    :param where: what is read, for the error.
    :param hint: what else it can be.
    :raises DeepchecksSourceError: in place of Arrow's error.
    """
    try:
        yield
    except pa.ArrowInvalid as error:
        if "straddling" not in str(error):
            raise
        raise DeepchecksSourceError(
            f"{where} has a row of more than {ROW_BYTES:,} bytes; Deepchecks takes rows of up to 900 kB{hint}"
        ) from error
