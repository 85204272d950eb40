# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Quotes of a CSV: one too many makes a single cell of all rows up to the next one, and Arrow says nothing.

The quotes are followed as Arrow follows them: one at the start of a field opens it, a doubled one inside is
text, and so is one in the middle of a field that began without.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError

if TYPE_CHECKING:
    from airflow_provider_deepchecks.records.reasons import Mask

_QUOTE = ord('"')


class QuoteGuard:
    """The bytes of a CSV, from its header line on; raises before the end of swallowed rows is handed out.

    :param stream: the bytes, without compression.
    :param name: of the file, for messages.
    :param delimiter: between two fields.
    """

    def __init__(self, stream: Any, name: str, delimiter: str) -> None:
        self._stream = stream
        self._name = name
        ends = np.zeros(256, dtype=bool)
        ends[[ord(delimiter), ord("\n"), ord("\r")]] = True
        #: Bytes that a field ends with, and that come before one.
        self._ends = ends
        # The quotes at the end of a piece are judged with the byte after them.
        self._held = b""
        self._before = ord("\n")
        self._first = True
        self._inside = False
        self._line = 1
        self._opened = 1

    @property
    def inside(self) -> bool:
        """Whether what was read last ended in a quoted field."""
        return self._inside ^ bool(len(self._held) % 2)

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, fewer only at the end.

        :raises DeepchecksSourceError: a quote is not closed, or closed in the middle of another row's field.
        """
        text: bytes = self._stream.read(size)
        while self._first and text:
            kept = self._without_empty_lines(text.removeprefix(BOM_UTF8))
            self._first = not kept
            text = kept or self._stream.read(size)
        if text:
            self._follow(text)
        elif size != 0:
            self._end()
        return text

    def _without_empty_lines(self, text: bytes) -> bytes:
        """The text from the header line on: an empty line before it is no header of one column."""
        kept = text.lstrip(b"\r\n")
        self._line += self._lines(text, 0, len(text) - len(kept))
        return kept

    def _end(self) -> None:
        text, self._held = self._held + b"\n", b""
        self._judge(text)
        if self._inside:
            raise DeepchecksSourceError(
                f"{self._name} ends inside a quoted field that began in line {self._opened:,}: "
                "a quote in it is one too many, or the file is cut short"
            )

    def _follow(self, text: bytes) -> None:
        text = self._held + text
        kept = text.rstrip(b'"')
        self._held = text[len(kept) :]
        if kept:
            self._judge(kept)

    def _judge(self, text: bytes) -> None:
        """Follow the quotes of a piece that does not end with one."""
        codes = np.frombuffer(text, dtype=np.uint8)
        quotes = np.flatnonzero(codes == _QUOTE)
        if quotes.size:
            after = codes[quotes + 1]
            before = codes[quotes - 1]
            if quotes[0] == 0:
                before[0] = self._before
            opening = np.arange(quotes.size) % 2 == self._inside
            # By turns they open and close, and the two of a doubled quote stand side by side.
            neighbours = np.where(opening, before, after)
            if (self._ends[neighbours] | (neighbours == _QUOTE)).all():
                self._take_turns(text, quotes, opening & (before != _QUOTE))
            else:
                self._one_by_one(text, quotes, self._ends[before], after)
        self._line += self._lines(text, 0, len(text))
        self._before = text[-1]

    def _take_turns(self, text: bytes, quotes: Any, starts: Mask) -> None:
        self._inside ^= bool(quotes.size % 2)
        if self._inside and starts.any():
            self._opened = self._line + self._lines(text, 0, int(quotes[starts][-1]))

    def _one_by_one(self, text: bytes, quotes: Any, starts: Mask, after: Any) -> None:
        """The same where some quotes are text."""
        line, place, doubled = self._line, 0, False
        for quote, starts_field, following in zip(
            quotes.tolist(), starts.tolist(), after.tolist(), strict=True
        ):
            line, place = line + self._lines(text, place, quote), quote
            if doubled:
                doubled = False
            elif not self._inside:
                if starts_field:
                    self._inside, self._opened = True, line
            elif following == _QUOTE:
                doubled = True
            else:
                self._inside = False
                if line > self._opened and not self._ends[following]:
                    raise DeepchecksSourceError(
                        f"{self._name} has text after the quote in line {line:,} that closes a field which "
                        f"began in line {self._opened:,}: one of the two quotes is one too many"
                    )

    def _lines(self, text: bytes, start: int, end: int) -> int:
        """Count the line breaks in a part of a piece."""
        breaks = text.count(b"\n", start, end)
        returns = text.count(b"\r", start, end)
        if returns:
            breaks += returns - text.count(b"\r\n", start, end)
        before = text[start - 1] if start else self._before
        return breaks - (before == ord("\r") and text.startswith(b"\n", start, end))
