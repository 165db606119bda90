"""Who may come in: networks, credentials, proxies, two secrets at once; what settings refuse."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from receiver_lab import open_lab, settings, webhook

from minivoice_ref.config import Config, ConfigError
from minivoice_ref.console.access import Access
from minivoice_ref.net.http import Request
from minivoice_ref.net.upgrade import UpgradeRefused
from minivoice_ref.net.websocket import open_connected
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.protocol.signing import mint_token
from minivoice_ref.receiver.app import App

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
OLD, NEW = "the secret until today", "the secret from now on"


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("wanted", "given", "status"),
    [
        ("Bearer correct horse", {"Authorization": "Bearer correct horse"}, 200),
        ("Bearer correct horse", {"Authorization": "bearer correct horse"}, 200),
        ("Bearer correct horse", {"Authorization": "Bearer battery staple"}, 401),
        ("Bearer correct horse", {"Authorization": "Basic correct horse"}, 401),
        ("Bearer correct horse", {}, 401),
        ("Basic platform:correct horse", basic("platform:correct horse"), 200),
        ("Basic platform:correct horse", basic("platform:wrong horse"), 401),
        ("Basic platform:correct horse", {"Authorization": "Basic =not base64="}, 401),
        ("Basic platform:correct horse", {"Authorization": "Basic \xff"}, 401),
    ],
)
async def test_answer_url_may_want_credentials(
    wanted: str, given: dict[str, str], status: int, tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path, answer_auth=wanted)) as lab:
        response = await lab.request("POST", "/answer", headers=given)
        assert response.status == status
        challenge = response.header("www-authenticate") or ""
        assert challenge.startswith(wanted.partition(" ")[0]) == (status == 401)
        assert (await lab.deliver(webhook())).status == 200  # signed, or not; it is another door
        refused = await lab.lines("answers", "refused")
        assert [line["code"] for line in refused] == ["MV-313"] * (status == 401)


@pytest.mark.documents("receiver-accepts")
async def test_streams_may_want_credentials_beside_their_token(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path, stream_auth="Bearer correct horse")) as lab:
        url = await lab.stream_url()
        with pytest.raises(UpgradeRefused) as refused:
            async with lab.stream(url=url):
                pass
        assert refused.value.status == 401
        async with open_connected(
            url,
            connect=lab.network.connect,
            headers=[("Authorization", "Bearer correct horse")],
            limits=Limits(),
            timeouts=Timeouts(),
        ):
            pass
    log = (lab.config.data / "streams.jsonl").read_text()
    assert "MV-313" in log and "correct horse" not in log


@pytest.mark.parametrize(
    ("allow", "proxies", "header", "welcome"),
    [
        ("192.0.2.0/24", None, None, True),  # where the memory network calls from
        ("198.51.100.0/24, 192.0.2.1", None, None, True),
        ("198.51.100.0/24", None, None, False),
        ("198.51.100.0/24", None, "198.51.100.7", False),
        ("198.51.100.0/24", "192.0.2.0/24", "198.51.100.7", True),
        ("198.51.100.0/24", "192.0.2.0/24", "198.51.100.7, 203.0.113.1", False),
        ("198.51.100.0/24", "192.0.2.0/24", None, False),
    ],
)
@pytest.mark.documents("receiver-accepts")
async def test_only_allowed_networks_may_come_in_and_health_is_for_everybody(
    allow: str,
    proxies: str | None,
    header: str | None,
    welcome: bool,
    tmp_path: Path,
    autojump_clock: object,
) -> None:
    config = settings(tmp_path, allow=allow, trusted_proxies=proxies)
    headers = {} if header is None else {"X-Forwarded-For": header}
    async with open_lab(App(), config) as lab:
        answer = await lab.request("POST", "/answer", headers=headers)
        hook = await lab.deliver(webhook(), headers=headers)
        assert {answer.status, hook.status} == ({200} if welcome else {403})
        assert (await lab.request("GET", "/health")).status == 200
        (line,) = await lab.lines("answers")
        assert line["peer"].startswith("198.51.100.7" if header and welcome else "1") or header


async def test_while_a_secret_is_changed_both_are_good(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, webhook_secret=NEW, webhook_secret_previous=OLD)
    async with open_lab(App(), config) as lab:
        for number, secret in enumerate((OLD, NEW)):
            body = webhook(call_id=f"call_{number}")
            assert (await lab.deliver(body, secret=secret)).status == 200
        assert (await lab.deliver(webhook(), secret="another secret")).status == 401
        assert (await lab.deliver(webhook())).status == 401


async def test_every_secret_is_compared_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    """All rests on hmac.compare_digest: where that says yes to everything, everything is good."""
    config = settings(
        tmp_path, webhook_secret=NEW, answer_auth="Bearer right-one", stream_auth="Bearer right-one"
    )
    compared: list[tuple[bytes, bytes]] = []

    def all_equal(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return True

    bearer = {"Authorization": "Bearer wrong-one"}
    forged = mint_token("another key", "call:call_1", 2e9)
    stream = {**UPGRADE, **bearer}
    async with open_lab(App(), config) as lab:

        async def statuses() -> list[int]:
            return [
                (await lab.request("POST", "/answer", headers=bearer)).status,
                (await lab.deliver(webhook(), secret="another secret")).status,
                (await lab.request("GET", f"/stream/{forged}", headers=stream)).status,
            ]

        assert await statuses() == [401, 401, 401]
        monkeypatch.setattr("hmac.compare_digest", all_equal)
        assert await statuses() == [200, 200, 101]
        console = Access("the right token", None, lambda: 0.0)
        asked = Request("GET", "/console/", "/console/", "", tuple(bearer.items()))
        assert console.refuse(asked) is None
    assert len(compared) == 5 and all(one != other for one, other in compared)


async def test_a_hostile_call_id_names_no_file(tmp_path: Path, autojump_clock: object) -> None:
    config = settings(tmp_path, record=True, capture=True)
    ids = ["../../escaped", "/etc/passwd", "a\\b", "..", "call?*|<>", "x" * 200, "ünïcode ‮ rtl"]
    async with open_lab(App(), config) as lab:
        for call_id in ids:
            async with lab.stream(url=await lab.stream_url(call_id)) as caller:
                caller.call_id = call_id
                await caller.start("inbound")
                await caller.speak(3)
                await caller.stop()
                await caller.close_code()
            await lab.deliver(webhook(call_id=call_id))
    outside = {path.name for path in tmp_path.iterdir()}
    assert outside == {"data"}
    allowed = set("abcdefghijklmnopqrstuvwxyzTZ0123456789_.-")
    names = {path.name for path in config.data.rglob("*")}
    assert len(names) > 2 * len(ids) and set("".join(names)) <= allowed
    modes = {path.stat().st_mode & 0o777 for path in config.data.rglob("*") if path.is_file()}
    folders = {path.stat().st_mode & 0o777 for path in config.data.rglob("*") if path.is_dir()}
    assert (modes, folders, config.data.stat().st_mode & 0o777) == ({0o600}, {0o700}, 0o700)


SAFE: dict[str, Any] = {"tls_cert": "c", "tls_key": "k", "webhook_secret": NEW}


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({"listen": "0.0.0.0:8443", **SAFE}, set()),
        ({"listen": "0.0.0.0:8443", "plain": True}, {"listen", "webhook_secret"}),
        ({"listen": "[::]:8443", "plain": True, "webhook_secret": NEW}, {"listen"}),
        ({"listen": "media.example.com:8443", **SAFE, "webhook_secret": None}, {"webhook_secret"}),
        ({"listen": "127.0.0.1:1", "plain": True}, set()),
        ({"listen": "localhost:1", "plain": True}, set()),
        ({"stream_listen": "0.0.0.0:8444", "plain": True}, {"stream_listen"}),
        ({"listen": "0.0.0.0:8443", "plain": True, "insecure": True}, set()),
    ],
)
@pytest.mark.documents("webhook-url")
def test_other_machines_are_served_with_tls_and_a_webhook_secret_or_not_at_all(
    given: dict[str, Any], problems: set[str]
) -> None:
    try:
        Config(**given)
    except ConfigError as exc:
        assert {problem.path for problem in exc.problems} == problems
        assert all("insecure" in problem.mend for problem in exc.problems)
    else:
        assert not problems


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"answer_auth": "correct horse"}, "answer_auth"),
        ({"answer_auth": "Basic no-colon-in-it"}, "answer_auth"),
        ({"stream_auth": "Bearer  "}, "stream_auth"),
        ({"stream_auth": "Bearer schlüssel"}, "stream_auth"),
        ({"answer_auth": "tiny"}, "answer_auth"),
        ({"webhook_secret_previous": OLD}, "webhook_secret_previous"),
        ({"allow": "192.0.2.0/33"}, "allow"),
        ({"trusted_proxies": "proxy.example.com"}, "trusted_proxies"),
        ({"watchdog": -1.0}, "watchdog"),
    ],
)
def test_an_entry_that_cannot_work_is_named_without_its_secret(
    given: dict[str, Any], name: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(plain=True, **given)
    assert {problem.path for problem in caught.value.problems} == {name}
    if name.endswith("auth"):
        assert given[name] not in str(caught.value)


def test_no_setting_shows_a_secret() -> None:
    secrets = {
        "webhook_secret": NEW,
        "webhook_secret_previous": OLD,
        "token_key": "the key of the tokens",
        "answer_auth": "Basic user:correct horse",
        "stream_auth": "Bearer battery staple",
        "console_token": "the console's token",
    }
    config = Config(plain=True, **secrets)  # type: ignore[arg-type]
    assert not any(secret in repr(config) for secret in config.secrets)
    assert set(secrets.values()) < set(config.secrets)
    assert {"user:correct horse", "battery staple"} < set(config.secrets)
    with pytest.raises(ConfigError) as caught:
        Config.load(environ={"MINIVOICE_WATCHDOG": "soon"}, plain=True)
    assert "MINIVOICE" not in str(caught.value) and "watchdog" in str(caught.value)
