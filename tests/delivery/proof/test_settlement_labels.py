# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Whether the labels are in, decided from a receipt and one look."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_deepchecks.delivery.proof.observation import IdProof
from airflow_provider_deepchecks.delivery.proof.settlement import (
    SettlementRules,
    State,
    settle,
)
from tests.delivery.settling import RULES, counting, counts, labels, receipt, seen


def test_new_labels_settle_by_the_count() -> None:
    assert settle(labels(), seen(samples=20, labeled_in_window=9), RULES).state is State.WAITING
    done = settle(labels(), seen(samples=20, labeled_in_window=10), RULES)
    assert done.state is State.SETTLED
    assert counts(done) == (10, 0, 0, 0)


def test_labels_without_a_waiting_one_are_settled() -> None:
    done = settle(
        labels(0, read=3, refused=1, stored=2),
        seen(samples=20),
        counting(max_refused=1),
    )
    assert done.state is State.SETTLED
    assert counts(done) == (2, 0, 1, 0)
    assert settle(labels(0, read=1, refused=1), seen(samples=20), RULES).state is State.REFUSED


def test_labels_that_do_not_show_yet_are_waited_for() -> None:
    for sent in (1, 10):
        look = settle(labels(sent), seen(samples=20, labeled_in_window=0), RULES)
        assert look.state is State.WAITING
        assert counts(look) == (0, 0, 0, sent)
    assert (
        "6 of 10 labels do not show yet"
        in settle(labels(), seen(samples=20, labeled_in_window=4), RULES).message
    )


@pytest.mark.parametrize(
    ("proof", "gone"),
    [
        (IdProof(stored=2, elsewhere=8), 8),
        (IdProof(stored=3, elsewhere=2, missing_count=5), 7),
        (IdProof(stored=9, missing_count=1), 1),
    ],
)
def test_labels_that_the_ids_do_not_show_are_lost(proof: IdProof, gone: int) -> None:
    """Others' labels, too, are among the four that the window has more than before."""
    look = seen(61, samples=20, labeled_in_window=4, label_proof=proof)
    lost = settle(labels(), look, RULES)
    assert lost.state is State.LOST
    assert f"{gone} of 10 labels are on no sample, or it has another one" in lost.message
    found = min(4, 10 - gone)
    assert counts(lost) == (found, 10 - gone - found, 0, gone)


def test_samples_labelled_throughout_settle() -> None:
    both = receipt(labels=labels(samples_known=True, labeled_before=4))
    done = settle(both, seen(samples=10, labeled_in_window=10), RULES)
    assert done.state is State.SETTLED
    assert counts(replace(done, receipt=done.receipt.labels)) == (6, 4, 0, 0)


def test_labels_by_themselves_are_sent_to_replace_others() -> None:
    """Their samples have labels, and nothing tells that they are the new ones."""
    look = seen(61, samples=10, labeled_in_window=10)
    for before in (4, 10):
        assert settle(labels(labeled_before=before), look, RULES).state is State.LOST


def test_labels_are_waited_for_while_the_consumer_is_at_the_samples() -> None:
    both = receipt(labels=labels(samples_known=True))
    for after, pending, moved, state in (
        (119, 0, 0, State.WAITING),
        (300, 0, 250, State.WAITING),
        (300, 7, 179, State.LOST),
        (300, 7, 181, State.WAITING),
        # Other runs keep it at work, and it is through with ours.
        (300, 0, 239, State.LOST),
    ):
        look = seen(after, samples=10, pending=pending, moved=moved, labeled_in_window=4)
        assert settle(both, look, counting(lost_after=120)).state is state


def test_samples_labelled_throughout_prove_no_more_labels_than_there_were() -> None:
    """Two had one before, and ten were sent: the six that do not show cannot all have replaced one."""
    sent = labels(labeled_before=2, samples_known=True)
    look = seen(61, samples=8, labeled_in_window=6)
    assert settle(sent, look, RULES).state is State.LOST
    throughout = seen(61, samples=6, labeled_in_window=6)
    assert settle(sent, throughout, RULES).state is State.LOST


def test_labels_that_may_have_replaced_others_prove_nothing_by_counts() -> None:
    again = labels(labeled_before=10)
    look = seen(59, samples=20, labeled_in_window=10)
    assert settle(again, look, RULES).state is State.WAITING
    lost = settle(again, seen(61, samples=20, labeled_in_window=10), RULES)
    assert (lost.state, lost.needs_ids) == (State.LOST, True)
    assert "which counts cannot show" in lost.message
    assert "ids_path" in lost.message
    assert counts(lost) == (0, 0, 0, 10)


def test_labels_of_others_make_counts_useless() -> None:
    asked = settle(labels(), seen(samples=20, labeled_in_window=11), RULES)
    assert (asked.state, asked.needs_ids) == (State.WAITING, True)
    assert settle(labels(), seen(61, samples=20, labeled_in_window=11), RULES).state is State.LOST


