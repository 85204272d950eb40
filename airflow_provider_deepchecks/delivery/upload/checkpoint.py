# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Progress that survives the task, so that a retry goes on where the attempt before stopped.

A checkpoint is a help, never a condition: one that cannot be read or written is a warning, and the upload
goes on. Without it everything is looked up or sent again, which changes nothing on the server.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far an upload has come. Rows are counted in the ordered stream of valid rows.

    :param fingerprint: what is sent and whereto; another one means another upload.
    :param acknowledged: rows dealt with: sent and answered 200, found stored, or set aside.
    :param digest: of the ids, times and labels of the acknowledged rows, in order.
    :param in_flight: rows after those that may have been sent: written before the sending, cleared after the
        answer.
    :param in_flight_digest: of the acknowledged rows and those in flight, in order.
    :param in_flight_stored: those of them that were found stored before that sending.
    :param counted_until: newest sample time up to which ``samples_before`` was counted. Counting again would
        count our own rows.
    :param samples_before: rows stored in [window_start, counted_until] before the upload.
    :param labeled_before: labels only: labelled rows before the upload.
    :param labeled_before_each: labels only: the same for each version.
    :param null_labels: labels only: acknowledged labels that take a label back.
    :param sent: acknowledged rows that the server answered 200 to.
    :param already_stored: acknowledged rows that were stored before the upload.
    :param rejected: places of acknowledged rows that the server cannot take, with the reason.
    :param resent: rows sent again without knowing whether the server had them.
    :param repeated: rows of an earlier run without a checkpoint may still be on their way.
    :param labels_sent: labels that went out with these samples.
    :param labels_rejected: sample ids of labels that the server cannot take, with the reason.
    :param started_at: of the first attempt, by the server's clock (UTC).
    :param finished_at: when the last row was dealt with (UTC); None while rows are still to come. An attempt
        that only waits goes on waiting for rows that were sent then.
    :param attempts: how many attempts have worked on this upload.
    """

    fingerprint: str
    started_at: datetime
    acknowledged: int = 0
    digest: str = ""
    in_flight: int = 0
    in_flight_digest: str = ""
    in_flight_stored: int = 0
    counted_until: datetime | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    samples_before: int = 0
    labeled_before: int = 0
    labeled_before_each: tuple[int, ...] = ()
    null_labels: int = 0
    sent: int = 0
    already_stored: int = 0
    rejected: tuple[tuple[int, str], ...] = ()
    resent: int = 0
    repeated: bool = False
    labels_sent: int = 0
    labels_rejected: tuple[tuple[str, str], ...] = ()
    finished_at: datetime | None = None
    attempts: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        plain = {key: _plain(value) for key, value in asdict(self).items()}
        return {"format": FORMAT, **plain}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Progress:
        """The progress from :meth:`to_dict`'s JSON.

        :raises ValueError: it is none, or one of another version.
        """
        if data.get("format") != FORMAT:
            raise ValueError(f"the checkpoint has format {data.get('format')!r}, not {FORMAT}")
        values = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        for name in ("started_at", "finished_at", "counted_until", "window_start", "window_end"):
            if values.get(name) is not None:
                values[name] = datetime.fromisoformat(values[name])
        values["labeled_before_each"] = tuple(values.get("labeled_before_each", ()))
        values["rejected"] = tuple((int(place), str(reason)) for place, reason in values.get("rejected", ()))
        values["labels_rejected"] = tuple(map(tuple, values.get("labels_rejected", ())))
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"the checkpoint is not whole: {error}") from error


def _plain(value: object) -> object:
    # Airflow's task state takes JSON to the letter: no tuples.
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


class Checkpoint(Protocol):
    """Where progress is kept."""

    def load(self) -> Progress | None:
        """The progress of the attempt before, None when this is a fresh start."""
        ...

    def save(self, progress: Progress) -> None:
        """Keep the progress."""
        ...

    def clear(self) -> None:
        """Forget the progress."""
        ...


class NoCheckpoint:
    """Keeps nothing: a retry starts at the first row."""

    def load(self) -> Progress | None:
        return None

    def save(self, progress: Progress) -> None:
        pass

    def clear(self) -> None:
        pass


class _Store(Protocol):
    def get(self, key: str, default: Any = None) -> Any: ...

    def set(self, key: str, value: Any) -> None: ...

    def delete(self, key: str) -> None: ...


class _Guarded:
    """Load, save and clear around three raw steps: identity, and errors that become one warning.

    :param identity: what makes this the same run. A manual Clear keeps Airflow's stored state but raises
        ``max_tries``, and people expect a fresh start from it: put ``max_tries`` in here.
    """

    def __init__(self, identity: Mapping[str, str | int] | None = None) -> None:
        self._identity = dict(identity or {})
        self._warned = False

    def load(self) -> Progress | None:
        try:
            kept = self._read()
            if kept is None:
                return None
            if kept.get("identity") != self._identity:
                log.info("The checkpoint belongs to another run of this task: starting afresh.")
                return None
            return Progress.from_dict(kept["progress"])
        except Exception as error:
            log.warning("The checkpoint cannot be read, starting afresh: %s: %s", type(error).__name__, error)
            return None

    def save(self, progress: Progress) -> None:
        self._attempt("written", {"identity": self._identity, "progress": progress.to_dict()})

    def clear(self) -> None:
        self._attempt("removed", None)

    def _attempt(self, what: str, value: dict[str, Any] | None) -> None:
        try:
            if value is None:
                self._remove()
            else:
                self._write(value)
        except Exception as error:
            # The rows are in, with or without it; once is enough to know.
            if not self._warned:
                self._warned = True
                log.warning("The checkpoint cannot be %s: %s: %s", what, type(error).__name__, error)

    def _read(self) -> Mapping[str, Any] | None:
        raise NotImplementedError

    def _write(self, value: dict[str, Any]) -> None:
        raise NotImplementedError

    def _remove(self) -> None:
        raise NotImplementedError


class StoreCheckpoint(_Guarded):
    """Progress in a key-value store: ``get``, ``set``, ``delete``, as Airflow's ``task_state_store`` (3.3 and
    later).

    :param key: under which to keep it; one per upload of the task.
    """

    def __init__(
        self, store: _Store, key: str = "deepchecks_upload", identity: Mapping[str, str | int] | None = None
    ) -> None:
        super().__init__(identity)
        self._store = store
        self._key = key

    def _read(self) -> Mapping[str, Any] | None:
        kept = self._store.get(self._key, None)
        found: Mapping[str, Any] | None = json.loads(kept) if isinstance(kept, str) else kept
        return found

    def _write(self, value: dict[str, Any]) -> None:
        self._store.set(self._key, value)

    def _remove(self) -> None:
        self._store.delete(self._key)


class FileCheckpoint(_Guarded):
    """Progress in a file, local or on object storage; replaced as a whole, never half written.

    :param path: path or URL; a directory for it must exist or be creatable.
    :param storage_options: of the fsspec filesystem.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        storage_options: Mapping[str, Any] | None = None,
        identity: Mapping[str, str | int] | None = None,
        filesystem: Any = None,
    ) -> None:
        super().__init__(identity)
        self._url = os.fspath(path) if isinstance(path, os.PathLike) else str(path)
        self._options = dict(storage_options or {})
        self._filesystem = filesystem

    def _place(self) -> tuple[Any, str]:
        if self._filesystem is not None:
            return self._filesystem, self._url
        import fsspec

        place: tuple[Any, str] = fsspec.core.url_to_fs(self._url, **self._options)
        return place

    def _read(self) -> Mapping[str, Any] | None:
        filesystem, path = self._place()
        try:
            with filesystem.open(path, "rb") as file:
                kept: Mapping[str, Any] = json.loads(file.read())
        except FileNotFoundError:
            return None
        return kept

    def _write(self, value: dict[str, Any]) -> None:
        filesystem, path = self._place()
        body = json.dumps(value).encode()
        parent = path.rpartition("/")[0]
        if "file" not in _protocols(filesystem):
            # One put: object storage shows the old object or the new one.
            filesystem.pipe_file(path, body)
            return
        if parent:
            filesystem.makedirs(parent, exist_ok=True)
        half = f"{path}.{uuid.uuid4().hex}.half"
        try:
            with open(half, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(half, path)
        finally:
            if os.path.exists(half):
                os.unlink(half)

    def _remove(self) -> None:
        filesystem, path = self._place()
        if filesystem.exists(path):
            filesystem.rm_file(path)


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def resumable(kept: Progress | None, fingerprint: str) -> Progress | None:
    """The kept progress if it belongs to this upload, for the next attempt."""
    if kept is None:
        return None
    if kept.fingerprint != fingerprint:
        log.warning(
            "The source or the target has changed since the attempt before: starting at the first row."
        )
        return None
    return replace(kept, attempts=kept.attempts + 1)
