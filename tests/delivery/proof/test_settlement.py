# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Whether the rows are in, decided from a receipt and one look."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_deepchecks.delivery.proof.observation import IdProof, RefusedRow
from airflow_provider_deepchecks.delivery.proof.settlement import (
    SettlementRules,
    State,
    Verify,
    settle,
)
from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from tests.delivery.settling import RULES, counting, counts, receipt, seen


def test_all_stored_is_settled_at_once() -> None:
    done = settle(receipt(), seen(0, samples=10), RULES)
    assert done.state is State.SETTLED
    assert counts(done) == (10, 0, 0, 0)


def test_nothing_pending_right_after_the_upload_is_not_settled() -> None:
    assert settle(receipt(), seen(0, samples=0), RULES).state is State.WAITING


def test_an_old_last_update_right_after_the_upload_is_not_lost() -> None:
    assert settle(receipt(), seen(1, samples=0, moved=-100_000), RULES).state is State.WAITING


def test_rows_there_before_do_not_count() -> None:
    assert settle(receipt(samples_before=10), seen(samples=10), RULES).state is State.WAITING
    assert settle(receipt(samples_before=10), seen(samples=20), RULES).state is State.SETTLED


def test_rows_listed_as_duplicates_were_stored_before() -> None:
    done = settle(receipt(samples_before=4), seen(samples=10, duplicate_count=4), RULES)
    assert done.state is State.SETTLED
    assert counts(done) == (6, 4, 0, 0)


def test_a_duplicate_of_a_resent_row_hides_no_lost_row() -> None:
    """Ten sent, one of them twice and so listed; nine stored: the tenth is missing."""
    gone = settle(receipt(resent=1), seen(100, samples=9, duplicate_count=1), RULES)
    assert gone.state is State.LOST
    assert counts(gone) == (9, 0, 0, 1)
    fine = settle(receipt(resent=1), seen(samples=10, duplicate_count=1), RULES)
    assert fine.state is State.SETTLED
    assert counts(fine) == (10, 0, 0, 0)


def test_a_whole_upload_sent_twice_and_stored_long_before_is_settled() -> None:
    done = settle(receipt(resent=10, samples_before=10), seen(samples=10, duplicate_count=10), RULES)
    assert done.state is State.SETTLED
    assert counts(done) == (0, 10, 0, 0)


def test_a_row_refused_for_its_time_and_then_stored_hides_no_lost_row() -> None:
    gone = settle(receipt(resent=1), seen(100, samples=9, refused_count=1, refused_for_time=1), RULES)
    assert gone.state is State.LOST


def test_refused_rows_fail_with_their_reasons_once_all_is_known() -> None:
    row = RefusedRow("s1", "data.f must be number")
    assert settle(receipt(), seen(samples=8, refused_count=1, refused=(row,)), RULES).state is State.WAITING
    done = settle(receipt(), seen(samples=9, refused_count=1, refused=(row,)), RULES)
    assert done.state is State.REFUSED
    assert counts(done) == (9, 0, 1, 0)
    assert "s1: data.f must be number" in done.message
    assert done.refused == (row,)


@pytest.mark.parametrize(
    ("allowed", "state"),
    [(0, State.REFUSED), (1, State.REFUSED), (2, State.SETTLED), (0.1, State.REFUSED), (0.2, State.SETTLED)],
)
def test_refused_rows_within_the_limit_pass(allowed: float, state: State) -> None:
    rules = counting(max_refused=allowed)
    assert settle(receipt(), seen(samples=8, refused_count=2), rules).state is state


def test_rows_refused_while_sending_count_too() -> None:
    done = settle(receipt(read=12, refused=2), seen(samples=10), RULES)
    assert done.state is State.REFUSED
    assert counts(done) == (10, 0, 2, 0)


def test_lost_needs_a_consumer_that_is_through_and_time() -> None:
    assert settle(receipt(), seen(59, samples=7), RULES).state is State.WAITING
    assert settle(receipt(), seen(90, samples=7, pending=1, moved=31), RULES).state is State.WAITING
    lost = settle(receipt(), seen(60, samples=7, moved=59), RULES)
    assert lost.state is State.LOST
    assert counts(lost) == (7, 0, 0, 3)
    assert "3 of 10 rows" in lost.message


