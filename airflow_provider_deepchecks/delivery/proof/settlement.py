# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Are the rows in? Decided from a receipt and one look at the server, without input or output.

The server tells no request's outcome, so settlement is an account. For samples: *delta*, by how much the rows
of the receipt's window have grown since before the upload, plus the rows listed as refused, plus those listed
as "Duplicate index" (somebody stored the id before), must cover the rows sent. A row that was sent twice can
be in delta **and** listed, so as many listings as there are such rows prove nothing.

Counts cannot tell our rows from those of other runs in the same window. When more is there than ours can be,
only the ids themselves prove anything (:attr:`Settlement.needs_ids`), and where they are at hand they are
compared in any case.

One look is enough: the server's clock, its pending rows and its ``last_update_time`` tell whether the
consumer is through, so a sensor in reschedule mode needs no memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from airflow_provider_deepchecks.allowance import is_limit, rows_allowed
from airflow_provider_deepchecks.delivery.receipt import Example, Receipt
from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.moments import check_seconds
from airflow_provider_deepchecks.records.reasons import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_deepchecks.delivery.proof.observation import Observation, RefusedRow

_EXAMPLES = 5
#: Labels a second that a consumer takes at least, half of what was measured for samples (20,000 in 17.7 s):
#: nothing tells how many labels are queued.
_LABELS_PER_SECOND = 500
#: After the last sample of an upload its last labels may be queued for a moment: the consumer takes turns.
_TURN = timedelta(seconds=60)

Verify = Literal["auto", "counts", "ids"]


class State(StrEnum):
    """How an upload stands."""

    #: Every row is stored, or was before, or is refused within the limit.
    SETTLED = "settled"
    #: Rows are still on their way.
    WAITING = "waiting"
    #: All rows are accounted for, and more were refused than allowed.
    REFUSED = "refused"
    #: The consumer is through, and rows are neither stored nor listed.
    LOST = "lost"
    #: Rows are pending and have not moved for a set time.
    STALLED = "stalled"


@dataclass(frozen=True)
class SettlementRules:
    """What counts as settled, lost, stalled.

    :param max_refused: rows the server may refuse: a count (int) or a share of the rows sent (float, 0 to 1).
    :param lost_after: seconds after the upload after which unaccounted rows are lost where none is pending.
        Queued rows show as pending only some seconds after the upload (measured: 2 to 3 s), and a consumer
        that is through looks the same until then.
    :param stall_after: seconds without movement after which pending rows are stalled.
    :param verify: ``auto`` compares the ids where they are at hand and few enough, ``counts`` only where
        counts cannot decide; with ``ids`` nothing passes unless they were compared.
    :param allow_unmatched: labels only: labels that show on no sample of the window are no failure (the
        server keeps them until the sample comes).
    :raises DeepchecksConfigError: a value that a rule cannot have.
    """

    max_refused: int | float = 0
    lost_after: float = 300.0
    stall_after: float = 900.0
    verify: Verify = "auto"
    allow_unmatched: bool = False

    def __post_init__(self) -> None:
        if self.verify not in ("auto", "counts", "ids"):
            raise DeepchecksConfigError(f"verify is {self.verify!r}; it is 'auto', 'counts' or 'ids'.")
        if not is_limit(self.max_refused):
            raise DeepchecksConfigError(
                f"max_refused is {self.max_refused!r}; it is a count of rows (0, 1, ...) or a share "
                "(0.0 to 1.0)."
            )
        for name in ("lost_after", "stall_after"):
            check_seconds(name, getattr(self, name), zero=True)

    def allowed_refusals(self, rows: int) -> int:
        """How many of ``rows`` may be refused."""
        return rows_allowed(self.max_refused, rows)


@dataclass(frozen=True)
class Settlement:
    """How an upload stands; the counts cover all rows read.

    :param needs_ids: counts cannot decide; look again with the ids compared.
    """

    state: State
    receipt: Receipt
    message: str
    needs_ids: bool = False
    refused: tuple[RefusedRow, ...] = ()
    missing: tuple[str, ...] = field(default=())

    @property
    def done(self) -> bool:
        """Whether looking again can change nothing."""
        return self.state is not State.WAITING


@dataclass(frozen=True)
class _Account:
    """Where the sent rows are. ``stored + already + refused + open == sent``.

    :param surplus: more is there or listed than ours can be.
    :param unclear: those open could be the ones that are listed.
    """

    stored: int
    already: int
    refused: int
    open: int
    surplus: bool = False
    unclear: bool = False


