# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""One look at the server for a receipt: counts, pending rows, refused rows and, when asked, the ids
themselves."""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_deepchecks.delivery.proof.observation import IdProof, Observation, RefusedRow
from airflow_provider_deepchecks.delivery.proof.refusals import (
    about,
    entries_since,
    is_duplicate,
    is_for_time,
)
from airflow_provider_deepchecks.delivery.proof.settlement import Settlement, SettlementRules, settle
from airflow_provider_deepchecks.delivery.window import TICK, window_of
from airflow_provider_deepchecks.exceptions import DeepchecksAnswerTooLargeError, DeepchecksSourceError
from airflow_provider_deepchecks.records.columns import LABEL, SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Set
    from datetime import datetime

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.client.types import VersionStatus, WindowCounts
    from airflow_provider_deepchecks.delivery.ids import Ids
    from airflow_provider_deepchecks.delivery.receipt import Receipt

log = logging.getLogger(__name__)

_UNKNOWN = object()
#: Entries of the server's list that are read for one receipt.
MAX_ERRORS = 100_000
#: Rows of a window whose ids are compared: by the way, and when nothing else is to pass (``verify="ids"``).
MAX_COMPARED, MAX_COMPARED_IDS = 50_000, 500_000
#: Rows that are asked for at once; each comes with all its columns.
ROWS_AT_ONCE = 10_000
#: A consumer that wrote less than so many seconds ago is at work; its list of refused rows is not complete
#: yet. Later than so many seconds after the upload it may be at work on rows of others only.
AT_WORK, AT_OURS = 5.0, 300.0
#: Refused or missing rows that are named.
_NAMED = 20


def look(
    client: DeepchecksClient,
    receipt: Receipt,
    rules: SettlementRules,
    ids: Ids | None = None,
    *,
    find_path: Callable[[str], Any] = str,
) -> Settlement:
    """Look at the server and decide how an upload stands; compare the ids where they are at hand and counts
    do not tell all.

    :param ids: the ids sent, where they are at hand; otherwise those of the receipt's ``ids_path``.
    :param find_path: opens that path.
    :raises DeepchecksError: the server does not answer, or the ids are to be compared and cannot be read.
    """
    if ids is None and receipt.ids_path is not None:
        ids = _saved_ids(find_path(receipt.ids_path), receipt, rules)
    seen = observe(client, receipt, ids)
    settlement = settle(receipt, seen, rules)
    if not settlement.needs_ids:
        return settlement
    most = MAX_COMPARED_IDS if rules.verify == "ids" else MAX_COMPARED
    compared = seen if ids is None else compare(client, receipt, seen, ids, most=most)
    if compared is seen and rules.verify == "auto":
        return settle(receipt, seen, replace(rules, verify="counts"))
    return settle(receipt, compared, rules)


def _saved_ids(path: Any, receipt: Receipt, rules: SettlementRules) -> Ids | None:
    from airflow_provider_deepchecks.delivery.ids import SavedIds  # brings Arrow into the triggerer

    try:
        return SavedIds(path, receipt.ids_name)
    except DeepchecksSourceError as error:
        if rules.verify == "ids":
            raise
        log.warning("%s Only counts are compared.", error)
        return None


def observe(client: DeepchecksClient, receipt: Receipt, ids: Ids | None = None) -> Observation:
    """One look at the server: counts and, unless the consumer is still at work, the rows it refused.

    :param ids: the ids sent; without them every row listed since the upload began, of this version and with a
        time in the receipt's window, is taken for ours.
    """
    # First what is pending, then what is in: what comes in between must not look as if it never came.
    status = _status(client, receipt)
    counts = _counts(client, receipt)
    now = client.server_now()
    seen = Observation(
        server_now=now,
        pending_rows=status.pending_rows if status else 0,
        last_update=status.last_update if status else receipt.started_at,
        samples_in_window=sum(found.samples for found in counts),
        labeled_in_window=sum(found.labeled for found in counts),
        labeled_each=tuple(found.labeled for found in counts),
    )
    at_work = (
        seen.pending_rows > 0
        and now - seen.last_update < timedelta(seconds=AT_WORK)
        and now - receipt.finished_at < timedelta(seconds=AT_OURS)
    )
    # Rows of others can make up for refused ones of ours: with enough in the window the list is for reading.
    enough = (seen.samples_in_window or 0) - receipt.samples_before >= receipt.waiting
    if receipt.kind == "samples" and at_work and not enough:
        return replace(seen, errors_read=False)
    listing = _listing(client, receipt, ids)
    return replace(
        seen,
        refused_count=len(listing.refused),
        refused=tuple(listing.first),
        refused_for_time=len(listing.refused_for_time),
        duplicate_count=len(listing.duplicates - listing.refused),
        labels_refused_count=len(listing.labels_refused),
        labels_refused=tuple(listing.first_labels),
        errors_read=listing.whole,
    )


def compare(
    client: DeepchecksClient, receipt: Receipt, seen: Observation, ids: Ids, *, most: int = MAX_COMPARED
) -> Observation:
    """The same look with the ids compared; the look itself when the window holds too many rows.

    :param most: rows of the window that may be read.
    """
    stored = _stored(client, receipt, most)
    if stored is None:
        return seen
    seen = _labels_counted(client, receipt, seen)
    listing = _listing(client, receipt, ids)
    refused = listing.labels_refused
    if receipt.kind == "labels":
        proof = _prove_labels(ids, stored, refused)
        return seen if proof is None else replace(seen, label_proof=proof)
    return replace(
        seen,
        samples_in_window=len(stored),
        proof=_prove(ids, stored.keys(), listing.refused, listing.duplicates),
        label_proof=_prove_labels(ids, stored, refused, beside_samples=True) if receipt.labels else None,
    )


# -- counts --------------------------------------------------------------------------------------------------


def _versions(receipt: Receipt) -> tuple[int, ...]:
    return receipt.version_ids if receipt.version_id is None else (receipt.version_id,)


def _counts(client: DeepchecksClient, receipt: Receipt) -> list[WindowCounts]:
    return [client.window_counts(version_id, *window_of(receipt)) for version_id in _versions(receipt)]


def _labels_counted(client: DeepchecksClient, receipt: Receipt, seen: Observation) -> Observation:
    """The same look with the labels counted after the ids were read: those that came in between would look as
    if they had been there before the upload."""
    labeled = tuple(found.labeled for found in _counts(client, receipt))
    return replace(seen, labeled_in_window=sum(labeled), labeled_each=labeled)


def _status(client: DeepchecksClient, receipt: Receipt) -> VersionStatus | None:
    statuses = client.version_statuses(receipt.model_id)
    return next((status for status in statuses if status.version_id == receipt.version_id), None)


# -- refused rows --------------------------------------------------------------------------------------------


@dataclass
class _Listing:
    refused: set[str] = field(default_factory=set)
    refused_for_time: set[str] = field(default_factory=set)
    duplicates: set[str] = field(default_factory=set)
    first: list[RefusedRow] = field(default_factory=list)
    labels_refused: set[str] = field(default_factory=set)
    first_labels: list[RefusedRow] = field(default_factory=list)
    whole: bool = True


def _listing(client: DeepchecksClient, receipt: Receipt, ids: Ids | None) -> _Listing:
    """What the server lists of our rows, each id once whatever number of entries it has."""
    found = _Listing()
    entries = entries_since(client, receipt)
    # Without the rows that the server shows with them, each of which can have nearly a megabyte.
    errors = [
        replace(error, sample=None)
        for error in about(receipt, islice(entries, MAX_ERRORS))
        if error.sample_id is not None
    ]
    if next(entries, None) is not None:
        log.warning("The server lists more than %s errors; the others are not read.", f"{MAX_ERRORS:,}")
        found.whole = False
    known: Set[str] | None = None
    if ids is not None:
        from airflow_provider_deepchecks.delivery.ids import ours

        known = ours(ids, {error.sample_id for error in errors if error.sample_id is not None})
    for error in errors:
        sample_id = error.sample_id
        if sample_id is None or (known is not None and sample_id not in known):
            continue
        row = RefusedRow(sample_id, error.error)
        if error.version_id is None:
            if is_duplicate(error):
                continue
            if sample_id not in found.labels_refused:
                found.first_labels.append(row)
            found.labels_refused.add(sample_id)
        elif is_duplicate(error):
            found.duplicates.add(sample_id)
        else:
            if sample_id not in found.refused:
                found.first.append(row)
            found.refused.add(sample_id)
            if is_for_time(error):
                found.refused_for_time.add(sample_id)
    del found.first[_NAMED:], found.first_labels[_NAMED:]
    return found


# -- ids -----------------------------------------------------------------------------------------------------


def _stored(client: DeepchecksClient, receipt: Receipt, most: int) -> dict[str, Any] | None:
    """The rows of the window: id -> label; None when there are too many to read, or it cannot be told which
    label a row has. A label is the model's, so it is the same in all versions that hold the id."""
    labels: dict[str, Any] = {}
    for version_id in _versions(receipt):
        for rows in stored_pieces(client, version_id, *window_of(receipt), most=most - len(labels)):
            if rows is None:
                return None
            labels.update((sample_id, row.get(LABEL, _UNKNOWN)) for sample_id, row in rows.items())
    return labels


