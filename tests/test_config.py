"""Settings: four sources, one validation, every problem at once and in its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from minivoice_ref.config import Config, ConfigError, Limits, Timeouts, split_address
from minivoice_ref.protocol.media import MediaFormat


def problems_of(**settings: Any) -> dict[str, str]:
    """The problems of a Config with *settings*: path -> message."""
    with pytest.raises(ConfigError) as caught:
        Config.load(**settings)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_three_settings_are_enough_for_a_test(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1:0", plain=True, data=tmp_path)
    assert config.media_format == MediaFormat("l16le", 8000, 1)
    assert config.limits == Limits() and config.timeouts == Timeouts()


def test_every_problem_is_reported_at_once() -> None:
    found = problems_of(
        listen="somewhere",
        stream_listen="h:70000",
        public_url="http://example.com",
        track="speaker",
        fallback_format="opus/48000/1",
        webhook_secret="",
        event_attempts=0,
        limits=Limits(message=-1),
    )
    assert set(found) == {
        "listen",
        "stream_listen",
        "tls_cert",
        "public_url",
        "track",
        "fallback_format",
        "webhook_secret",
        "event_attempts",
        "limits.message",
    }


@pytest.mark.parametrize(
    "url",
    ["https://", "https://h:port", "wss://h", "https://h/?q=1", "https://h/#f", "https://[", ""],
)
def test_a_public_url_that_cannot_be_reached_is_refused(url: str) -> None:
    assert set(problems_of(plain=True, public_url=url)) == {"public_url"}


@pytest.mark.parametrize(
    "name", ["mulaw", "mulaw/8000", "mulaw/0/1", "l16le/8000/3", "l16le/x/1", "l16le/٣/1"]
)
def test_a_fallback_format_must_be_whole(name: str) -> None:
    assert set(problems_of(plain=True, fallback_format=name)) == {"fallback_format"}


def test_plain_contradicts_a_certificate() -> None:
    assert "plain" in problems_of(plain=True, tls_cert=Path("c.pem"))


def test_later_sources_win_over_earlier_ones(tmp_path: Path) -> None:
    toml = tmp_path / "minivoice.toml"
    toml.write_text(
        'listen = "127.0.0.1:1"\ntrack = "inbound"\nplain = true\ntoken_lifetime = 7\n'
        "[timeouts]\nsilence = 3\ngrace = 4.5\n[limits]\nmessage = 100\n"
    )
    environ = {
        "MINIVOICE_TRACK": "outbound",
        "MINIVOICE_TIMEOUTS_SILENCE": "9",
        "MINIVOICE_LIMITS_MESSAGE": "200",
        "MINIVOICE_RECORD": "Yes",
        "OTHER": "ignored",
    }
    config = Config.load(toml=toml, environ=environ, listen="127.0.0.1:2", public_url=None)
    assert (config.listen, config.track, config.record) == ("127.0.0.1:2", "outbound", True)
    assert (config.timeouts.silence, config.timeouts.grace) == (9.0, 4.5)
    assert (config.limits.message, config.token_lifetime) == (200, 7.0)
    assert Config.from_toml(toml).track == "inbound"


def test_the_environment_alone_is_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIVOICE_PLAIN", "1")
    monkeypatch.setenv("MINIVOICE_DATA", "/var/lib/minivoice")
    config = Config.from_env()
    assert config.plain and config.data == Path("/var/lib/minivoice")


def test_a_secret_may_stand_in_a_file_and_never_in_a_repr(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret-of-the-file\n")
    config = Config.from_env(
        {
            "MINIVOICE_PLAIN": "1",
            "MINIVOICE_WEBHOOK_SECRET_FILE": str(secret),
            "MINIVOICE_TOKEN_KEY": "k3y-of-the-environment",
        }
    )
    assert config.webhook_secret == "s3cret-of-the-file"
    assert "s3cret" not in repr(config) and "k3y" not in repr(config)


@pytest.mark.parametrize("name", ["webhook_secret", "token_key"])
def test_a_secret_has_eight_characters_at_least(name: str) -> None:
    assert "shorter than 8" in problems_of(plain=True, **{name: "s3cret7"})[name]
    assert Config(plain=True, **{name: "s3cret-8"})  # type: ignore[arg-type]


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    environ = {"MINIVOICE_TOKEN_KEY_FILE": str(tmp_path / "absent")}
    said = problems_of(environ=environ)["MINIVOICE_TOKEN_KEY_FILE"]
    assert said.count("absent") == 1 and said.endswith("cannot be read: No such file or directory")


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean listen"):
        Config.from_env({"MINIVOICE_LISTNE": "x"})
    with pytest.raises(ConfigError, match="limits.zzz: is not a setting; known: connections"):
        Config.from_env({"MINIVOICE_LIMITS_ZZZ": "1"})


def test_a_value_of_the_wrong_type_is_named_with_what_to_give(tmp_path: Path) -> None:
    toml = tmp_path / "wrong.toml"
    toml.write_text(
        'plain = "perhaps"\nevent_attempts = 2.5\ntrack = 5\nlimits = 3\n'
        'token_lifetime = "soon"\nrecord = 1\n[timeouts]\nsilence = true\n'
    )
    with pytest.raises(ConfigError) as caught:
        Config.from_toml(toml)
    mends = {p.path.removeprefix(f"{toml}: "): p.mend for p in caught.value.problems}
    assert mends == {
        "plain": "give true or false",
        "event_attempts": "give a whole number",
        "track": "give text",
        "limits": "give a table of settings",
        "token_lifetime": "give a number",
        "record": "give true or false",
        "timeouts.silence": "give a number",
    }


def test_a_secret_of_the_wrong_type_is_not_quoted(tmp_path: Path) -> None:
    toml = tmp_path / "wrong.toml"
    toml.write_text("webhook_secret = 123456789\n")
    with pytest.raises(ConfigError) as caught:
        Config.from_toml(toml)
    assert "123456789" not in str(caught.value)


def test_a_file_that_cannot_be_read_or_is_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.from_toml(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("listen = \n")
    with pytest.raises(ConfigError, match="is not TOML"):
        Config.from_toml(broken)


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:8443", ("::1", 8443)), ("h:65535", ("h", 65535))],
)
def test_an_address_is_split_into_host_and_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


def test_every_setting_says_what_it_is() -> None:
    for cls in (Config, Limits, Timeouts):
        for setting in dataclasses.fields(cls):
            assert setting.name in ("limits", "timeouts") or len(setting.metadata["help"]) > 10


def test_a_folder_may_be_named_by_text() -> None:
    text: Any = "/var/lib/minivoice"
    assert Config(plain=True, data=text).data == Path("/var/lib/minivoice")


@pytest.mark.parametrize(
    ("name", "value"),
    [("dialect", "klingon"), ("l16", "l16"), ("one_channel", "both"), ("webhook_method", "post")],
)
def test_a_choice_that_there_is_not_is_refused(name: str, value: str) -> None:
    assert set(problems_of(plain=True, **{name: value})) == {name}


@pytest.mark.parametrize(
    ("name", "value"),
    [("dialect", "auto"), ("dialect", "telnyx"), ("l16", "l16be"), ("webhook_method", "PUT")],
)
def test_what_is_assumed_can_be_chosen(name: str, value: str) -> None:
    chosen: dict[str, Any] = {name: value}
    assert getattr(Config.load(plain=True, **chosen), name) == value


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({"plain": True}, True),
        ({"tls_cert": "c", "tls_key": "k"}, False),
        ({"tls_cert": "c", "tls_key": "k", "public_url": "https://media.example.com"}, True),
        ({"plain": True, "console_listen": "127.0.0.1:9000"}, False),
        ({"plain": True, "console_listen": "localhost:9000"}, False),
        ({"plain": True, "console_listen": "[::1]:9000"}, False),
        ({"plain": True, "console_listen": "0.0.0.0:9000"}, True),
        ({"plain": True, "console_token": "long enough"}, False),
    ],
)
def test_an_open_console_is_one_that_only_this_machine_can_reach(
    changes: dict[str, object], needed: bool
) -> None:
    if not needed:
        assert Config(console=True, **changes).console  # type: ignore[arg-type]
        return
    with pytest.raises(ConfigError) as caught:
        Config(console=True, **changes)  # type: ignore[arg-type]
    assert [problem.path for problem in caught.value.problems] == ["console_token"]


def test_a_console_door_that_is_no_address_is_one_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        Config(plain=True, console=True, console_listen="nowhere")
    assert [problem.path for problem in caught.value.problems] == ["console_listen"]
