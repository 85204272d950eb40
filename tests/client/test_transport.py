# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The transport against bare sockets: what proxies, networks and dying servers do."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import ssl
import threading
import time
import traceback
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
import trustme

from airflow_provider_deepchecks.client import transport as module
from airflow_provider_deepchecks.client.settings import ClientSettings
from airflow_provider_deepchecks.client.transport import Transport, user_agent
from airflow_provider_deepchecks.exceptions import (
    DeepchecksAuthError,
    DeepchecksConfigError,
    DeepchecksConnectionError,
    DeepchecksError,
    DeepchecksNotFoundError,
    DeepchecksPayloadTooLargeError,
    DeepchecksRateLimitError,
    DeepchecksRequestError,
    DeepchecksServerError,
    DeepchecksTimeoutError,
    DeepchecksTLSError,
)
from tests.client.conftest import TOKEN
from tests.client.raw_server import Behaviour, RawServer, answer, answering, reset

JSON = {"Content_Type": "application/json"}
OK = answer(body=b'{"version": "0.19.3"}', **JSON)
HTML = b"<html><head><title>Sign in to\n Example</title></head><body>...</body></html>"


def head(request: bytes) -> str:
    return request.partition(b"\r\n\r\n")[0].decode()


# -- what goes out -----------------------------------------------------------------------------------------


def test_headers_and_body(transport):
    with RawServer(answering(answer())) as server:
        transport(server.url + "/prefix").send("POST", "/model-versions/1/data", body=b'[{"a": 1}]')
    sent = server.requests[0]
    assert sent.startswith(b"POST /prefix/api/v1/model-versions/1/data HTTP/1.1\r\n")
    assert f"Authorization: Basic {TOKEN}\r\n" in head(sent) + "\r\n"
    assert f"User-Agent: {user_agent()}" in head(sent)
    assert user_agent().startswith("airflow-provider-deepchecks/")
    assert "Content-Type: application/json" in head(sent)
    assert "Content-Length: 10" in head(sent)
    assert sent.endswith(b'\r\n\r\n[{"a": 1}]')


def test_no_token_when_none_is_wanted(transport):
    with RawServer(answering(answer(body=b"ok"))) as server:
        transport(server.url).read("/health-check", expected="text", token=False)
    assert "Authorization" not in head(server.requests[0])


