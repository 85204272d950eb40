# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The stand-in as a program: its command line, and its state over a kill."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from airflow_provider_deepchecks.local_server import Options, ServerProcess
from airflow_provider_deepchecks.local_server.__main__ import main, parser
from airflow_provider_deepchecks.local_server.handle import Handle
from airflow_provider_deepchecks.local_server.options import DEFAULT_TOKEN

if TYPE_CHECKING:
    from pathlib import Path

MODULE = "airflow_provider_deepchecks.local_server"
TIME = "2026-01-01T00:00:00+00:00"


def rows(count: int, prefix: str = "s") -> list[dict[str, object]]:
    return [
        {"_dc_sample_id": f"{prefix}{number}", "_dc_time": TIME, "_dc_prediction": 1.5, "x": 0.5}
        for number in range(count)
    ]


def count(server: ServerProcess, version_id: int) -> int:
    return int(server.call("GET", f"/model-versions/{version_id}/count-samples")["monitor_count"])


def test_state_survives_a_kill(tmp_path: Path) -> None:
    server = ServerProcess(Options(one_model=False, database=str(tmp_path / "state.db")))
    with server:
        version = server.create_model("delays", "regression", features={"x": "numeric"})
        server.call("POST", f"/model-versions/{version.id}/data", rows(100))
        server.kill()
        server.start()
        assert count(server, version.id) == 100
        server.call("POST", f"/model-versions/{version.id}/data", rows(10))
        assert len(server.call("GET", f"/connected-models/{version.model_id}/ingestion-errors")) == 10
        assert server.create_model("other", "regression", features={}).id > version.id


def test_queue_survives_a_kill(tmp_path: Path) -> None:
    options = Options(
        one_model=False, database=str(tmp_path / "state.db"), consumer=True, consumer_delay=30.0
    )
    server = ServerProcess(options)
    with server:
        version = server.create_model("delays", "regression", features={"x": "numeric"})
        server.call("POST", f"/model-versions/{version.id}/data", rows(700))
        server.kill()
    server.options = Options(one_model=False, database=options.database, consumer=True, consumer_delay=0.05)
    with server:
        for _ in range(200):
            if count(server, version.id) == 700:
                break
            threading.Event().wait(0.05)
        assert count(server, version.id) == 700


def test_killed_in_the_middle_of_an_upload_nothing_of_it_is_stored(tmp_path: Path) -> None:
    server = ServerProcess(Options(one_model=False, database=str(tmp_path / "state.db")))
    with server:
        version = server.create_model("delays", "regression", features={"x": "numeric"})
        body = json.dumps(rows(60_000)).encode()
        head = (
            f"POST /api/v1/model-versions/{version.id}/data HTTP/1.1\r\nHost: stand-in\r\n"
            f"Authorization: Basic {server.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
            connection.sendall(head.encode() + body)
            threading.Event().wait(0.3)
            server.kill()
            try:
                answered = b" 200 " in connection.recv(100)
            except ConnectionError:
                answered = False
        server.start()
        stored = count(server, version.id)
        assert stored in (0, 60_000)
        assert stored or not answered


def test_second_model_is_refused_by_default() -> None:
    with ServerProcess(Options()) as server:
        server.create_model("one", "regression", features={})
        with pytest.raises(RuntimeError, match="HTTP 402"):
            server.create_model("two", "regression", features={})


def test_ctrl_c_ends_it_without_an_error(unused_port: int) -> None:
    command = [sys.executable, "-m", MODULE, "--port", str(unused_port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            handle = Handle(f"http://127.0.0.1:{unused_port}", DEFAULT_TOKEN)
            answered = False
            while not answered and process.poll() is None:
                with contextlib.suppress(OSError):
                    answered = bool(handle.call("GET", "/backend-version"))
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_starting_tells_how_to_connect(unused_port: int) -> None:
    command = [sys.executable, "-m", MODULE, "--port", str(unused_port), "--token", "YUBiLmM=.secret"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
        process.terminate()
        process.wait(30)
    url = f"http://127.0.0.1:{unused_port}"
    assert lines[0].endswith(f"at {url}")
    assert lines[1] == "API token: YUBiLmM=.secret"
    name, _, value = lines[3].removeprefix("export ").partition("=")
    assert name == "AIRFLOW_CONN_DEEPCHECKS_DEFAULT"
    assert json.loads(value.strip("'")) == {
        "conn_type": "deepchecks",
        "host": url,
        "password": "YUBiLmM=.secret",
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "{taken}"], "--host 127.0.0.1 --port {taken}: [Errno"),
        (["--port", "99999"], "--port 99999: bind(): port must be 0-65535"),
        (["--port", "0", "--database", "/nowhere/state.db"], "--database /nowhere/state.db: unable to open"),
        (["--port", "0", "--token", "secret"], "the token must be '<base64 of an e-mail>.<secret>'"),
        (["--port", "0", "--token", "abcde.secret"], "the token must be '<base64 of an e-mail>.<secret>'"),
        (["--port", "0", "--poll-size", "0"], "a poll of 0 rows"),
        (["--port", "0", "--consumer-delay", "-1"], "a delay of -1 s: give seconds from 0"),
        (["--port", "0", "--clock-offset", "nan"], "a clock nan s ahead"),
    ],
    ids=[
        "taken port",
        "no port",
        "no folder",
        "token without a dot",
        "token without an e-mail",
        "empty poll",
        "negative delay",
        "no offset",
    ],
)
def test_what_keeps_it_from_starting_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main([argument.format(taken=taken) for argument in arguments])
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert told.format(taken=taken) in output.err
    # Nothing to copy: there is no server.
    assert output.out == ""


def test_connection_to_another_machine_allows_plain_http() -> None:
    here, elsewhere = (Handle(f"http://{host}:8000", "YUBiLmM=.secret") for host in ("127.0.0.1", "0.0.0.0"))
    assert "extra" not in json.loads(here.connection_json)
    assert json.loads(elsewhere.connection_json)["extra"] == {"allow_plain_http": True}


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_command_line_defaults_are_those_of_the_options() -> None:
    arguments, options = parser().parse_args([]), Options()
    assert not arguments.unlimited_models
    assert options.one_model
    for name in ("database", "rows_per_minute", "consumer", "consumer_delay", "poll_size", "clock_offset"):
        assert getattr(arguments, name) == getattr(options, name)


def test_a_process_that_does_not_run_has_no_id() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        _ = ServerProcess().pid


@pytest.mark.parametrize("module", [MODULE, f"{MODULE}.pytest_plugin", f"{MODULE}.__main__"])
def test_importing_costs_nothing(module: str) -> None:
    heavy = ["fastapi", "uvicorn", "airflow", "pandas", "pyarrow", "requests", "fastjsonschema", "asyncio"]
    code = f"import sys, {module}; sys.exit(str([name for name in {heavy} if name in sys.modules]))"
    if module.endswith("pytest_plugin"):
        # pytest itself brings some of them.
        code = f"import pytest, sys; before = set(sys.modules); import {module}; " + (
            f"sys.exit(str([name for name in {heavy} if name in set(sys.modules) - before]))"
        )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "fastjsonschema"])
def test_missing_extra_is_named(missing: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['x', '--port', '1']; import runpy; "
    code += f"runpy.run_module({MODULE!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "airflow-provider-deepchecks[local-server]" in done.stderr


def test_fixture_names_the_missing_extra(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(deepchecks_server):\n    pass\n")
    code = "import sys; sys.modules['fastapi'] = None; import pytest; "
    code += "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', 'test_it.py']))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "airflow-provider-deepchecks[local-server]" in done.stdout