def settle(receipt: Receipt, seen: Observation, rules: SettlementRules) -> Settlement:
    """Decide how the upload of a receipt stands.

    :param receipt: of the upload, as it was when sending ended.
    :param seen: one look at the server, after sending ended.
    """
    if receipt.kind == "labels":
        return _settle_labels(receipt, seen, rules, excused=0)
    samples = _settle_samples(receipt, seen, rules)
    if receipt.labels is None:
        return samples
    # A label whose sample the server did not store shows nowhere. Some of these samples had none: as many as
    # went out without one.
    acknowledged = receipt.waiting + receipt.already_stored
    bare = acknowledged - receipt.labels.waiting - receipt.labels.refused
    no_room = acknowledged - (seen.samples_in_window or 0)
    excused = max(0, _outside(seen, max(no_room, samples.receipt.refused - receipt.refused)) - bare)
    labels = _settle_labels(receipt.labels, seen, rules, excused=excused)
    first = samples if samples.state is not State.SETTLED else labels
    return replace(
        first,
        receipt=replace(samples.receipt, labels=labels.receipt),
        needs_ids=samples.needs_ids or labels.needs_ids,
    )


def _settle_samples(receipt: Receipt, seen: Observation, rules: SettlementRules) -> Settlement:
    if receipt.waiting == 0:
        return _all_in(receipt, _Account(0, 0, 0, 0), (), seen, rules)
    account = _sample_account(receipt, seen)
    proven = seen.proof is not None
    if account.open:
        return _not_all_in(receipt, account, seen, rules)
    if proven or (rules.verify == "counts" and not account.surplus):
        return _all_in(receipt, account, seen.refused, seen, rules)
    # Ours could all be in; other runs' rows in the window, or the caller's wish, ask for the ids.
    why = "other runs send to this window" if account.surplus else "the ids are still to be compared"
    if not _passed_over(receipt, seen, rules):
        text = f"{why}, so it is not known yet whether all of ours are in"
        return _settlement(State.WAITING, receipt, account, seen, text, needs_ids=True)
    return _settlement(
        State.LOST,
        receipt,
        account,
        seen,
        f"{why}, and the ids of the rows sent are not at hand or too many to compare, so counts cannot prove "
        "that they are in. Keep the ids (ids_path), upload smaller windows, or do not let two runs write "
        "into one window at once",
        needs_ids=True,
    )


def _sample_account(receipt: Receipt, seen: Observation) -> _Account:
    sent = receipt.waiting
    if seen.proof is not None:
        # The ids are those of all rows acknowledged, the ones found stored before sending included. Which
        # others were in before cannot be seen; listings beyond the rows sent twice tell of as many.
        proof = seen.proof
        here = sent - proof.refused - proof.elsewhere - proof.missing_count
        before = min(here, max(0, seen.duplicate_count - proof.elsewhere - receipt.resent))
        return _Account(here - before, proof.elsewhere + before, proof.refused, proof.missing_count)
    delta = max(0, (seen.samples_in_window or 0) - receipt.samples_before)
    refused = min(seen.refused_count, sent)
    # A row sent twice can be listed although its other sending stored it. There are at most as many such rows
    # as were sent twice, as are listed, and as are in delta: that many listings prove nothing.
    ambiguous = min(receipt.resent, seen.duplicate_count + seen.refused_for_time, delta)
    listed = max(0, refused + seen.duplicate_count - ambiguous)
    still_open = max(0, sent - delta - listed)
    stored = min(delta, sent - refused)
    refused = min(refused, sent - stored - still_open)
    already = sent - stored - refused - still_open
    undone = min(receipt.resent, seen.refused_for_time)
    told = delta + seen.refused_count + seen.duplicate_count - max(ambiguous, undone)
    unclear = still_open > 0 and delta + seen.refused_count + seen.duplicate_count >= sent
    return _Account(stored, already, refused, still_open, surplus=told > sent, unclear=unclear)