def test_netrc_does_not_replace_the_token(transport, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with RawServer(answering(OK)) as server:
        client = transport(server.url)
        client.read("/backend-version")
        client.read("/health-check", token=False)
    assert f"Authorization: Basic {TOKEN}" in head(server.requests[0])
    assert "Authorization" not in head(server.requests[1])


def test_proxy_of_the_environment_is_used_but_not_for_this_machine(transport, monkeypatch):
    with RawServer(answering(OK)) as proxy, RawServer(answering(OK)) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        transport("http://deepchecks.example.com").read("/backend-version")
        transport(server.url).read("/backend-version")
    assert head(proxy.requests[0]).startswith("GET http://deepchecks.example.com/api/v1/backend-version ")
    assert len(proxy.requests) == 1
    assert len(server.requests) == 1


def test_large_body_goes_out_in_blocks_under_one_timeout_each(transport):
    """A server that stops reading for longer than the connect time-out is waited for."""
    body = b"[" + b" " * 8_000_000 + b"]"

    def slow(connection: socket.socket, request: bytes) -> None:
        time.sleep(0.8)
        received = len(request.partition(b"\r\n\r\n")[2])
        while received < len(body):
            received += len(connection.recv(1 << 20))
        connection.sendall(answer())

    with RawServer(slow, read_body=False) as server:
        client = transport(server.url, connect_timeout=0.2)
        assert client.send("POST", "/data", body=body).status == 200


# -- connections -------------------------------------------------------------------------------------------


def test_connection_is_reused_and_dropped_before_the_server_closes_it(transport, monkeypatch):
    with RawServer(answering(OK)) as server:
        client = transport(server.url)
        client.read("/backend-version")
        client.read("/backend-version")
        assert server.connections == 1
        monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
        time.sleep(0.1)
        client.read("/backend-version")
        assert server.connections == 2


@pytest.mark.parametrize("status", [500, 502, 503])
def test_connection_is_not_used_again_after_a_server_error(transport, status):
    with RawServer(answering(answer(status), OK, OK)) as server:
        client = transport(server.url)
        with pytest.raises(DeepchecksServerError):
            client.send("GET", "/backend-version", expected="json")
        client.read("/backend-version")
        client.read("/backend-version")
        assert server.connections == 2


def test_idle_limit_is_below_the_servers():
    assert module.IDLE_SECONDS < 5.0


def test_refused_connection_was_surely_not_received(transport):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(DeepchecksConnectionError, match=r"refused.*host and port") as caught:
        transport(f"http://127.0.0.1:{port}").send("POST", "/data", body=b"[]")
    assert caught.value.maybe_received is False
    assert caught.value.retryable


def test_unknown_host_was_surely_not_received(transport):
    with pytest.raises(DeepchecksConnectionError) as caught:
        transport("https://no-such-host.invalid").send("POST", "/data", body=b"[]")
    assert caught.value.maybe_received is False
    assert "object at" not in str(caught.value)


def test_connect_timeout(transport):
    # A listener whose backlog is full does not accept: the kernel lets the connection wait.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for item in waiting:
            item.setblocking(False)
            item.connect_ex(full.getsockname())
        client = transport(f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout=0.3)
        started = time.monotonic()
        with pytest.raises(DeepchecksConnectionError) as caught:
            client.send("POST", "/data", body=b"[]")
        assert time.monotonic() - started < 3
        for item in waiting:
            item.close()
    assert caught.value.maybe_received is False
    assert not isinstance(caught.value, DeepchecksTimeoutError)


@pytest.mark.parametrize(
    "behaviour",
    [reset, lambda connection, request: connection.close()],
    ids=["reset", "closed"],
)
def test_broken_connection_may_have_been_received(transport, behaviour):
    with RawServer(behaviour) as server:
        with pytest.raises(DeepchecksConnectionError, match="broke") as caught:
            transport(server.url).send("POST", "/data", body=b"[]")
        assert caught.value.maybe_received is True
        assert len(server.requests) == 1, "a sending call is never repeated"


def test_silent_server_times_out(transport):
    done = threading.Event()
    with RawServer(lambda connection, request: done.wait(10)) as server:
        with pytest.raises(DeepchecksTimeoutError, match=r"within 0\.3 s") as caught:
            transport(server.url, timeout=0.3).send("POST", "/data", body=b"[]")
        done.set()
    assert caught.value.maybe_received is True
    assert len(server.requests) == 1


def test_dripping_answer_is_not_read_for_ever(transport):
    def drip(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b" ")
            time.sleep(0.05)

    started = time.monotonic()
    with RawServer(drip) as server, pytest.raises(DeepchecksTimeoutError, match="still answering"):
        transport(server.url, timeout=0.5, retries=0).read("/backend-version")
    assert time.monotonic() - started < 3


def test_endless_answer_is_not_kept(transport, monkeypatch):
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1_000_000)

    def flood(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            connection.sendall(b" " * 65536)

    with RawServer(flood) as server, pytest.raises(DeepchecksServerError, match="1,000,000 bytes"):
        transport(server.url, retries=0).read("/backend-version")


def test_unpacked_size_counts(transport, monkeypatch):
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1_000_000)
    bomb = answer(body=gzip.compress(b" " * 5_000_000), Content_Encoding="gzip", **JSON)
    with RawServer(answering(bomb)) as server, pytest.raises(DeepchecksServerError, match="1,000,000 bytes"):
        transport(server.url, retries=0).read("/backend-version")


