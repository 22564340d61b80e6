"""The door of the application over real HTTP: who gets in, what is refused, what is written down."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from neuroscan_core.bus.feed import MaskFeed
from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.config import ViewerConfig
from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_core.domain.requests import DescribeSeries, ListSeries, SeriesDetails, SeriesList
from neuroscan_core.viewer.process import Viewer
from neuroscan_core.viewer.security.credentials import PasswordHash

PATIENCE_S = 20.0
PASSWORD = "four words are enough"
HASH = str(PasswordHash.of(PASSWORD))
JSON = {"content-type": "application/json"}


@contextmanager
def page(**settings: Any) -> Iterator[httpx.Client]:
    """A browser in front of a viewer with these settings."""
    with ExitStack() as stack:
        bus = InMemoryBus()
        stack.callback(bus.close)
        stack.enter_context(bus.serve(ListSeries, lambda _: SeriesList(())))
        stack.enter_context(bus.serve(DescribeSeries, lambda _: SeriesDetails(())))
        masks = stack.enter_context(MaskFeed(bus))
        viewer = stack.enter_context(Viewer(ViewerConfig(port=0, **settings), bus, masks))
        port = viewer.address[1]
        yield stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S))


def log_in(client: httpx.Client, secret: str = PASSWORD) -> httpx.Response:
    answer = client.post("/api/login", json={"secret": secret})
    if answer.status_code == 200:
        client.headers["x-csrf-token"] = answer.json()["csrf"]
    return answer


def trail(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "audit.log").read_text().splitlines()]


# ------------------------------------------------------------------------------------------------------------- at start


@pytest.mark.parametrize(
    "settings",
    [{"host": "0.0.0.0"}, {"host": "::"}, {"allowed_hosts": ["node.hospital.example"]}, {"behind_tls_proxy": True}],
)
def test_whoever_could_reach_the_page_from_outside_must_have_to_log_in(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"viewer\.auth") as caught, page(**settings):
        pass
    assert "neuroscan viewer-password" in caught.value.remedy


def test_auth_without_a_secret_is_no_auth() -> None:
    with pytest.raises(ValueError, match="password_hash or token_file"):
        ViewerConfig.model_validate({"auth": {}})


@pytest.mark.parametrize(
    "text",
    ["secret", "$scrypt$ln=31,r=8,p=1$" + "A" * 22 + "$" + "A" * 43, HASH[:-1] + "!", HASH.replace("ln=15", "ln=1")],
)
def test_what_is_no_hash_or_too_costly_is_an_error_at_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match="password_hash"), page(auth={"password_hash": text}):
        pass


def test_short_passwords_are_not_hashed() -> None:
    with pytest.raises(ConfigurationError, match="characters"):
        PasswordHash.of("short")


def test_every_hash_has_a_salt_of_its_own_and_holds_no_password() -> None:
    assert str(PasswordHash.of(PASSWORD)) != HASH and PASSWORD not in HASH
    assert PasswordHash.parse(HASH).matches(PASSWORD) and not PasswordHash.parse(HASH).matches(PASSWORD + " ")


def test_missing_token_file_is_made_for_this_user_alone_and_opens_the_page(tmp_path: Path) -> None:
    path = tmp_path / "made" / "token"
    with page(auth={"token_file": path}) as client:
        assert path.stat().st_mode & 0o777 == 0o600
        token = path.read_text().strip()
        assert len(token) >= 40
        assert log_in(client, "wrong").status_code == 401
        assert log_in(client, token).status_code == 200
        assert client.get("/api/series").status_code == 200
    with page(auth={"token_file": path}) as client:
        assert log_in(client, token).status_code == 200, "it is kept over a restart"


def test_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x" * 40)
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="open to other users"), page(auth={"token_file": path}):
        pass
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(ConfigurationError, match="shorter"), page(auth={"token_file": path}):
        pass


# ---------------------------------------------------------------------------------------------------------------- login


def test_nothing_but_the_page_and_what_monitoring_needs_is_open_before_the_login(tmp_path: Path) -> None:
    with page(host="0.0.0.0", auth={"password_hash": HASH}, directory=tmp_path) as client:
        for path in ("/", "/static/js/main.js", "/api/session", "/health/live", "/health/ready", "/metrics"):
            assert client.get(path).status_code in (200, 503), path
        for path in (
            "/api/series", "/api/events", "/api/cases", "/api/cases/s0123456789abcdef", "/api/models", "/anything",
            "/static/../api/series", "/api/session/x", "/api/cases/s0123456789abcdef/overlay.png",
        ):  # fmt: skip
            answer = client.get(path)
            assert answer.status_code == 401, path
            assert set(answer.json()) == {"error", "meaning", "remedy"}
        session = client.get("/api/session").json()
        assert (session["needs_login"], session["authenticated"], session["csrf"]) == (True, False, "")
        assert session["node"] is None


def test_a_login_opens_the_page_until_the_logout(tmp_path: Path) -> None:
    with page(auth={"password_hash": HASH}, directory=tmp_path) as client:
        answer = log_in(client)
        assert answer.status_code == 200 and answer.json()["authenticated"]
        [cookie] = answer.headers.get_list("set-cookie")
        assert "httponly" in cookie.lower() and "samesite=strict" in cookie.lower()
        assert "secure" not in cookie.lower(), "a browser would not send it back over plain HTTP"
        assert client.get("/api/series").json() == []
        assert client.post("/api/logout", headers=JSON).status_code == 200
        assert client.get("/api/series").status_code == 401
        client.cookies.set(*cookie.split(";")[0].split("="))
        assert client.get("/api/series").status_code == 401, "the cookie of an ended session is worth nothing"
        assert [entry["action"] for entry in trail(tmp_path)] == ["login", "logout"]


def test_behind_https_the_cookie_is_secure_and_bound_to_the_host(tmp_path: Path) -> None:
    settings = {"auth": {"password_hash": HASH}, "behind_tls_proxy": True, "directory": tmp_path}
    with page(**settings) as client:
        answer = client.post("/api/login", json={"secret": PASSWORD}, headers={"x-forwarded-for": "1.1.1.1, 192.0.2.7"})
        [cookie] = answer.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-") and "secure" in cookie.lower() and "domain" not in cookie.lower()
        assert "max-age" in answer.headers["strict-transport-security"]
    assert trail(tmp_path)[0]["address"] == "192.0.2.7", "what the proxy itself saw, not what the browser claims"


def test_each_login_makes_a_new_session_and_ends_the_former() -> None:
    with page(auth={"password_hash": HASH}) as client:
        log_in(client)
        former = dict(client.cookies)
        log_in(client)
        assert dict(client.cookies) != former
        with httpx.Client(base_url=client.base_url, cookies=former) as other:
            assert other.get("/api/series").status_code == 401


def test_guessing_has_to_wait_and_what_was_right_has_to_wait_too(tmp_path: Path) -> None:
    with page(auth={"password_hash": HASH}, directory=tmp_path) as client:
        answers = [log_in(client, f"guess number {n}") for n in range(7)]
        codes = [answer.status_code for answer in answers]
        assert codes[:5] == [401] * 5 and codes[-1] == 429
        assert int(answers[-1].headers["retry-after"]) > 0 and "again in" in answers[-1].json()["remedy"]
        assert log_in(client).status_code == 429
        text = (tmp_path / "audit.log").read_text()
        assert "guess" not in text and {entry["action"] for entry in trail(tmp_path)} == {"login-failed"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"secret": 5}', b'{"secret": null}', b"[" * 30000, b"\xff"])
def test_login_with_nonsense_is_a_bad_request(body: bytes) -> None:
    with page(auth={"password_hash": HASH}) as client:
        assert client.post("/api/login", content=body, headers=JSON).status_code == 400


def test_secrets_of_any_text_are_judged_and_not_a_fault() -> None:
    with page(auth={"password_hash": HASH}) as client:
        for secret in ("", "x" * 10000, "\x00", "ä€😀"):
            assert log_in(client, secret).status_code == 401
        lone = client.post("/api/login", content=b'{"secret": "\\ud800"}', headers=JSON)
        assert lone.status_code in (401, 429)


def test_a_program_with_the_token_needs_no_session(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with page(auth={"token_file": path}) as client:
        bearer = {"authorization": f"Bearer {path.read_text().strip()}"}
        assert client.get("/api/series", headers=bearer).status_code == 200
        assert client.post("/api/cases/s0123456789abcdef/retry", headers=bearer).status_code == 404
        assert client.get("/api/series", headers={"authorization": "Bearer " + "x" * 40}).status_code == 401
        assert client.get("/api/series", headers={"authorization": "Bearer"}).status_code == 401


def test_a_password_is_no_bearer_token() -> None:
    with page(auth={"password_hash": HASH}) as client:
        assert client.get("/api/series", headers={"authorization": f"Bearer {PASSWORD}"}).status_code == 401


def test_open_streams_end_with_their_session() -> None:
    with page(auth={"password_hash": HASH}) as client:
        log_in(client)
        with client.stream("GET", "/api/events") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry")
            with httpx.Client(base_url=client.base_url, cookies=dict(client.cookies)) as other:
                headers = {**JSON, "x-csrf-token": client.headers["x-csrf-token"]}
                assert other.post("/api/logout", headers=headers).status_code == 200
            rest = list(lines)
        assert not any(line.startswith(": still here") for line in rest), "it ends before the next sign of life"


@pytest.mark.parametrize(
    "host", ["x/health/live?", "x/health/#", "localhost/static/x?", "a@b/metrics?", "x/?", "localhost/api/session#"]
)
def test_a_host_header_cannot_make_a_closed_address_look_open(host: str) -> None:
    with page(host="0.0.0.0", auth={"password_hash": HASH}) as client:
        with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=PATIENCE_S) as raw:
            raw.sendall(f"GET /api/series HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: raw.recv(4096), b""))
        assert answer.split()[1] in (b"400", b"401"), answer[:200]
        assert not answer.endswith(b"[]")


# ----------------------------------------------------------------------------------------------------- forged requests


def test_what_changes_something_needs_the_token_of_the_session() -> None:
    with page() as client:
        assert client.post("/api/identity", json={"shown": True}).status_code == 403, "no session"
        csrf = client.get("/api/session").json()["csrf"]
        assert client.post("/api/identity", json={"shown": True}).status_code == 403
        assert client.post("/api/identity", json={"shown": True}, headers={"x-csrf-token": "x"}).status_code == 403
        assert client.post("/api/identity", json={"shown": True}, headers={"x-csrf-token": b"\xe9"}).status_code == 403
        for method in ("POST", "DELETE", "PUT", "PATCH"):
            answer = client.request(method, "/api/cases/s0123456789abcdef")
            assert answer.status_code == 403, method
        right = {"x-csrf-token": csrf}
        assert client.post("/api/identity", json={"shown": True}, headers=right).json()["identity_shown"]
        foreign = {**right, "origin": "http://evil.example"}
        assert client.post("/api/identity", json={"shown": False}, headers=foreign).status_code == 403
        ours = {**right, "origin": str(client.base_url).rstrip("/")}
        assert client.post("/api/identity", json={"shown": False}, headers=ours).status_code == 200


def test_a_form_of_another_site_cannot_log_anybody_in() -> None:
    with page(auth={"password_hash": HASH}) as client:
        body = json.dumps({"secret": PASSWORD})
        assert client.post("/api/login", content=body, headers={"content-type": "text/plain"}).status_code == 403
        foreign = {**JSON, "origin": "http://evil.example"}
        assert client.post("/api/login", content=body, headers=foreign).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::1"])
def test_a_name_that_was_bound_to_this_machine_by_others_is_refused(host: str) -> None:
    with page() as client:
        answer = client.get("/api/series", headers={"host": host})
        assert answer.status_code == (200 if host == "[::1" else 421), answer.text
        assert client.get("/health/live", headers={"host": host}).status_code == 200, "probes ask by any name"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.3.2.1", "[::1]:8080", "localhost."]
)
def test_names_of_this_machine_are_answered(host: str) -> None:
    with page() as client:
        assert client.get("/api/series", headers={"host": host}).status_code == 200


def test_names_that_are_allowed_are_answered_and_others_are_not() -> None:
    with page(allowed_hosts=["Node.example"], auth={"password_hash": HASH}) as client:
        assert client.get("/", headers={"host": "node.example:8080"}).status_code == 200
        assert client.get("/", headers={"host": "other.example"}).status_code == 421


def test_other_sites_are_granted_nothing() -> None:
    with page() as client:
        answer = client.get("/api/series", headers={"origin": "http://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        asked = client.options(
            "/api/identity", headers={"origin": "http://evil.example", "access-control-request-method": "POST"}
        )
        assert not [name for name in asked.headers if name.startswith("access-control")]


# -------------------------------------------------------------------------------------------------- headers and limits


def test_every_answer_carries_the_headers_that_keep_a_browser_in_check() -> None:
    with page() as client:
        for path in ("/", "/static/js/main.js", "/api/series", "/nothing", "/health/live"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy and "unsafe" not in policy and "http" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "server" not in headers
        assert client.get("/api/series").headers["cache-control"] == "no-store"


def test_files_of_the_page_are_checked_again_and_not_sent_twice() -> None:
    with page() as client:
        first = client.get("/static/js/main.js")
        assert first.headers["content-type"].startswith("text/javascript")
        assert first.headers["cache-control"] == "no-cache"
        again = client.get("/static/js/main.js", headers={"if-none-match": first.headers["etag"]})
        assert again.status_code == 304 and not again.content


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..%2fapp.py", "/static/js/"]
)
def test_nothing_but_the_files_of_the_page_is_served(path: str) -> None:
    with page() as client:
        answer = client.get(path)
        assert answer.status_code in (404, 405) and "import" not in answer.text


def test_bodies_are_limited_whether_they_say_their_size_or_not() -> None:
    with page() as client:
        right = {**JSON, "x-csrf-token": client.get("/api/session").json()["csrf"]}
        large = b" " * (65 << 10)
        assert client.post("/api/identity", content=large, headers=right).status_code == 413
        assert client.post("/api/identity", content=iter([large[:40000]] * 3), headers=right).status_code == 413
        assert client.get("/api/series").status_code == 200, "the server goes on"


def test_a_request_that_lies_about_its_size_does_not_stop_the_server() -> None:
    with page() as client:
        host, port = str(client.base_url.host), client.base_url.port
        assert port is not None
        for length in (b"-1", b"1e9", b"99999999999999999999", b"5, 6"):
            with socket.create_connection((host, port), timeout=PATIENCE_S) as raw:
                raw.sendall(
                    b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    b"Content-Length: " + length + b"\r\nConnection: close\r\n\r\n"
                )
                assert raw.recv(16).split()[1] in (b"400", b"413"), length
        assert client.get("/health/live").status_code == 200


# ---------------------------------------------------------------------------------------------------------- audit trail


def test_the_switch_of_identity_is_per_session_and_written_down(tmp_path: Path) -> None:
    with page(directory=tmp_path) as client, httpx.Client(base_url=client.base_url) as other:
        csrf = client.get("/api/session").json()["csrf"]
        other.get("/api/session")
        for shown in (True, True, False):
            client.post("/api/identity", json={"shown": shown}, headers={"x-csrf-token": csrf})
            assert client.get("/api/session").json()["identity_shown"] is shown
            assert other.get("/api/session").json()["identity_shown"] is False
        assert client.post("/api/identity", json={"shown": 1}, headers={"x-csrf-token": csrf}).status_code == 400
    entries = trail(tmp_path)
    assert [entry["action"] for entry in entries] == ["identity-shown", "identity-hidden"]
    assert entries[0]["session"] == entries[1]["session"] and csrf not in str(entries)
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


def test_downloads_and_retries_are_written_down_with_how_they_ended(tmp_path: Path) -> None:
    case = "s0123456789abcdef"
    with page(directory=tmp_path) as client:
        right = {"x-csrf-token": client.get("/api/session").json()["csrf"]}
        client.get(f"/api/cases/{case}/download/SEG")
        client.post(f"/api/cases/{case}/retry", headers=right)
        client.delete(f"/api/cases/{case}")
    kept = [(entry["action"], entry["case"], entry["status"]) for entry in trail(tmp_path)]
    assert kept == [("download", case, 404), ("retry", case, 404), ("delete", case, 403)]


# ------------------------------------------------------------------------------------------------------------------ TLS


def test_the_page_speaks_https_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    certificate, key = tmp_path / "page.pem", tmp_path / "page.key"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key,
            "-out", certificate,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    settings = {"tls": {"certificate": certificate, "key": key}, "auth": {"password_hash": HASH}}
    with page(**settings) as plain:
        url = f"https://127.0.0.1:{plain.base_url.port}"
        with httpx.Client(
            base_url=url, verify=ssl.create_default_context(cafile=certificate), timeout=PATIENCE_S
        ) as client:
            answer = log_in(client)
            assert answer.status_code == 200 and "secure" in answer.headers["set-cookie"].lower()
            assert client.get("/api/series").status_code == 200


def test_a_certificate_that_is_none_is_an_error_that_names_the_key(tmp_path: Path) -> None:
    damaged = tmp_path / "page.pem"
    damaged.write_text("nothing")
    for path in (damaged, tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match="certificate"), page(tls={"certificate": path, "key": path}):
            pass