def test_a_listing_too_long_to_be_read_says_so_and_ends_the_wait() -> None:
    cut = seen(100, samples=7, errors_read=False)
    ended = settle(receipt(), cut, RULES)
    assert (ended.state, ended.needs_ids) == (State.LOST, True)
    assert "nobody knows whether they are in" in ended.message
    assert "lost them" not in ended.message
    proven = replace(cut, proof=IdProof(stored=10))
    assert settle(receipt(), proven, RULES).state is State.SETTLED


def test_pending_rows_that_do_not_move_are_stalled() -> None:
    assert settle(receipt(), seen(119, samples=7, pending=3), RULES).state is State.WAITING
    assert settle(receipt(), seen(500, samples=7, pending=3, moved=400), RULES).state is State.WAITING
    stalled = settle(receipt(), seen(120, samples=7, pending=3), RULES)
    assert stalled.state is State.STALLED
    assert "3 rows are pending" in stalled.message


def test_one_pending_row_stalls_and_none_does_not() -> None:
    assert settle(receipt(), seen(200, samples=9, pending=1), RULES).state is State.STALLED
    assert settle(receipt(), seen(200, samples=9, pending=0), RULES).state is State.LOST


def test_pending_rows_stuck_for_ever_do_not_matter_when_ours_are_in() -> None:
    assert settle(receipt(), seen(9999, samples=10, pending=200), RULES).state is State.SETTLED


def test_rows_of_other_runs_make_counts_useless() -> None:
    asked = settle(receipt(), seen(samples=12), RULES)
    assert (asked.state, asked.needs_ids) == (State.WAITING, True)
    failed = settle(receipt(), seen(61, samples=12), RULES)
    assert failed.state is State.LOST
    assert "other runs" in failed.message


def test_the_ids_decide_when_they_were_compared() -> None:
    whole = IdProof(stored=10)
    assert settle(receipt(), seen(samples=12, proof=whole), RULES).state is State.SETTLED
    holes = IdProof(stored=8, missing_count=2, missing=("a", "b"))
    assert settle(receipt(), seen(samples=12, proof=holes), RULES).state is State.WAITING
    lost = settle(receipt(), seen(61, samples=12, proof=holes), RULES)
    assert lost.state is State.LOST
    assert lost.missing == ("a", "b")
    assert "a, b" in lost.message
    assert counts(lost) == (8, 0, 0, 2)


def test_ids_stored_before_under_another_time_are_already_stored() -> None:
    proof = IdProof(stored=7, elsewhere=3)
    done = settle(receipt(), seen(samples=7, duplicate_count=3, proof=proof), RULES)
    assert done.state is State.SETTLED
    assert counts(done) == (7, 3, 0, 0)


def test_every_row_of_a_proof_has_its_place() -> None:
    """Of three listed as duplicates one is elsewhere and one was sent twice, so one was there before."""
    proof = IdProof(stored=5, refused=2, elsewhere=1, missing_count=2)
    look = seen(samples=5, duplicate_count=3, refused_count=2, proof=proof)
    assert counts(settle(receipt(resent=1), look, RULES)) == (4, 2, 2, 2)


def test_ids_are_asked_for_where_a_listing_can_mean_two_things() -> None:
    """Four of those sent again are listed: stored by this upload, or before it with another time."""
    asked = settle(receipt(resent=10), seen(samples=6, duplicate_count=4), RULES)
    assert (asked.state, asked.needs_ids) == (State.WAITING, True)
    some = settle(receipt(resent=10), seen(samples=5, duplicate_count=4), RULES)
    assert (some.state, some.needs_ids) == (State.WAITING, False)


def test_only_listed_rows_can_be_ambiguous() -> None:
    look = seen(samples=8, duplicate_count=1, refused_count=1)
    assert counts(settle(receipt(resent=5), look, RULES)) == (8, 0, 1, 1)


def test_rows_of_others_are_not_counted_for_refused_ones() -> None:
    mixed = settle(receipt(), seen(samples=10, refused_count=2), RULES)
    assert (mixed.state, mixed.needs_ids) == (State.WAITING, True)
    assert counts(mixed) == (8, 0, 2, 0)


def test_a_row_sent_again_after_a_refusal_is_no_row_of_others() -> None:
    look = seen(samples=10, refused_count=1, refused_for_time=1)
    assert settle(receipt(resent=1), look, counting(max_refused=1)).state is State.SETTLED


