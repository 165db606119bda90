"""`serve --metrics`: a real process, scraped over TLS by the official parser."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from minivoice_ref.certificates import make_certificates
from minivoice_ref.cli import main
from prometheus_client.parser import text_string_to_metric_families


def test_a_served_receiver_tells_prometheus_of_a_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = make_certificates(tmp_path / "certs")
    command = [sys.executable, "-m", "minivoice_ref", "serve", "--listen", "127.0.0.1:0", "--json"]
    command += ["--tls-cert", str(files.cert), "--tls-key", str(files.key), "--metrics"]
    command += ["--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            urls = json.loads(process.stdout.readline())["urls"]
            call = ["call", "--answer-url", urls["answer"], "--webhook-url", urls["webhooks"]]
            assert main([*call, "--ca", str(files.ca), "--speak", "0.5"]) == 0
            trust = ssl.create_default_context(cafile=str(files.ca))
            with urllib.request.urlopen(urls["base"] + "/metrics", context=trust) as page:
                text = page.read().decode()
        finally:
            process.terminate()
    capsys.readouterr()
    found = {
        (sample.name, sample.labels.get("track"), sample.labels.get("kind")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    for track in ("inbound", "outbound"):
        assert found["minivoice_frames_total", track, None] >= 20
        assert found["minivoice_samples_total", track, "received"] >= 20 * 160
        assert found["minivoice_lost_samples", track, None] == 0
    assert found["minivoice_loop_lag_seconds_count", None, None] > 0


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "minivoice_ref.metrics", raising=False)
    monkeypatch.setenv("MINIVOICE_METRICS_AUTH", "Bearer let-me-see-them")
    data = ["--plain", "--listen", "127.0.0.1:0", "--data", str(tmp_path)]
    assert main(["serve", *data, "--metrics"]) != 0
    assert "pip install 'minivoice-ref[metrics]'" in capsys.readouterr().err
