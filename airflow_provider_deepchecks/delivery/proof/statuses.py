# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The status of each row: when sending ends, and what the server's list says of it later."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import groupby, islice
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.delivery.proof.observe import MAX_COMPARED, stored_pieces
from airflow_provider_deepchecks.delivery.proof.refusals import reason_of, refused_rows
from airflow_provider_deepchecks.delivery.proof.write_back import Status
from airflow_provider_deepchecks.delivery.window import window_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence, Set

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.delivery.ids import Ids
    from airflow_provider_deepchecks.delivery.proof.write_back import StatusRow
    from airflow_provider_deepchecks.delivery.receipt import Example, Receipt
    from airflow_provider_deepchecks.records.set_aside import SetAside

#: Characters of an id and of a reason that the table holds.
_MAX_ID, _MAX_REASON = 2_000, 4_000
#: Ids that are told at once.
_IDS = 500


def when_sent(
    ids: Ids, set_aside: SetAside, rejected: Sequence[Example], *, quarantined: bool
) -> Iterator[StatusRow]:
    """The status of each row read, when sending ends.

    :param ids: of the rows sent, or found stored.
    :param set_aside: the rows that the checks kept out.
    :param rejected: the rows that the server cannot take.
    :param quarantined: whether these went to quarantine.
    """
    for sample_id, reason in set_aside.rows():
        yield _fitting(sample_id, _MAX_ID), Status.QUARANTINED.value, _fitting(reason, _MAX_REASON)
    status = Status.QUARANTINED if quarantined else Status.REFUSED
    for row in rejected:
        yield row.sample_id, status.value, _fitting(row.reason, _MAX_REASON)
    for batch in ids.batches():
        for sent in batch.column(0).to_pylist():
            yield sent, Status.WAITING.value, None


def when_settled(
    client: DeepchecksClient, receipt: Receipt
) -> Generator[tuple[Status, str, Sequence[str]], None, None]:
    """Those rows of a settled receipt that the server lists: status, reason, and the ids that have them.

    All of the list is read before the first is given. A row that is refused comes before one whose label is.

    :raises DeepchecksServerError: the server does not answer.
    """
    # On disk, and gone with the connection.
    with closing(sqlite3.connect("")) as listed:
        listed.execute("CREATE TABLE listed (label INT, id TEXT, reason TEXT, UNIQUE (label, id, reason))")
        listed.executemany("INSERT OR IGNORE INTO listed VALUES (?, ?, ?)", _listed(client, receipt))
        rows = listed.execute(
            "SELECT label, reasons, id FROM (SELECT label, id, group_concat(reason, '; ') AS reasons "
            "FROM (SELECT * FROM listed ORDER BY label, id, reason) GROUP BY label, id) "
            "ORDER BY label, reasons, id"
        )
        for (label, reason), group in groupby(rows, key=lambda row: (row[0], row[1])):
            status = Status.STORED if label else Status.REFUSED
            text = _fitting(f"label: {reason}" if label else reason, _MAX_REASON)
            assert text is not None
            found = (row[2] for row in group)
            while ids := list(islice(found, _IDS)):
                yield status, text, ids


def _listed(client: DeepchecksClient, receipt: Receipt) -> Iterable[tuple[bool, str, str]]:
    """Whether it is about the label of a sample, the id and the reason of each entry."""
    stored = _stored_ids(client, receipt)
    for error in refused_rows(client, receipt):
        label = receipt.kind == "samples" and error.version_id is None
        if error.sample_id is not None and (label or error.sample_id not in stored):
            yield label, error.sample_id, reason_of(error.error) or error.error


def _stored_ids(client: DeepchecksClient, receipt: Receipt) -> Set[str]:
    """Ids that are stored: what is listed of them is about another sending, ours or that of another run."""
    if receipt.kind != "samples" or receipt.version_id is None:
        return set()
    found: set[str] = set()
    for rows in stored_pieces(client, receipt.version_id, *window_of(receipt), most=MAX_COMPARED):
        found.update(rows or ())
    return found


def _fitting(text: str | None, most: int) -> str | None:
    """A text that any database takes: not too long, and without a NUL."""
    if text is None:
        return None
    text = text.replace("\0", "\ufffd")
    return text if len(text) <= most else f"{text[: most - 1]}…"