def test_a_share_of_refused_rows_is_one_of_the_rows_that_were_good() -> None:
    partly = receipt(read=20, quarantined=10)
    look = seen(samples=8, refused_count=2)
    assert settle(partly, look, counting(max_refused=0.1)).state is State.REFUSED
    assert settle(partly, look, counting(max_refused=0.2)).state is State.SETTLED


@pytest.mark.parametrize("verify", ["auto", "ids"])
def test_nothing_passes_before_the_ids_were_asked_for(verify: Verify) -> None:
    rules = SettlementRules(verify=verify, lost_after=60)
    asked = settle(receipt(), seen(samples=10), rules)
    assert (asked.state, asked.needs_ids) == (State.WAITING, True)


def test_rows_listed_for_others_make_counts_useless() -> None:
    """Ten stored since, five of them by another run before ours came, and five of ours are lost."""
    asked = settle(receipt(), seen(samples=10, duplicate_count=5), RULES)
    assert (asked.state, asked.needs_ids) == (State.WAITING, True)


def test_rows_are_lost_on_a_busy_server_too() -> None:
    """Other runs keep the consumer at work; what it has passed over long ago it will not store."""
    for others in (0, 5):  # of their rows in our window
        asked = settle(receipt(), seen(100, samples=8 + others, moved=99), RULES)
        assert (asked.state, asked.needs_ids) == (State.LOST, True)
    holes = IdProof(stored=8, missing_count=2, missing=("a", "b"))
    for after, pending, state in ((59, 0, State.WAITING), (100, 7, State.WAITING), (100, 0, State.LOST)):
        look = seen(after, samples=8, pending=pending, moved=after - 1, proof=holes)
        assert settle(receipt(), look, RULES).state is state


@pytest.mark.parametrize("share", [0.29, 0.55, 0.56, 0.57, 0.58])
def test_a_share_is_of_whole_rows(share: float) -> None:
    assert SettlementRules(max_refused=share).allowed_refusals(100) == round(share * 100)


def test_a_receipt_without_waiting_rows_is_settled() -> None:
    assert settle(receipt(0), seen(samples=None), RULES).state is State.SETTLED
    again = settle(receipt(0, read=5, stored=5), seen(samples=None), RULES)
    assert counts(again) == (5, 0, 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"verify": "x"},
        {"max_refused": -1},
        {"max_refused": 1.5},
        {"max_refused": True},
        {"lost_after": -1},
        {"stall_after": -1},
    ],
)
def test_wrong_rules_name_the_setting(wrong: dict[str, object]) -> None:
    with pytest.raises(DeepchecksConfigError, match=next(iter(wrong))):
        SettlementRules(**wrong)  # type: ignore[arg-type]


def test_waiting_for_nothing_is_allowed() -> None:
    assert SettlementRules(lost_after=0, stall_after=0.5).lost_after == 0


# -- what really happened against what is decided --


@given(st.data())
def test_no_lost_row_is_ever_settled_by_counts(data: st.DataObject) -> None:
    """Play an upload row by row; with no other writer in the window, settled means that no row is missing."""
    sent = data.draw(st.integers(1, 8))
    before = resent = stored_new = refused = time_refused = duplicates = missing = 0
    for _ in range(sent):
        fate = data.draw(st.sampled_from(["stored", "before", "refused", "lost"]))
        twice = data.draw(st.booleans())
        second_seen = data.draw(st.booleans())
        resent += twice
        if fate == "stored":
            stored_new += 1
            if twice and second_seen:
                duplicates += 1
            elif twice and data.draw(st.booleans()):
                refused += 1  # its first sending came too early by the server's clock
                time_refused += 1
        elif fate == "before":
            before += 1
            duplicates += 1
        elif fate == "refused":
            refused += 1
        else:
            missing += 1
    look = seen(
        1000,
        samples=before + stored_new,
        refused_count=refused,
        refused_for_time=time_refused,
        duplicate_count=duplicates,
    )
    rules = counting(max_refused=1.0, lost_after=60)
    done = settle(receipt(sent, resent=resent, samples_before=before), look, rules)
    if missing:
        assert done.state is State.LOST
    elif not resent:
        assert done.state is State.SETTLED
        assert counts(done) == (stored_new, before, refused, 0)
    assert sum(counts(done)) == sent
