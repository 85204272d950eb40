# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The receipt: what one upload did, small enough for an XCom and enough to prove the upload later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError

Kind = Literal["samples", "labels"]

#: Version of the receipt's JSON form. A reader refuses other versions instead of guessing.
FORMAT = 1

# A receipt is kept in Airflow's metadata database: these bounds keep it at a few KB, whatever was uploaded.
_MAX_EXAMPLES = 3
_MAX_REASONS = 6
_MAX_TEXT = 120


@dataclass(frozen=True)
class Example:
    """One row that did not go in, and why."""

    sample_id: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What one upload did.

    ``read == stored + already_stored + refused + quarantined + waiting`` holds for every receipt; one that
    would break it cannot be made. Right after an upload all sent rows are *waiting*: HTTP 200 does not mean
    stored.

    :param kind: samples or labels.
    :param server: scheme, host and port. Never the token.
    :param version: None for labels, which belong to a model.
    :param source: what was read, for people.
    :param read: rows read from the source, bad ones included.
    :param sent: different rows that the server answered 200 to, however often each was sent.
    :param resent: rows whose sending was repeated without knowing whether the server had them already. Only
        these can be listed as duplicates although this very upload stored them.
    :param stored: rows proven to be in Deepchecks through this upload.
    :param already_stored: rows that were there before.
    :param refused: rows refused, by name: after the 200, or by an answer that narrowed down to them.
    :param quarantined: rows that the checks kept out.
    :param waiting: rows sent and not yet proven.
    :param window_start: oldest sample time sent, inclusive (UTC).
    :param window_end: newest sample time sent, inclusive (UTC).
    :param samples_before: rows the version held in the window before this upload.
    :param labeled_before: labelled rows of the window before this upload (labels only).
    :param labeled_before_each: the same for each of ``version_ids``, where there are several: a label shows
        in every version that holds its sample.
    :param null_labels: labels sent that take a label back (labels only); no count shows those.
    :param unmatched: labels only: so many of those stored were seen on no sample of the window: the server
        refused the sample or has it with another time, or ``allow_unmatched`` let them pass. The server keeps
        them until their sample comes. Counts cannot tell them from labels that replace others, or that are
        lost.
    :param samples_known: labels only: all these sample ids are known to be stored, so each label must show
        up.
    :param started_at: by the server's clock (UTC).
    :param finished_at: by the server's clock (UTC).
    :param version_ids: labels only: versions whose windows show the labels.
    :param reasons: rows per reason, of rows refused or quarantined.
    :param examples: the first such rows.
    :param errors_path: Parquet file for what the server lists about these rows later; None where no
        quarantine was asked for.
    :param ids_path: Parquet file with the ids and labels sent, when one was asked for.
    :param ids_name: what is written in that file, so that another upload's cannot be taken for it.
    :param write_back: table for the status of each row, when one was asked for: ``table``, ``conn_id`` and
        ``run``.
    :param labels: of the labels that went out with these samples.
    """

    kind: Kind
    server: str
    model: str
    model_id: int
    version: str | None
    version_id: int | None
    source: str
    started_at: datetime
    finished_at: datetime
    read: int = 0
    sent: int = 0
    resent: int = 0
    stored: int = 0
    already_stored: int = 0
    refused: int = 0
    quarantined: int = 0
    waiting: int = 0
    window_start: datetime | None = None
    window_end: datetime | None = None
    samples_before: int = 0
    labeled_before: int = 0
    labeled_before_each: tuple[int, ...] = ()
    null_labels: int = 0
    unmatched: int = 0
    samples_known: bool = False
    version_ids: tuple[int, ...] = ()
    quarantine_path: str | None = None
    errors_path: str | None = None
    ids_path: str | None = None
    ids_name: str | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    write_back: Mapping[str, str] | None = None
    labels: Receipt | None = None

    def __post_init__(self) -> None:
        parts = (self.stored, self.already_stored, self.refused, self.quarantined, self.waiting)
        if min(parts) < 0 or sum(parts) != self.read:
            raise ValueError(
                f"Row accounting is broken: {self.read} read, but stored {self.stored} + already stored "
                f"{self.already_stored} + refused {self.refused} + quarantined {self.quarantined} + waiting "
                f"{self.waiting} = {sum(parts)}."
            )

    # -- reading ---------------------------------------------------------------------------------------------

    @property
    def noun(self) -> str:
        """``rows`` or ``labels``."""
        return "labels" if self.kind == "labels" else "rows"

    @property
    def target(self) -> str:
        """``model 'm', version 'v'``, for people."""
        name = f"model {self.model!r}"
        return name if self.version is None else f"{name}, version {self.version!r}"

    @property
    def seconds(self) -> float:
        """Seconds the upload took."""
        return (self.finished_at - self.started_at).total_seconds()

    def summary(self) -> str:
        """One line for the log."""
        labels = f"; {self.labels.summary()}" if self.labels else ""
        unmatched = f" ({self.unmatched:,} of them seen on no sample)" if self.unmatched else ""
        rate = f", {self.sent / self.seconds:,.0f} {self.noun}/s" if self.seconds >= 1 and self.sent else ""
        return (
            f"{self.target}: {self.read:,} {self.noun} read = {self.stored:,} stored{unmatched} + "
            f"{self.already_stored:,} already stored + {self.refused:,} refused + {self.quarantined:,} "
            f"quarantined + {self.waiting:,} waiting, in {self.seconds:,.1f} s{rate}{labels}"
        )

    # -- changing --------------------------------------------------------------------------------------------

    def with_read(
        self,
        read: int,
        *,
        quarantined: int = 0,
        quarantine_path: str | None = None,
        ids_path: str | None = None,
        reasons: Mapping[str, int] | None = None,
        examples: tuple[Example, ...] = (),
    ) -> Receipt:
        """The receipt with the rows that never came to sending.

        :param read: rows the source gave, counted at the source: the sum is checked against it.
        """
        return replace(
            self,
            read=read,
            quarantined=self.quarantined + quarantined,
            quarantine_path=quarantine_path or self.quarantine_path,
            ids_path=ids_path or self.ids_path,
            reasons={**self.reasons, **(reasons or {})},
            examples=(*self.examples, *examples)[:_MAX_EXAMPLES],
        )

    # -- JSON ------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, a few KB. Times are ISO 8601 with an offset."""
        out: dict[str, Any] = {"format": FORMAT}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, datetime):
                value = value.astimezone(UTC).isoformat()
            elif item.name == "examples":
                value = [
                    {"sample_id": _cut(row.sample_id), "reason": _cut(row.reason)}
                    for row in value[:_MAX_EXAMPLES]
                ]
            elif item.name == "reasons":
                most = sorted(value.items(), key=lambda pair: (-pair[1], pair[0]))[:_MAX_REASONS]
                value = {_cut(reason): count for reason, count in most}
            elif isinstance(value, Receipt):
                value = value.to_dict()
            elif item.name == "source":
                value = _cut(value)
            elif isinstance(value, tuple):
                value = list(value)
            elif item.name == "write_back" and value is not None:
                value = dict(value)
            out[item.name] = value
        return out

    @classmethod
    def from_dict(cls, data: object) -> Receipt:
        """The receipt from :meth:`to_dict`'s JSON.

        :raises DeepchecksConfigError: this is no receipt, or one of another version.
        """
        hint = "Pass the result of an upload, e.g. `receipt=upload.output`."
        if isinstance(data, Sequence) and not isinstance(data, str | bytes):
            raise DeepchecksConfigError(
                f"These are the {len(data)} receipts of a mapped upload, and a sensor waits for one: map the "
                "sensor as well, `DeepchecksPendingRowsSensor.partial(...).expand(receipt=upload.output)`."
            )
        if isinstance(data, Mapping) and "format" not in data and {"valid", "invalid"} <= data.keys():
            raise DeepchecksConfigError(
                "This is the report of a dry run, which sends nothing that could be waited for: leave the "
                "sensor out, or set dry_run=False on the upload."
            )
        if not isinstance(data, Mapping) or "format" not in data:
            raise DeepchecksConfigError(f"This is no receipt of an upload but {type(data).__name__}. {hint}")
        if data["format"] != FORMAT:
            raise DeepchecksConfigError(
                f"The receipt has format {data['format']!r}, this provider reads format {FORMAT}. Run the "
                "upload again with the provider version that reads the receipt."
            )
        try:
            values = {item.name: data[item.name] for item in fields(cls) if item.name in data}
            for name in ("started_at", "finished_at", "window_start", "window_end"):
                if values.get(name) is not None:
                    values[name] = datetime.fromisoformat(values[name])
            for name in ("version_ids", "labeled_before_each"):
                values[name] = tuple(values.get(name, ()))
            values["examples"] = tuple(Example(**row) for row in values.get("examples", ()))
            if values.get("labels") is not None:
                values["labels"] = cls.from_dict(values["labels"])
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DeepchecksConfigError(f"This is no whole receipt of an upload: {error}. {hint}") from error


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= _MAX_TEXT:
        return text
    return text[: _MAX_TEXT - 1] + "…"