def test_labels_are_compared_by_ids_where_that_is_wanted() -> None:
    look = seen(samples=20, labeled_in_window=10)
    for verify in ("auto", "ids"):
        asked = settle(labels(), look, SettlementRules(verify=verify, lost_after=60))  # type: ignore[arg-type]
        assert (asked.state, asked.needs_ids) == (State.WAITING, True)
        assert "10 labels are not compared by their ids yet" in asked.message
    proven = seen(samples=20, labeled_in_window=10, label_proof=IdProof(stored=10))
    assert settle(labels(), proven, SettlementRules(verify="ids")).state is State.SETTLED


def test_a_label_shows_in_each_version_that_holds_its_sample() -> None:
    """Five labels show in two versions each: that is not ten."""
    both = replace(labels(), version_ids=(2, 3), labeled_before_each=(0, 0))
    twice = seen(61, samples=20, labeled_in_window=10, labeled_each=(5, 5))
    assert settle(both, twice, RULES).state is State.LOST
    whole = seen(samples=40, labeled_in_window=20, labeled_each=(10, 10))
    assert settle(both, whole, RULES).state is State.SETTLED
    one = seen(samples=40, labeled_in_window=13, labeled_each=(10, 3))
    assert settle(both, one, RULES).state is State.SETTLED


def test_null_labels_are_for_the_ids() -> None:
    """Ten sent, one of them takes a label back: nine more than before prove nothing, and so do ten."""
    some = replace(labels(labeled_before=5), null_labels=1)
    for shown in (14, 15):
        assert settle(some, seen(61, samples=20, labeled_in_window=shown), RULES).state is State.LOST
    proven = seen(samples=20, labeled_in_window=13, label_proof=IdProof(stored=10))
    assert counts(settle(some, proven, RULES)) == (8, 2, 0, 0)


def test_many_labels_have_more_time() -> None:
    """A consumer that takes 500 a second is at work on 100,000 for 200 seconds."""
    many = labels(100_000)
    assert settle(many, seen(259, samples=200_000, labeled_in_window=9), RULES).state is State.WAITING
    assert settle(many, seen(261, samples=200_000, labeled_in_window=9), RULES).state is State.LOST


def test_labels_of_samples_come_after_the_samples() -> None:
    both = receipt(labels=labels(6, samples_known=True))
    look = seen(100, samples=10, moved=90, labeled_in_window=5)
    assert settle(both, look, RULES).state is State.WAITING


@pytest.mark.parametrize("known", [True, False])
def test_labels_that_show_nowhere_fail(known: bool) -> None:
    sent = labels(samples_known=known, labeled_before=2)
    lost = settle(sent, seen(61, samples=20, labeled_in_window=7), RULES)
    assert lost.state is State.LOST
    assert "5 of 10 labels do not show" in lost.message
    assert ("allow_unmatched=True" in lost.message) is not known
    assert counts(lost) == (5, 0, 0, 5)
    lenient = replace(RULES, allow_unmatched=True)
    look = seen(61, samples=20, labeled_in_window=7)
    passed = settle(labels(samples_known=known), look, lenient)
    assert passed.state is (State.LOST if known else State.SETTLED)
    assert counts(passed) == ((7, 0, 0, 3) if known else (10, 0, 0, 0))
    assert passed.receipt.unmatched == (0 if known else 3)
    # Where the ids are to be compared they come first.
    assert settle(labels(samples_known=known), look, replace(lenient, verify="auto")).needs_ids


def test_refused_labels_fail() -> None:
    done = settle(labels(), seen(samples=20, labeled_in_window=9, labels_refused_count=1), RULES)
    assert done.state is State.REFUSED
    assert "1 label " in done.message


def test_the_ids_tell_replaced_labels_from_missing_ones() -> None:
    again = labels(labeled_before=10)
    replaced = seen(samples=20, labeled_in_window=10, label_proof=IdProof(stored=10))
    assert settle(again, replaced, RULES).state is State.SETTLED
    holes = IdProof(stored=9, missing_count=1, missing=("x",))
    assert (
        settle(again, seen(samples=20, labeled_in_window=10, label_proof=holes), RULES).state is State.WAITING
    )
    lost = settle(again, seen(61, samples=20, labeled_in_window=10, label_proof=holes), RULES)
    assert (lost.state, lost.missing) == (State.LOST, ("x",))
    assert "(first ids: x) 60 s after the upload" in lost.message
    homeless = IdProof(stored=9, elsewhere=1, outside=("y",))
    look = seen(61, samples=20, labeled_in_window=10, label_proof=homeless)
    lost = settle(again, look, RULES)
    assert lost.state is State.LOST
    assert "(first ids: y)" in lost.message
    assert "allow_unmatched=True" in lost.message
    let_pass = settle(again, look, SettlementRules(allow_unmatched=True))
    assert let_pass.state is State.SETTLED
    assert (counts(let_pass), let_pass.receipt.unmatched) == ((1, 9, 0, 0), 1)
    both = IdProof(stored=8, elsewhere=1, missing_count=1, missing=("x",), outside=("y",))
    look = seen(61, samples=20, labeled_in_window=10, label_proof=both)
    lost = settle(again, look, replace(RULES, allow_unmatched=True))
    assert "1 of 10 labels are on no sample, or it has another one (first ids: x)" in lost.message
    assert "allow_unmatched" not in lost.message, "it is set"