def _settle_labels(
    receipt: Receipt, seen: Observation, rules: SettlementRules, *, excused: int
) -> Settlement:
    """Labels never show in pending rows; what shows is how many rows of the window have a label that is not
    null.

    A label on a row that had none moves that count; one that replaces another, or whose sample is not there
    yet, does not. So counts prove labels when they have grown by all of them, and nobody else's. Labels that
    an upload sends with its samples are, mostly, those that it sent before when it runs again: as far as
    counts go they are in when no row of the window is without one. Everything else is for the ids, where rows
    can be read with their labels. Without them nobody knows, and what nobody knows is not in.

    :param excused: labels whose samples are surely out of the window.
    """
    if receipt.waiting == 0:
        return _all_in(receipt, _Account(0, 0, 0, 0), (), seen, rules)
    refused = min(seen.labels_refused_count, receipt.waiting)
    if seen.label_proof is not None:
        refused = seen.label_proof.refused  # others' labels for the same samples are listed too
    rest = receipt.waiting - refused
    visible, proven = _labels_by_counts(receipt, seen, rest, excused)

    def all_in(unmatched: int) -> Settlement:
        shown = min(visible, rest - unmatched)
        account = _Account(shown + unmatched, rest - unmatched - shown, refused, 0)
        return _all_in(replace(receipt, unmatched=unmatched), account, seen.labels_refused, seen, rules)

    if rules.verify == "counts" and proven:
        return all_in(min(excused, rest - visible))
    accepted = rules.allow_unmatched and not receipt.samples_known
    if seen.label_proof is not None:
        unmatched = max(0, seen.label_proof.elsewhere - _outside(seen, 0))
        gone = seen.label_proof.missing_count + (0 if accepted else unmatched)
        if not gone:
            return all_in(seen.label_proof.elsewhere)
        found = min(visible, rest - gone)
        still_open = _Account(found, rest - gone - found, refused, gone)
        ids = seen.label_proof.missing + (seen.label_proof.outside if unmatched and not accepted else ())
        text = f"{gone:,} of {receipt.waiting:,} labels are on no sample, or it has another one{_first(ids)}"
    else:
        still_open = _Account(visible, 0, refused, rest - visible)
        text = f"{rest - visible:,} of {receipt.waiting:,} labels do not show"
        if proven:
            still_open, text = _Account(0, 0, refused, rest), f"{rest:,} labels are not compared by their ids"
    if _labels_may_come(receipt, seen, rules):
        return _settlement(State.WAITING, receipt, still_open, seen, f"{text} yet", needs_ids=True)
    if accepted and seen.label_proof is None and rules.verify == "counts":
        return all_in(rest - visible)
    text += f" {rules.lost_after:g} s after the upload: "
    if seen.label_proof is not None:
        text += "the server lost them, or their samples are not stored. Run the task again: that is safe"
    else:
        text += (
            "the server lost them, their samples are not stored, or they took the place of other labels, "
            "which counts cannot show. Compare the ids: keep them (ids_path), and name the window of the "
            "samples (window_start, window_end) so that they are few enough"
        )
    if not receipt.samples_known and not accepted:
        text += ". Where the samples come later, allow_unmatched=True accepts such labels"
    return _settlement(State.LOST, receipt, still_open, seen, text, needs_ids=True)


def _outside(seen: Observation, by_counts: int) -> int:
    """Samples sent that are not in the window: refused, or stored before with another time.

    :param by_counts: how many surely are not.
    """
    return by_counts if seen.proof is None else seen.proof.refused + seen.proof.elsewhere


def _labels_by_counts(receipt: Receipt, seen: Observation, rest: int, excused: int) -> tuple[int, bool]:
    """How many of the labels show, and whether that proves all of them as far as counts can."""
    growth = (seen.labeled_in_window or 0) - receipt.labeled_before
    if len(receipt.labeled_before_each) > 1 and len(seen.labeled_each) == len(receipt.labeled_before_each):
        # A label shows in each version that holds its sample: the sum may count it more than once.
        pairs = zip(seen.labeled_each, receipt.labeled_before_each, strict=True)
        growth = max(now - before for now, before in pairs)
    visible = min(max(0, growth), rest)
    samples = seen.samples_in_window or 0
    whole = receipt.samples_known and samples > 0 and (seen.labeled_in_window or 0) >= samples
    replaced = whole and growth <= rest and rest - visible <= receipt.labeled_before
    return visible, not receipt.null_labels and (rest - excused <= growth <= rest or replaced)


