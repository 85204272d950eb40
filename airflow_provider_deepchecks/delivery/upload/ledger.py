# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The books of one upload: each row acknowledged is entered once, and kept in the checkpoint."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.delivery.receipt import Example, Receipt
from airflow_provider_deepchecks.delivery.upload.digest import PrefixDigest
from airflow_provider_deepchecks.delivery.upload.sending import without
from airflow_provider_deepchecks.delivery.upload.targets import LabelTarget, SampleTarget
from airflow_provider_deepchecks.exceptions import DeepchecksInvalidRowsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import pyarrow as pa

    from airflow_provider_deepchecks.delivery.ids import SentIds
    from airflow_provider_deepchecks.delivery.upload.checkpoint import Checkpoint, Progress
    from airflow_provider_deepchecks.records.chunks.chunker import Chunk

log = logging.getLogger(__name__)

#: Rows that the server cannot take, after which it is no longer a matter of single rows.
MAX_REJECTED = 100


class Ledger:
    """Progress of an upload, and what goes with each row acknowledged.

    :param ids: collects the ids of all rows acknowledged, the rejected ones left out.
    :param on_rejected: takes rows that the server cannot take, with the reason.
    """

    def __init__(
        self,
        progress: Progress,
        checkpoint: Checkpoint,
        *,
        noun: str,
        ids: SentIds | None,
        on_rejected: Callable[[pa.RecordBatch, str], None] | None,
    ) -> None:
        self.progress = progress
        self._checkpoint = checkpoint
        self._noun = noun
        self._ids = ids
        self._on_rejected = on_rejected
        self._digest = PrefixDigest()
        #: Chunks that may come next, and the digest with them: nothing is hashed twice.
        self._digested: tuple[list[Chunk], PrefixDigest] = [], self._digest
        self._reasons: Counter[str] = Counter()
        self._examples: list[Example] = []
        if ids is not None:
            ids.reset()

    def keep(self, progress: Progress) -> None:
        """Take over a progress and write it down."""
        self.progress = progress
        self._checkpoint.save(progress)

    def digest_with(self, chunks: Sequence[Chunk]) -> str:
        """Digest of the rows entered and of rows that would come next."""
        digest = self._digest.copy()
        for chunk in chunks:
            digest.add(chunk.batch)
        self._digested = list(chunks), digest
        return digest.hexdigest()

    @property
    def matches(self) -> bool:
        """Whether the rows entered are those that the kept progress tells of."""
        return not self.progress.acknowledged or self._digest.hexdigest() == self.progress.digest

    def enter_again(self, chunk: Chunk, position: int) -> Chunk | None:
        """Enter rows that an earlier attempt acknowledged.

        :param position: of the chunk's first row in the stream of valid rows.
        :return: those of them that the server took, None when it took none.
        """
        end = position + chunk.rows
        rejected = [(at - position, why) for at, why in self.progress.rejected if position <= at < end]
        return self._enter(chunk, rejected)

    def acknowledge(
        self, chunk: Chunk, *, found: int, resent: int, rejected: Sequence[tuple[int, str]]
    ) -> None:
        """Book rows that are dealt with.

        :param found: how many were not sent because they were stored already.
        :param resent: how many were sent again without knowing whether they had arrived.
        :raises DeepchecksInvalidRowsError: the server cannot take too many rows.
        """
        before = self.progress
        # What was found of rows in flight was sent by the attempt before, but for those stored before that.
        already = min(found, before.in_flight_stored)
        self._enter(chunk, rejected)
        places = tuple((before.acknowledged + place, reason) for place, reason in rejected)
        self.keep(
            replace(
                before,
                acknowledged=before.acknowledged + chunk.rows,
                digest=self._digest.hexdigest(),
                in_flight=max(0, before.in_flight - chunk.rows),
                in_flight_stored=before.in_flight_stored - already,
                sent=before.sent + chunk.rows - already - len(rejected),
                already_stored=before.already_stored + already,
                rejected=before.rejected + places,
                null_labels=before.null_labels + chunk.null_labels(),
                resent=before.resent + resent,
                finished_at=None,
            )
        )
        self._check_limit(self._noun, self._examples)

    def count_labels(self, sent: int) -> None:
        """Count labels that went out; written down when their samples are acknowledged."""
        self.progress = replace(self.progress, labels_sent=self.progress.labels_sent + sent)

    def reject_label(self, sample_id: str, reason: str) -> None:
        """Count and name a label that the server cannot take.

        :raises DeepchecksInvalidRowsError: there are too many of them.
        """
        log.warning("The label of %s cannot be sent: %s", sample_id, reason)
        before = self.progress
        self.progress = replace(before, labels_rejected=(*before.labels_rejected, (sample_id, reason)))
        self._check_limit("labels", self._label_examples())

    def _label_examples(self) -> list[Example]:
        return [Example(sample_id, reason) for sample_id, reason in self.progress.labels_rejected]

    def _check_limit(self, noun: str, examples: Sequence[Example]) -> None:
        if len(examples) <= MAX_REJECTED:
            return
        first = "; ".join(f"{row.sample_id}: {row.reason}" for row in examples[:5])
        raise DeepchecksInvalidRowsError(
            f"The server cannot take more than {MAX_REJECTED} {noun}, the first ones: {first}. This is no "
            "matter of single rows: compare the source with the version's schema, and look at the server's "
            "log.",
            reasons=Counter(row.reason for row in examples),
        )

    def _enter(self, chunk: Chunk, rejected: Sequence[tuple[int, str]]) -> Chunk | None:
        chunks, digest = self._digested
        if len(chunks) == 1 and chunks[0] is chunk:
            self._digest = digest
        else:
            self._digest.add(chunk.batch)
        self._digested = [], self._digest
        for place, reason in rejected:
            row = chunk.batch.slice(place, 1)
            example = Example(str(row.column("_dc_sample_id")[0].as_py()), reason)
            log.warning("%s cannot be sent: %s", example.sample_id, reason)
            self._reasons[reason] += 1
            self._examples.append(example)
            if self._on_rejected is not None:
                self._on_rejected(row, reason)
        ids = chunk.sample_ids() if rejected else []
        taken = without(chunk, {ids[place] for place, _ in rejected})
        if self._ids is not None and taken is not None:
            self._ids.add(taken.batch, bare={sample_id for sample_id, _ in self.progress.labels_rejected})
        return taken

    def finish(self, now: datetime) -> None:
        """Write down that no row is left, unless an earlier attempt came as far.

        :param now: by the server's clock (UTC).
        """
        if self.progress.finished_at is None:
            self.keep(replace(self.progress, finished_at=now))

    def receipt(
        self,
        target: SampleTarget | LabelTarget,
        *,
        server: str,
        source: str,
        with_labels: bool,
    ) -> Receipt:
        """The receipt of the rows acknowledged, once they are all there are (:meth:`finish`)."""
        progress = self.progress
        assert progress.finished_at is not None
        rejected = len(progress.rejected)
        receipt = Receipt(
            kind="samples",
            server=server,
            model=target.model,
            model_id=target.model_id,
            version=None,
            version_id=None,
            source=source,
            started_at=progress.started_at,
            finished_at=progress.finished_at,
            read=progress.acknowledged,
            sent=progress.sent,
            waiting=progress.sent,
            resent=progress.sent if progress.repeated else min(progress.resent, progress.sent),
            already_stored=progress.already_stored,
            refused=0 if self._on_rejected else rejected,
            quarantined=rejected if self._on_rejected else 0,
            window_start=progress.window_start,
            window_end=progress.window_end,
            samples_before=progress.samples_before,
            labeled_before=progress.labeled_before,
            reasons=dict(self._reasons),
            # All of them, MAX_REJECTED at most; only what is kept for later names fewer.
            examples=tuple(self._examples),
        )
        if isinstance(target, LabelTarget):
            return replace(
                receipt,
                kind="labels",
                version_ids=target.version_ids,
                labeled_before_each=progress.labeled_before_each,
                null_labels=progress.null_labels,
            )
        labels = replace(
            receipt,
            kind="labels",
            version_ids=(target.version_id,),
            source="",
            read=progress.labels_sent + len(progress.labels_rejected),
            sent=progress.labels_sent,
            waiting=progress.labels_sent,
            refused=len(progress.labels_rejected),
            resent=0,
            already_stored=0,
            quarantined=0,
            samples_known=True,
            reasons={},
            examples=tuple(self._label_examples()),
        )
        return replace(
            receipt,
            version=target.version,
            version_id=target.version_id,
            labels=labels if with_labels else None,
        )