def test_labels_on_no_sample_were_not_there_before() -> None:
    """Seven are on samples that had none, one replaces another, two wait for their samples."""
    look = seen(samples=20, labeled_in_window=9, label_proof=IdProof(stored=8, elsewhere=2))
    let_pass = settle(labels(labeled_before=2), look, SettlementRules(allow_unmatched=True))
    assert (counts(let_pass), let_pass.receipt.unmatched) == ((9, 1, 0, 0), 2)
    assert "9 stored (2 of them seen on no sample) + 1 already stored" in let_pass.receipt.summary()
    # Others' labels, too, are among those that the window has more than before.
    more = seen(samples=20, labeled_in_window=15, label_proof=IdProof(stored=8, elsewhere=2))
    let_pass = settle(labels(labeled_before=2), more, SettlementRules(allow_unmatched=True))
    assert (counts(let_pass), let_pass.receipt.unmatched) == ((10, 0, 0, 0), 2)


def test_samples_and_their_labels_settle_together() -> None:
    both = receipt(labels=labels(6, samples_known=True))
    assert settle(both, seen(samples=10, labeled_in_window=5), RULES).state is State.WAITING
    assert settle(both, seen(samples=9, labeled_in_window=6), RULES).state is State.WAITING
    done = settle(both, seen(samples=10, labeled_in_window=6), RULES)
    assert done.state is State.SETTLED
    assert counts(done) == (10, 0, 0, 0)
    assert done.receipt.labels is not None
    assert (done.receipt.labels.stored, done.receipt.labels.waiting) == (6, 0)
    assert settle(both, seen(100, samples=10, labeled_in_window=5), RULES).state is State.LOST


def test_labels_of_refused_samples_are_not_lost() -> None:
    both = receipt(labels=labels(10, samples_known=True))
    lenient = counting(max_refused=1, lost_after=60)
    look = seen(100, samples=9, refused_count=1, labeled_in_window=9)
    done = settle(both, look, lenient)
    assert done.state is State.SETTLED
    assert done.receipt.labels is not None
    assert (counts(replace(done, receipt=done.receipt.labels)), done.receipt.labels.unmatched) == (
        (10, 0, 0, 0),
        1,
    )


def test_a_label_is_only_excused_by_a_sample_that_had_one() -> None:
    """Four of ten samples had no label; the refused one may be one of them, and then a label is lost."""
    some = receipt(labels=labels(6, samples_known=True))
    look = seen(100, samples=9, refused_count=1, labeled_in_window=5)
    assert settle(some, look, counting(max_refused=1, lost_after=60)).state is State.LOST
    five = seen(100, samples=5, refused_count=5, labeled_in_window=5)
    assert settle(some, five, counting(max_refused=5, lost_after=60)).state is State.SETTLED


def test_samples_stored_before_with_another_time_excuse_their_labels() -> None:
    """As rows without a time of their own are when they are sent again: the window is that of this time."""
    both = receipt(labels=labels(10, samples_known=True))
    again = settle(both, seen(samples=0, duplicate_count=10, labeled_in_window=0), RULES)
    assert again.state is State.SETTLED
    assert again.receipt.labels is not None
    assert again.receipt.labels.unmatched == 10
    some = settle(both, seen(samples=6, duplicate_count=4, labeled_in_window=5), RULES)
    assert some.state is State.WAITING, "one of six that are in the window has none"


def test_a_sample_refused_while_sending_excuses_no_label() -> None:
    """Its label was not sent."""
    both = receipt(10, read=11, refused=1, labels=labels(10, samples_known=True))
    lenient = counting(max_refused=1, lost_after=60)
    assert settle(both, seen(100, samples=10, labeled_in_window=9), lenient).state is State.LOST
    assert settle(both, seen(100, samples=10, labeled_in_window=10), lenient).state is State.SETTLED


def test_labels_of_samples_that_the_ids_do_not_show_are_not_lost() -> None:
    both = receipt(labels=labels(6, samples_known=True))
    look = seen(
        100,
        samples=8,
        refused_count=1,
        duplicate_count=1,
        labeled_in_window=5,
        proof=IdProof(stored=8, refused=1, elsewhere=1),
        label_proof=IdProof(stored=5, elsewhere=1),
    )
    done = settle(both, look, SettlementRules(max_refused=1))
    assert done.state is State.SETTLED
    assert done.receipt.labels is not None
    assert done.receipt.labels.unmatched == 1, "nobody saw it"