def stored_pieces(
    client: DeepchecksClient, version_id: int, start: datetime, end: datetime, *, most: int
) -> Iterator[dict[str, Any] | None]:
    """All stored rows of [start, end) by id, in pieces of bounded size; None, and the end, when they are more
    than ``most`` or more of them have the same time than can be read at once."""
    stretches = [(start, end)]
    left, at_once = most, ROWS_AT_ONCE
    while stretches:
        start, end = stretches.pop()
        count = client.window_counts(version_id, start, end).samples
        if not count:
            continue
        if count > left:
            yield None
            return
        can_split = end - start > TICK
        rows = None
        if count <= at_once or not can_split:
            rows = stored_rows(client, version_id, start, end, most=MAX_COMPARED)
            if rows is None:
                at_once = max(1, count // 2)  # so many are too large
        if rows is None and can_split:
            middle = start + (end - start) / 2
            stretches += [(middle, end), (start, middle)]
            continue
        yield rows
        if rows is None:
            return
        left -= len(rows)


def stored_rows(
    client: DeepchecksClient, version_id: int, start: datetime, end: datetime, *, most: int
) -> dict[str, Any] | None:
    """All stored rows of [start, end) by id, None when they are more than ``most``, or too large to be read.

    The server gives a random choice of as many rows as asked for: asking for more than there are gives them
    all.
    """
    count = client.window_counts(version_id, start, end).samples
    if count == 0:
        return {}
    if count > most:
        return None
    asked = min(2 * count + 1_000, 2 * MAX_COMPARED)
    try:
        rows = client.stored_samples(version_id, start, end, asked)
    except DeepchecksAnswerTooLargeError:
        return None
    return None if len(rows) >= asked else {str(row[SAMPLE_ID]): row for row in rows}


def _prove(ids: Ids, stored: Set[str], refused: Set[str], elsewhere: Set[str]) -> IdProof:
    def place(sample_id: str, label: object) -> str:
        if sample_id in stored:
            return "stored"
        if sample_id in refused:
            return "refused"
        return "elsewhere" if sample_id in elsewhere else "missing_count"

    return _count(ids, place)


def _prove_labels(
    ids: Ids, stored: Mapping[str, Any], refused: Set[str], *, beside_samples: bool = False
) -> IdProof | None:
    """The proof of the labels; None when ids or rows come without them.

    :param beside_samples: the ids are those of samples, some of which came without a label.
    """
    if _UNKNOWN in stored.values():
        return None  # a server that gives the rows without their labels

    def place(sample_id: str, label: object) -> str | None:
        if label is None and beside_samples:
            return None
        if sample_id in stored and same_label(label, stored[sample_id]):
            return "stored"
        if sample_id in refused:
            return "refused"
        return "missing_count" if sample_id in stored else "elsewhere"

    try:
        return _count(ids, place, labels=True)
    except KeyError:
        return None  # a file of ids without labels


def _count(ids: Ids, place: Callable[[str, object], str | None], *, labels: bool = False) -> IdProof:
    """Count the ids by their places; those without one are left out.

    :raises KeyError: labels are wanted and not there.
    """
    counts: Counter[str] = Counter()
    named: dict[str, list[str]] = {"missing_count": [], "elsewhere": []}
    for batch in ids.batches():
        sent: list[Any] = batch.column("sample_id").to_pylist()
        values: list[Any] = batch.column("label").to_pylist() if labels else [None] * len(sent)
        for sample_id, label in zip(sent, values, strict=True):
            found = place(sample_id, label)
            if found is None:
                continue
            counts[found] += 1
            if found in named and len(named[found]) < _NAMED:
                named[found].append(sample_id)
    missing, outside = map(tuple, named.values())
    return IdProof(**{"stored": 0, **counts}, missing=missing, outside=outside)


def same_label(sent: object, shown: object) -> bool:
    """Whether a label is the one that the server shows: it gives numbers with 10 decimals."""
    if isinstance(sent, float):
        number = isinstance(shown, int | float) and not isinstance(shown, bool)
        return number and math.isclose(sent, shown, rel_tol=1e-9, abs_tol=1e-9)  # type: ignore[arg-type]
    return sent == shown
