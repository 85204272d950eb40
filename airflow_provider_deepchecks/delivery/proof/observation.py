# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What one look at the server shows of an upload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class RefusedRow:
    """A row of ours that the server lists as refused."""

    sample_id: str | None
    reason: str


@dataclass(frozen=True)
class IdProof:
    """The outcome of comparing the ids sent with the ids stored. The counts add up to the rows sent.

    :param stored: ours that are in the window; for labels, those that a row of the window has.
    :param refused: ours that are not in the window and listed as refused.
    :param elsewhere: ours that are not in the window and listed as duplicates: stored before, with another
        time. For labels: those whose sample is not in the window.
    :param missing_count: ours that are nowhere; for labels, those whose sample has none, or another one.
    :param missing: the first of them.
    :param outside: the first of those elsewhere.
    """

    stored: int
    refused: int = 0
    elsewhere: int = 0
    missing_count: int = 0
    missing: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observation:
    """One look at the server.

    :param server_now: the server's clock (UTC).
    :param pending_rows: of the version.
    :param last_update: when the consumer last wrote (UTC).
    :param samples_in_window: rows in the receipt's window, None when it has none.
    :param labeled_in_window: those with a label that is not null.
    :param labeled_each: the same for each version of a receipt of labels.
    :param refused_count: different ids of ours listed as refused, "Duplicate index" left out.
    :param refused: the first of them.
    :param refused_for_time: those of them refused for a time in the future: the only refusal that a later
        sending of the same row can undo.
    :param duplicate_count: different ids of ours listed as "Duplicate index" and not as refused.
    :param labels_refused_count: different ids of ours whose label is listed as refused.
    :param labels_refused: the first of them.
    :param errors_read: False when the listing was not read to its end: the consumer is still at work, or it
        is too long.
    :param proof: the comparison of the samples' ids, when it was made.
    :param label_proof: the same of the labels' ids.
    """

    server_now: datetime
    pending_rows: int
    last_update: datetime
    samples_in_window: int | None = None
    labeled_in_window: int | None = None
    labeled_each: tuple[int, ...] = ()
    refused_count: int = 0
    refused: tuple[RefusedRow, ...] = ()
    refused_for_time: int = 0
    duplicate_count: int = 0
    labels_refused_count: int = 0
    labels_refused: tuple[RefusedRow, ...] = ()
    errors_read: bool = True
    proof: IdProof | None = None
    label_proof: IdProof | None = None
