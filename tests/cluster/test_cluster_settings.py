"""The settings of a cluster: URLs that are taken, and those that are refused with a reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from minivoice_ref.config import Config, ConfigError
from minivoice_ref.config_cluster import ClusterUrl, read_cluster_url
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.server import serve

KEY = "the same on every node"


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("redis://10.0.0.5", ClusterUrl("one", False, (("10.0.0.5", 6379),))),
        (
            "rediss://ann%40b@r.example.com:7000/3",
            ClusterUrl("one", True, (("r.example.com", 7000),), "ann@b", None, 3),
        ),
        ("redis://[::1]:7", ClusterUrl("one", False, (("::1", 7),))),
        (
            "redis+sentinel://a:1,b/mymaster/2",
            ClusterUrl("sentinel", False, (("a", 1), ("b", 26379)), None, "mymaster", 2),
        ),
        (
            "rediss+cluster://a:1,b:2",
            ClusterUrl("cluster", True, (("a", 1), ("b", 2))),
        ),
    ],
)
def test_a_url_says_where_redis_is(url: str, read: ClusterUrl) -> None:
    assert read_cluster_url(url) == read


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://a", "scheme"),
        ("redis+moon://a", "scheme"),
        ("redis://ann:secret@a", "a password stands in it"),
        ("redis://a,b", "several hosts"),
        ("redis://", "no name"),
        ("redis://a:port", "a port is no number"),
        ("redis://a:99999", "a port is no number"),
        ("redis://ann:secret/1@a", "a port is no number"),
        ("redis://ann:secret\u2100@a", "cannot be read"),
        ("redis+sentinel://a:1", "no service"),
        ("redis://a/x", "not understood"),
        ("redis+cluster://a/1", "not understood"),
        ("redis://a?db=1", "not understood"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_its_password_not_shown(
    url: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=f"^cluster: .*(?:{why})") as refused:
        Config(plain=True, cluster=url, token_key=KEY)
    assert "secret" not in str(refused.value)


def test_the_nodes_need_the_same_key_and_a_name_that_can_begin_a_key() -> None:
    with pytest.raises(ConfigError, match="^token_key: is needed"):
        Config(plain=True, cluster="redis://a")
    with pytest.raises(ConfigError, match="^cluster_name: 'a b' cannot begin a key"):
        Config(plain=True, cluster="redis://a", token_key=KEY, cluster_name="a b")


def test_the_replicas_come_from_the_environment_as_a_number() -> None:
    environ = {"MINIVOICE_CLUSTER_REPLICAS": "2", "MINIVOICE_PLAIN": "1"}
    assert Config.load(environ=environ).cluster_replicas == 2
    with pytest.raises(ConfigError, match="a whole number"):
        Config.load(environ=environ | {"MINIVOICE_CLUSTER_REPLICAS": "many"})


async def test_without_the_extra_a_cluster_is_refused_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coredis", None)
    monkeypatch.delitem(sys.modules, "minivoice_ref.receiver.cluster", raising=False)
    monkeypatch.delitem(sys.modules, "minivoice_ref.receiver.cluster_client", raising=False)
    config = Config(
        listen="127.0.0.1:0", plain=True, data=tmp_path, cluster="redis://a", token_key=KEY
    )
    with pytest.raises(ConfigError, match=r"pip install 'minivoice-ref\[cluster\]'"):
        await serve(App(), config)