def test_gzip_answer(transport):
    packed = answer(body=gzip.compress(b'{"version": "1"}'), Content_Encoding="gzip", **JSON)
    with RawServer(answering(packed)) as server:
        assert transport(server.url).read("/backend-version").json() == {"version": "1"}


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n" + b'{"version": ',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1, 2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[1, 2",
        b"HTTP/1.1 200 OK\r\nContent-",
    ],
    ids=["length", "chunked", "no-length", "headers"],
)
def test_truncated_answer_is_a_broken_connection(transport, cut):
    def behave(connection: socket.socket, request: bytes) -> None:
        connection.sendall(cut)
        connection.close()

    with RawServer(behave) as server:
        with pytest.raises(DeepchecksConnectionError) as caught:
            transport(server.url, retries=0).read("/x")
        assert caught.value.maybe_received is True


def test_early_answer_to_a_large_body_is_read(transport):
    """A proxy refuses a body by its length alone and does not read it."""

    def refuse(connection: socket.socket, request: bytes) -> None:
        connection.sendall(answer("413 Content Too Large", HTML, Connection="close"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass
        connection.close()

    with RawServer(refuse, read_body=False) as server, pytest.raises(DeepchecksPayloadTooLargeError):
        transport(server.url).send("POST", "/data", body=b" " * 3_000_000)


# -- TLS ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def test_tls_with_the_ca_file(transport, tls, ca_file):
    with RawServer(answering(OK), tls=tls) as server:
        assert transport(server.url, verify=ca_file).read("/backend-version").status == 200


def test_tls_with_the_ca_file_of_the_environment(transport, tls, ca_file, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_file)
    with RawServer(answering(OK), tls=tls) as server:
        assert transport(server.url).read("/backend-version").status == 200


def test_unknown_certificate_is_refused_before_the_token_is_out(transport, tls):
    with RawServer(answering(OK), tls=tls) as server:
        with pytest.raises(DeepchecksTLSError, match="CA file") as caught:
            transport(server.url).read("/backend-version")
        assert not caught.value.retryable
        assert caught.value.maybe_received is False
        assert server.requests == []
        assert server.connections == 1, "a wrong certificate does not get better by trying again"


def tunnel_to(port: int) -> Behaviour:
    """An HTTP proxy that lets TLS through to a port of this machine."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def behave(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as onward:
            threading.Thread(target=pump, args=(onward, connection), daemon=True).start()
            pump(connection, onward)
        connection.close()

    return behave


def test_tls_through_a_proxy_that_never_sees_the_token(transport, authority, ca_file, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("deepchecks.test").configure_cert(context)
    with RawServer(answering(OK), tls=context) as server, RawServer(tunnel_to(server.port)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        client = transport("https://deepchecks.test", verify=ca_file)
        assert client.read("/backend-version").status == 200
        assert client.send("POST", "/data", body=b"[]", expected="json").status == 200
    assert len(proxy.requests) == 1, "the connection is kept"
    assert proxy.requests[0].startswith(b"CONNECT deepchecks.test:443 HTTP/1.")
    assert TOKEN.encode() not in proxy.requests[0]
    assert f"Authorization: Basic {TOKEN}" in head(server.requests[0])


def test_proxy_that_wants_credentials(transport, monkeypatch):
    with RawServer(answering(answer("407 Proxy Authentication Required"))) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(DeepchecksAuthError, match="proxy between wants its own credentials"):
            transport("https://deepchecks.test").read("/x")


@pytest.mark.parametrize("breaks_off", [reset, lambda connection, request: connection.close()])
def test_proxy_that_breaks_off_may_have_passed_it_on(transport, monkeypatch, breaks_off):
    with RawServer(breaks_off) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(DeepchecksConnectionError) as caught:
            transport("http://deepchecks.example.com").send("POST", "/data", body=b"[]")
    assert len(proxy.requests) == 1
    assert caught.value.maybe_received


def test_tunnel_that_a_proxy_refuses_has_surely_not_passed_it_on(transport, monkeypatch):
    with RawServer(answering(answer("502 Bad Gateway"))) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(DeepchecksConnectionError) as caught:
            transport("https://deepchecks.test").send("POST", "/data", body=b"[]")
    assert not caught.value.maybe_received


def test_proxy_that_is_down_has_surely_not_passed_it_on(transport, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(DeepchecksConnectionError) as caught:
        transport("http://deepchecks.test").send("POST", "/data", body=b"[]")
    assert caught.value.maybe_received is False


@pytest.mark.parametrize("url", ["http://", "http://*.example.com", "http://a..b", f"http://{'a' * 64}.com"])
def test_impossible_address(transport, url):
    with pytest.raises(DeepchecksConfigError, match="host"):
        transport(url).read("/x")


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_verification_can_be_switched_off(transport, tls):
    with RawServer(answering(OK), tls=tls) as server:
        assert transport(server.url, verify=False).read("/backend-version").status == 200


def test_https_to_a_plain_http_server(transport):
    with RawServer(lambda connection, request: None) as server:

        def plain(connection: socket.socket) -> None:
            connection.recv(1000)
            connection.sendall(answer("400 Bad Request", b"no TLS here"))
            connection.close()

        server._serve = plain
        with pytest.raises(DeepchecksTLSError, match="http://"):
            transport(server.url.replace("http:", "https:")).read("/backend-version")


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_unusable_ca_file_is_named_before_anything_is_sent(transport, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DeepchecksConfigError, match=r"ca\.pem.*every worker"):
        transport("https://127.0.0.1:9", verify=str(path))


def test_directory_of_ca_files(transport, tmp_path):
    assert transport("https://127.0.0.1:9", verify=str(tmp_path)).settings.verify == str(tmp_path)


# -- what comes back ---------------------------------------------------------------------------------------


def error_body(message: str, **information: object) -> bytes:
    return json.dumps({"error_message": message, "additional_information": information}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        ("401 x", error_body("Received invalid secret"), DeepchecksAuthError, "invalid secret.*password"),
        ("403 Forbidden", b"<html>no</html>", DeepchecksAuthError, "HTTP 403"),
        ("404 Not Found", error_body("Not Found"), DeepchecksNotFoundError, "Not Found.*path prefix"),
        ("400 x", error_body("Retrieval of more than 300"), DeepchecksRequestError, "more than 300"),
        ("402 Payment Required", error_body("subscription"), DeepchecksRequestError, "subscription"),
        ("405 x", b'{"detail": "Method Not Allowed"}', DeepchecksRequestError, "Not Allowed"),
        ("413 x", error_body("Rate limit exceeded", num_saved=40), DeepchecksRateLimitError, "Rate limit"),
        ("413 Too Large", b"<html><title>413</title></html>", DeepchecksPayloadTooLargeError, "fewer rows"),
        ("413 Too Large", error_body("too large"), DeepchecksPayloadTooLargeError, "too large"),
        ("413 Too Large", error_body("x", num_saved=True), DeepchecksPayloadTooLargeError, "x"),
        ("429 Too Many Requests", b"", DeepchecksServerError, "no text"),
        ("500 x", b"Internal Server Error", DeepchecksServerError, "Internal Server Error"),
        ("502 Bad Gateway", HTML, DeepchecksServerError, "HTML page titled 'Sign in to Example'"),
        ("404 Not Found", HTML, DeepchecksServerError, "path prefix"),
        ("418 I'm a teapot", b"", DeepchecksServerError, "no answer of Deepchecks"),
        ("407 Proxy Authentication Required", b"", DeepchecksAuthError, "proxy"),
    ],
)
def test_status_to_error(transport, status, body, kind, words):
    with RawServer(answering(answer(status, body))) as server, pytest.raises(kind, match=words) as caught:
        transport(server.url).send("POST", "/data", body=b"[]")
    assert type(caught.value) is kind
    if isinstance(caught.value, DeepchecksServerError | DeepchecksRequestError):
        assert caught.value.status == int(status[:3])


def test_rate_limit_tells_the_rows_received(transport):
    with (
        RawServer(answering(answer("413 x", error_body("Rate limit", num_saved=40)))) as server,
        pytest.raises(DeepchecksRateLimitError) as caught,
    ):
        transport(server.url).send("POST", "/data", body=b"[]")
    assert caught.value.num_saved == 40


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_redirect_is_not_followed_and_shows_no_query(transport, method):
    with RawServer(answering(OK)) as target:
        where = f"{target.url.replace('127.0.0.1', 'localhost')}/login?next=secret-query"
        with (
            RawServer(answering(answer("302 Found", Location=where))) as server,
            pytest.raises(DeepchecksAuthError, match=r"redirect \(HTTP 302\) to localhost") as caught,
        ):
            transport(server.url).send(method, "/data", body=b"[]")
        assert "secret-query" not in str(caught.value)
        assert target.requests == []


def test_redirect_to_https_says_so(transport):
    with (
        RawServer(answering(answer("308 Permanent Redirect", Location="https://example.com/"))) as server,
        pytest.raises(DeepchecksAuthError, match="Use https://"),
    ):
        transport(server.url).read("/x")


@pytest.mark.parametrize("location", ["", "/login", "http://[broken"])
def test_redirect_without_a_host(transport, location):
    with (
        RawServer(answering(answer("302 Found", Location=location))) as server,
        pytest.raises(DeepchecksAuthError, match="within the same host"),
    ):
        transport(server.url).read("/x")


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json", "application/octet-stream"])
def test_html_with_status_200_is_no_success(transport, kind):
    with RawServer(answering(answer(body=HTML, Content_Type=kind))) as server:
        client = transport(server.url)
        with pytest.raises(DeepchecksServerError, match="login page") as caught:
            client.send("POST", "/data", body=b"[]")
        assert caught.value.status == 200
        with pytest.raises(DeepchecksServerError, match="login page"):
            client.read("/x")
        with pytest.raises(DeepchecksServerError, match="login page"):
            client.read("/health-check", expected="text")
        assert len(server.requests) == 3, "a login page does not go away by trying again"


def test_sent_rows_need_an_empty_answer_or_json(transport):
    with RawServer(answering(answer(), answer(body=b"null", **JSON), answer(body=b"welcome"))) as server:
        client = transport(server.url)
        client.send("POST", "/data", body=b"[]")
        client.send("POST", "/data", body=b"[]")
        with pytest.raises(DeepchecksServerError, match="welcome"):
            client.send("POST", "/data", body=b"[]")


# -- trying again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_reading_is_tried_again(transport, status):
    with RawServer(answering(answer(f"{status} x"), answer(f"{status} x"), OK)) as server:
        client = transport(server.url)
        assert client.read("/backend-version").status == 200
    assert len(client.waits) == 2
    assert 0.25 <= client.waits[0] <= 0.5
    assert 0.5 <= client.waits[1] <= 1.0


def test_reading_is_tried_again_after_a_broken_connection(transport):
    left = [reset, reset, answering(OK)]
    with RawServer(lambda connection, request: left.pop(0)(connection, request)) as server:
        assert transport(server.url).read("/backend-version").status == 200
    assert len(server.requests) == 3


def test_reading_ends_with_the_last_error(transport):
    with (
        RawServer(answering(answer("503 x"), answer("502 x"), answer("500 last"))) as server,
        pytest.raises(DeepchecksServerError) as caught,
    ):
        transport(server.url).read("/x")
    assert caught.value.status == 500
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", ["400 x", "401 x", "403 x", "404 x", "413 x"])
def test_what_will_not_change_is_not_tried_again(transport, status):
    with (
        RawServer(answering(answer(status, error_body("no"), **JSON))) as server,
        pytest.raises(DeepchecksError),
    ):
        transport(server.url).read("/x")
    assert len(server.requests) == 1


def test_retry_after_in_seconds_and_as_a_date(transport):
    now = datetime.now(UTC)
    later = format_datetime(now.replace(microsecond=0).replace(year=now.year + 1), usegmt=True)
    date = format_datetime(now, usegmt=True)
    answers = answering(
        answer("503 x", Retry_After="7"),
        answer("503 x", Retry_After=later, Date=date),
        answer("503 x", Retry_After="soon"),
        OK,
    )
    with RawServer(answers) as server:
        client = transport(server.url, retries=3)
        client.read("/x")
    assert 7.0 <= client.waits[0] <= 7.5
    assert 60.0 <= client.waits[1] <= 60.5, "a proxy's wish has a bound"
    assert client.waits[2] <= 2.0, "what cannot be read is not obeyed"


def test_sending_tells_retry_after_and_does_not_repeat(transport):
    with (
        RawServer(answering(answer("429 x", Retry_After="3"))) as server,
        pytest.raises(DeepchecksServerError) as caught,
    ):
        transport(server.url).send("POST", "/data", body=b"[]")
    assert caught.value.retry_after == 3.0
    assert len(server.requests) == 1


# -- the clock ---------------------------------------------------------------------------------------------


def test_server_clock_follows_the_date(transport):
    moment = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    with RawServer(answering(answer(body=b"1", Date=format_datetime(moment, usegmt=True), **JSON))) as server:
        client = transport(server.url)
        assert abs((client.clock.now() - datetime.now(UTC)).total_seconds()) < 5, "local until it is known"
        answered = client.read("/x")
        assert answered.server_time == moment
        assert 0 <= (client.clock.now() - moment).total_seconds() < 5


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 2026 10:00:00 GMT"])
def test_broken_date_is_no_date(transport, date):
    with RawServer(answering(answer(body=b"1", Date=date, **JSON))) as server:
        assert transport(server.url).read("/x").server_time is None


# -- the token ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token", ["", "x CaNaRy", "CaNaRy\n", "\tCaNaRy", "CaNaRy\r\nX: y", "CaNaRyé", "☃CaNaRy"]
)
def test_impossible_token_is_refused_without_showing_it(token):
    with pytest.raises(DeepchecksConfigError, match="password") as caught:
        Transport(ClientSettings("http://127.0.0.1:1", token))
    assert "CaNaRy" not in str(caught.value)


def spoken(error: BaseException) -> str:
    """All that a log of an exception could hold."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())


@pytest.mark.parametrize(
    "leak",
    [
        TOKEN,
        f"Basic {TOKEN}",
        "CaNaRy-0123456789",
        "WTJGdVlYSjVRR1Y0WVcxd2JHVXVZMjl0LkNhTmFSeS0wMTIzNDU2Nzg5",
    ],
)
@pytest.mark.parametrize("status", ["400 x", "401 x", "404 x", "413 x", "500 x", "200 OK"])
def test_echoed_token_is_not_repeated(transport, caplog, leak, status):
    caplog.set_level(logging.DEBUG)
    bodies = [f"<html><title>you said {leak}</title></html>".encode(), leak.encode()]
    if status != "200 OK":  # good JSON is no error
        bodies.append(error_body(f"bad {leak}"))
    for body in bodies:
        with RawServer(answering(answer(status, body))) as server:
            client = transport(server.url, retries=1)
            with pytest.raises(DeepchecksError) as read:
                client.read("/x")
            with pytest.raises(DeepchecksError) as sent:
                client.send("POST", "/x")
        assert leak not in spoken(read.value) + spoken(sent.value)
    assert leak not in caplog.text


def test_token_is_in_no_repr_and_no_log(transport, caplog):
    caplog.set_level(logging.DEBUG)
    with RawServer(reset) as server:
        client = transport(server.url)
        with pytest.raises(DeepchecksConnectionError) as caught:
            client.read("/x")
    for text in (repr(client), repr(client.settings), repr(vars(client)), spoken(caught.value), caplog.text):
        assert "CaNaRy" not in text
    assert "Trying again" in caplog.text
