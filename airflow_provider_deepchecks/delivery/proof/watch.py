# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""One look at what is waited for, the same for sensors, triggers and operators that wait.

A :class:`Watch` says what to wait for, in plain JSON, so that it travels to a triggerer. :meth:`Watch.look`
asks the server once and answers with a :class:`Sighting`, plain JSON as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow_provider_deepchecks.delivery.proof.coverage import Coverage, alert_deadline, coverage
from airflow_provider_deepchecks.delivery.proof.observe import look
from airflow_provider_deepchecks.delivery.proof.quiet import quiet
from airflow_provider_deepchecks.delivery.proof.settlement import SettlementRules, State
from airflow_provider_deepchecks.delivery.receipt import Receipt
from airflow_provider_deepchecks.delivery.window import ALWAYS
from airflow_provider_deepchecks.exceptions import (
    DeepchecksConfigError,
    DeepchecksError,
    DeepchecksLostRowsError,
    DeepchecksRefusedRowsError,
    DeepchecksServerError,
    DeepchecksStalledError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_deepchecks.client.api import DeepchecksClient

    #: From the text of a path to what opens it: the storage's credentials are not this package's matter.
    FindPath = Callable[[str], Any]

#: Looks in a row that may fail before waiting fails.
FAILED_LOOKS = 5


@dataclass(frozen=True)
class Sighting:
    """What one look found.

    :param state: of :class:`~airflow_provider_deepchecks.delivery.proof.settlement.State`, or
        ``unreachable``, or ``failed``.
    :param message: for people.
    :param result: JSON to hand on: the settled receipt, or the counts found.
    :param sample_ids: the first rows refused.
    """

    state: str
    message: str
    result: Mapping[str, Any] = field(default_factory=dict)
    sample_ids: tuple[str, ...] = ()

    #: The server did not answer several looks in a row.
    UNREACHABLE: ClassVar[str] = "unreachable"
    #: Looking itself failed in a way that looking again cannot mend: a wrong token, no such model.
    FAILED: ClassVar[str] = "failed"

    @property
    def waiting(self) -> bool:
        """Whether to look again."""
        return self.state == State.WAITING

    def error(self) -> DeepchecksError | None:
        """The error of a failed wait; None when settled or waiting."""
        if self.state in (State.SETTLED, State.WAITING):
            return None
        if self.state == State.REFUSED:
            return DeepchecksRefusedRowsError(self.message, sample_ids=self.sample_ids)
        if self.state == State.LOST:
            return DeepchecksLostRowsError(self.message)
        if self.state == State.STALLED:
            return DeepchecksStalledError(self.message)
        if self.state == self.UNREACHABLE:
            return DeepchecksServerError(self.message)
        return DeepchecksError(self.message)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "state": str(self.state), "sample_ids": list(self.sample_ids)}

    @classmethod
    def from_dict(cls, data: object) -> Sighting:
        """From :meth:`to_dict`'s JSON.

        :raises DeepchecksServerError: this is no sighting; the trigger ended in a way nobody foresaw.
        """
        known = {*State, cls.UNREACHABLE, cls.FAILED}
        if not isinstance(data, Mapping) or data.get("state") not in known or "message" not in data:
            raise DeepchecksServerError(
                f"The trigger ended without a known outcome ({data!r:.200}). Run the task again; the "
                "triggerer's log of this task tells what happened."
            )
        return cls(
            data["state"], data["message"], data.get("result") or {}, tuple(data.get("sample_ids") or ())
        )


class Watch(Protocol):
    """What to wait for."""

    kind: ClassVar[str]

    def look(self, client: DeepchecksClient, watched_for: float, find_path: FindPath) -> Sighting:
        """Ask the server once.

        :param watched_for: seconds since the first look.
        :param find_path: opens the receipt's files.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, with the kind."""
        ...


@dataclass(frozen=True)
class ReceiptWatch:
    """Wait until every row of a receipt is accounted for."""

    receipt: Mapping[str, Any]
    rules: SettlementRules

    kind: ClassVar[str] = "receipt"

    def look(self, client: DeepchecksClient, watched_for: float, find_path: FindPath) -> Sighting:
        receipt = Receipt.from_dict(self.receipt)
        if receipt.server != client.settings.base_url:
            # Its ids mean other models there, and small ones are on any server.
            raise DeepchecksConfigError(
                f"The receipt is of an upload to {receipt.server}, and this connection leads to "
                f"{client.settings.base_url}. Give deepchecks_conn_id= of the upload."
            )
        settlement = look(client, receipt, self.rules, find_path=find_path)
        message = settlement.message
        if settlement.state is State.SETTLED:
            message = f"{settlement.receipt.summary()}."
        ids = tuple(row.sample_id for row in settlement.refused[:10] if row.sample_id is not None)
        return Sighting(settlement.state, message, settlement.receipt.to_dict(), ids)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "receipt": dict(self.receipt), "rules": asdict(self.rules)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ReceiptWatch:
        return cls(data["receipt"], SettlementRules(**data["rules"]))