def _labels_may_come(receipt: Receipt, seen: Observation, rules: SettlementRules) -> bool:
    """Whether labels can still be queued: nothing tells, but they follow the samples, and take their time.

    Other runs may keep the consumer at work for ever: once nothing is pending, what it does later is not for
    this upload.
    """
    last = receipt.finished_at + timedelta(seconds=receipt.sent / _LABELS_PER_SECOND)
    at_work = seen.pending_rows > 0 or seen.server_now - seen.last_update < _TURN
    if receipt.samples_known and at_work:
        last = max(last, seen.last_update)
    return seen.server_now - last < timedelta(seconds=rules.lost_after)


def _all_in(
    receipt: Receipt,
    account: _Account,
    listed: Sequence[RefusedRow],
    seen: Observation,
    rules: SettlementRules,
) -> Settlement:
    refused = receipt.refused + account.refused
    if not account.refused:
        listed = ()  # about others' rows with the same ids
    allowed = rules.allowed_refusals(receipt.read - receipt.quarantined)
    if refused <= allowed:
        return _settlement(State.SETTLED, receipt, account, seen, "all rows are accounted for", listed=listed)
    rows = [*receipt.examples, *(Example(row.sample_id, row.reason) for row in listed)]
    first = "; ".join(f"{row.sample_id}: {row.reason}" for row in rows[:_EXAMPLES])
    return _settlement(
        State.REFUSED,
        receipt,
        account,
        seen,
        f"the server refused {counted(refused, receipt.noun)} (allowed: {allowed:,}). First ones: {first}. "
        "Mend them at the source, or raise max_refused",
        listed=listed,
    )


def _not_all_in(receipt: Receipt, account: _Account, seen: Observation, rules: SettlementRules) -> Settlement:
    gap = f"{account.open:,} of {receipt.waiting:,} rows are neither stored nor listed as refused"
    if _passed_over(receipt, seen, rules):
        ids = _first(seen.proof.missing) if seen.proof is not None else ""
        why = f"and nothing is pending {rules.lost_after:g} s after the upload: the server lost them"
        if not seen.errors_read:
            why = (
                "as far as the server's list of errors was read, which is too long: nobody knows whether "
                "they are in. Upload fewer rows at once"
            )
        return _settlement(
            State.LOST,
            receipt,
            account,
            seen,
            f"{gap}{ids}, {why}. Run the task again: rows that are in stay as they are",
            needs_ids=seen.proof is None,
        )
    still = seen.server_now - max(seen.last_update, receipt.finished_at)
    if seen.pending_rows > 0 and still >= timedelta(seconds=rules.stall_after):
        return _settlement(
            State.STALLED,
            receipt,
            account,
            seen,
            f"{gap}; {seen.pending_rows:,} rows are pending and have not moved for "
            f"{still.total_seconds():,.0f} s: the server's consumer is stuck. Look at the server, then run "
            "the task again",
        )
    text = f"{gap} yet, {seen.pending_rows:,} pending"
    return _settlement(State.WAITING, receipt, account, seen, text, needs_ids=account.unclear)


def _first(ids: Sequence[str]) -> str:
    return f" (first ids: {', '.join(ids[:_EXAMPLES])})" if ids else ""


def _passed_over(receipt: Receipt, seen: Observation, rules: SettlementRules) -> bool:
    """Whether the consumer is through with the upload: what it has not stored by now it will not store.

    Other runs may keep it at work for ever, so it need not be idle. That nothing is pending tells something
    only some time after the upload.
    """
    after = timedelta(seconds=rules.lost_after)
    return seen.pending_rows == 0 and seen.server_now - receipt.finished_at >= after


def _settlement(
    state: State,
    receipt: Receipt,
    account: _Account,
    seen: Observation,
    text: str,
    *,
    needs_ids: bool = False,
    listed: Sequence[RefusedRow] = (),
) -> Settlement:
    rows = tuple(Example(row.sample_id, row.reason) for row in listed[:_EXAMPLES])
    settled = replace(
        receipt,
        stored=receipt.stored + account.stored,
        already_stored=receipt.already_stored + account.already,
        refused=receipt.refused + account.refused,
        waiting=account.open,
        examples=(*receipt.examples, *rows)[:_EXAMPLES],
    )
    proof = seen.label_proof if receipt.kind == "labels" else seen.proof
    return Settlement(
        state=state,
        receipt=settled,
        message=f"{receipt.target}: {text}.",
        needs_ids=needs_ids,
        refused=tuple(listed),
        missing=proof.missing if proof else (),
    )
