# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The token is in no log line, exception, XCom, rendered field, URL or repr, and goes to no other host."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import trustme

from airflow_provider_deepchecks.local_server import LocalServer, Options
from tests.canary.hosts import Host, Manner
from tests.client.raw_server import RawServer, answering
from tests.client.raw_server import answer as raw_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

#: Hardly anything else holds these words; the + and = show in URLs as other characters.
SECRET = "cAnArY+9f3c/2b7d51e8~sInGs=="
TOKEN = f"{b64encode(b'canary@example.com').decode()}.{SECRET}"
#: The password of a connection that is printed on purpose.
CONTROL = "cOnTrOl-4711-must-be-found"

SPOILT = [manner.value for manner in Manner if manner is not Manner.ELSEWHERE]
#: What cannot work, besides the hosts above.
BROKEN = ["down", "stranger", "untrusted", "no_tls", "plain_http", "trailing_newline"]


def forms(secret: str) -> set[str]:
    """The secret as it may appear: as it is, in URLs, JSON and HTML, and inside of any base64."""
    found = {secret, quote(secret, safe=""), quote(secret), secret.replace("/", "\\/"), secret.encode().hex()}
    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):
            # Whatever stands around the secret, these characters of its base64 are the same.
            encoded = encode(b" " * before + secret.encode()).decode().rstrip("=")
            found.add(encoded[-(-before * 8 // 6) + (1 if before else 0) : -2])
    return found


FORMS = forms(SECRET) | forms(TOKEN) | {SECRET.rstrip("=")}


def leaks(text: str) -> list[str]:
    """Where a form of the token stands, with some text around it."""
    found = []
    for form in FORMS:
        place = text.find(form)
        if place >= 0:
            found.append(text[max(0, place - 200) : place + 200])
    return found


@dataclass
class Traces:
    """All that the run left behind.

    :param output: of the process.
    :param files: contents of the files below AIRFLOW_HOME, by name.
    :param database: each value in the metadata database, after table and column.
    :param strangers: what came to hosts that are not the server.
    """

    output: str
    files: dict[str, str]
    database: dict[str, str]
    strangers: str
    states: dict[str, str]


def _connection(url: str, token: str = TOKEN, **extra: object) -> str:
    return json.dumps(
        {"conn_type": "deepchecks", "host": url, "password": token, "extra": {"retries": 1, **extra}}
    )


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _values(path: Path) -> dict[str, str]:
    """Every value of a SQLite file: in the bytes of the file long ones are in pieces."""
    found: dict[str, list[str]] = {}
    with closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        tables = [
            name.decode() for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        for table in tables:
            rows = database.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in rows.description]
            for row in rows:
                for name, value in zip(names, row, strict=True):
                    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                    found.setdefault(f"{table}.{name}", []).append(text)
    return {name: "\n".join(values) for name, values in found.items()}


@pytest.fixture(scope="module")
def traces(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traces]:
    home = tmp_path_factory.mktemp("canary")
    shutil.copyfile(airflow_db.parent.parent / "migrated.db", home / "airflow.db")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with ExitStack() as stack:
        server = stack.enter_context(
            LocalServer(Options(token=TOKEN, one_model=False, consumer=True, consumer_delay=0.3))
        )
        server.create_model("canary", "regression", features={"x": "numeric"})
        stranger = stack.enter_context(LocalServer(Options(token="c29tZQ==.other", one_model=False)))
        elsewhere = stack.enter_context(Host(Manner.ELSEWHERE))
        untrusted = stack.enter_context(RawServer(answering(raw_answer(body=b"[]")), tls=tls))
        connections = {
            "good": _connection(server.url),
            "control": json.dumps({"conn_type": "generic", "password": CONTROL}),
            "down": _connection(f"http://127.0.0.1:{_closed_port()}"),
            "untrusted": _connection(untrusted.url),
            "no_tls": _connection(server.url.replace("http:", "https:")),
            "plain_http": _connection("http://deepchecks.example.com"),
            "stranger": _connection(stranger.url),
            "trailing_newline": _connection(server.url, token=f"{TOKEN}\n"),
        }
        for name in SPOILT:
            host = stack.enter_context(Host(Manner(name), server.url, elsewhere.url))
            connections[name] = _connection(host.url)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        environment |= {f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()}
        environment |= {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # Unencrypted: what is kept can be searched.
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-these-tests-" * 4,
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }
        printed, complained = home / "output.txt", home / "errors.txt"
        with open(printed, "w") as stdout, open(complained, "w") as stderr:
            running = subprocess.Popen(
                [sys.executable, "-m", "tests.canary.drive", "good", *BROKEN, *SPOILT],
                env=environment,
                cwd=ROOT,
                stdout=stdout,
                stderr=stderr,
            )
            try:
                code = running.wait(timeout=240)
            except subprocess.TimeoutExpired:
                running.kill()
                code = running.wait()
        output = printed.read_text() + complained.read_text()
        assert code == 0, f"exit code {code} after {output[-6000:]}"
        states = dict(line.split()[1:3] for line in output.splitlines() if line.startswith("STATE "))
        yield Traces(
            output,
            {
                str(path.relative_to(home)): path.read_bytes().decode(errors="replace")
                for path in home.rglob("*")
                if path.is_file()
            },
            _values(home / "airflow.db"),
            "\n".join([*elsewhere.received, *(request.decode() for request in untrusted.requests)]),
            states,
        )


def test_the_search_finds_what_is_there(traces: Traces) -> None:
    """Nothing hides the words from the search: what a task prints of a password is found."""
    assert CONTROL in traces.output
    for text in (f"x{TOKEN}", quote(TOKEN, safe=""), SECRET, json.dumps({"password": TOKEN})):
        assert leaks(text), text
    for before in ("", "a", "Basic "):
        assert leaks(b64encode(f"{before}{TOKEN}:x".encode()).decode())
        assert leaks(b64encode(f"{before}{SECRET}x".encode()).decode())
    assert '"model_name"' in traces.database["rendered_task_instance_fields.rendered_fields"]
    assert "dashboard?modelId=" in traces.database["xcom.value"]
    assert "airflow.db" in traces.files


def test_everything_ran_as_meant(traces: Traces) -> None:
    states = traces.states
    works = [
        "sent",
        "poke",
        "reschedule",
        "defer",
        "coverage",
        "labels",
        "again",
        "checked",
        "use_hooks",
        "control",
    ]
    assert {name: states[name] for name in works} == dict.fromkeys(works, "success")
    fails = ["bad_rows", "wrong_columns", "wrong_model"]
    assert {name: states[name] for name in fails} == dict.fromkeys(fails, "failed")
    # Only the first sending fails.
    assert states["error_page_once.sent"] == "success"
    broken = [name for name in SPOILT if name != "error_page_once"] + BROKEN
    assert {name: states[f"{name}.sent"] for name in broken} == dict.fromkeys(broken, "failed")


def test_token_is_in_no_output(traces: Traces) -> None:
    assert leaks(traces.output) == []


def test_token_is_in_no_file(traces: Traces) -> None:
    assert {name: found for name, text in traces.files.items() if (found := leaks(text))} == {}


def test_token_is_not_in_the_metadata_database(traces: Traces) -> None:
    assert {name: found for name, text in traces.database.items() if (found := leaks(text))} == {}


def test_token_goes_to_no_other_host(traces: Traces) -> None:
    assert leaks(traces.strangers) == []