@dataclass(frozen=True)
class QuietWatch:
    """Wait until nothing of a model, or of one version, is pending, and it has stayed so.

    :param quiet_for: seconds it has to stay so.
    :param stall_after: seconds without movement after which pending rows are stalled.
    """

    model: str
    version: str | None
    quiet_for: float
    stall_after: float

    kind: ClassVar[str] = "quiet"

    def look(self, client: DeepchecksClient, watched_for: float, find_path: FindPath) -> Sighting:
        model, version = client.resolve(self.model, self.version)
        statuses = [
            status
            for status in client.version_statuses(model.id)
            if version is None or status.version_id == version.id
        ]
        found = quiet(
            statuses,
            client.server_now(),
            watched_for=watched_for,
            quiet_for=self.quiet_for,
            stall_after=self.stall_after,
        )
        name = f"model {self.model!r}" + (f", version {self.version!r}" if self.version else "")
        result = {"model": self.model, "version": self.version, "pending_rows": found.pending_rows}
        return Sighting(found.state, f"{name}: {found.message}.", result)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> QuietWatch:
        return cls(data["model"], data["version"], float(data["quiet_for"]), float(data["stall_after"]))


@dataclass(frozen=True)
class CoverageWatch:
    """Wait until a share of a window's samples has a label, or a deadline passes.

    :param start: of the window, inclusive, epoch seconds; None for the version's oldest sample.
    :param end: of the window, exclusive, epoch seconds; None for now and later.
    :param ratio: share of the samples; None for the model's own ``alerts_delay_labels_ratio``.
    :param deadline: epoch seconds; None for the moment at which the model stops waiting for labels
        (``alerts_delay_seconds`` after the end of the window).
    :param fail_at_deadline: fail when the deadline passes first, instead of going on with what there is.
    """

    model: str
    version: str | None
    start: float | None
    end: float | None
    ratio: float | None
    deadline: float | None
    fail_at_deadline: bool

    kind: ClassVar[str] = "coverage"

    def look(self, client: DeepchecksClient, watched_for: float, find_path: FindPath) -> Sighting:
        ref, version = client.resolve(self.model, self.version)
        model = client.model(ref.id)
        versions = [version] if version is not None else list(ref.versions)
        samples = labeled = 0
        newest: datetime | None = None
        for item in versions:
            held = client.version(item.id)
            if held.start_time is None or held.end_time is None:
                continue
            start = held.start_time if self.start is None else datetime.fromtimestamp(self.start, UTC)
            end = ALWAYS[1] if self.end is None else datetime.fromtimestamp(self.end, UTC)
            counts = client.window_counts(item.id, start, end)
            samples, labeled = samples + counts.samples, labeled + counts.labeled
            newest = max(newest, held.end_time) if newest else held.end_time
        found = coverage(
            samples,
            labeled,
            ratio=model.alerts_delay_labels_ratio if self.ratio is None else self.ratio,
            server_now=client.server_now(),
            deadline=self._deadline(newest, model.alerts_delay_seconds),
        )
        result = {"model": self.model, "version": self.version, "samples": samples, "labeled": labeled}
        message = f"model {self.model!r}: {found.message}."
        if found.state is Coverage.WAITING:
            return Sighting(State.WAITING, message, result)
        if found.state is Coverage.OVERDUE and self.fail_at_deadline:
            return Sighting(State.REFUSED, f"{message} Send the missing labels, or lower ratio=.", result)
        return Sighting(State.SETTLED, message, {**result, "coverage": found.share})

    def _deadline(self, newest: datetime | None, alerts_delay_seconds: float) -> datetime | None:
        if self.deadline is not None:
            return datetime.fromtimestamp(self.deadline, UTC)
        end = datetime.fromtimestamp(self.end, UTC) if self.end is not None else newest
        return alert_deadline(end, alerts_delay_seconds) if end is not None else None

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CoverageWatch:
        return cls(**{key: value for key, value in data.items() if key != "kind"})


def watch_from_dict(data: Mapping[str, Any]) -> Watch:
    """The watch from its JSON.

    :raises DeepchecksConfigError: an unknown kind.
    """
    kinds: dict[str, Any] = {kind.kind: kind for kind in (ReceiptWatch, QuietWatch, CoverageWatch)}
    if data.get("kind") not in kinds:
        raise DeepchecksConfigError(f"Unknown kind of watch {data.get('kind')!r}; known: {', '.join(kinds)}.")
    watch: Watch = kinds[data["kind"]].from_dict(data)
    return watch


class Looker:
    """Looks again and again, and bears some failed looks in a row.

    :param watch: what to wait for.
    :param find_path: from the text of a path to a path or ObjectStoragePath.
    """

    def __init__(self, watch: Watch, find_path: FindPath = str) -> None:
        self.watch = watch
        #: Looks in a row that failed.
        self.failed = 0
        self._find_path = find_path

    def look(self, client: DeepchecksClient, watched_for: float) -> Sighting:
        """One look. A server that does not answer is waited for, :data:`FAILED_LOOKS` looks in a row at most.

        :raises DeepchecksError: what waiting cannot mend: a wrong token, no such model.
        """
        try:
            sighting = self.watch.look(client, watched_for, self._find_path)
        except DeepchecksError as error:
            if not error.retryable:
                raise
            self.failed += 1
            if self.failed < FAILED_LOOKS:
                return Sighting(State.WAITING, f"A look failed ({error}); looking again later.")
            return Sighting(Sighting.UNREACHABLE, f"{FAILED_LOOKS} looks in a row failed. The last: {error}")
        self.failed = 0
        return sighting
