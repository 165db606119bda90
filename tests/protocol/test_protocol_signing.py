"""Signatures and tokens: what is genuine passes, and nothing else does."""

from __future__ import annotations

import hashlib
import hmac
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.protocol.signing import (
    LONGEST_SUBJECT,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    BadSignature,
    BadToken,
    StreamToken,
    check_webhook,
    mint_token,
    read_token,
    sign_webhook,
)

SECRET, KEY = "whsec-1", "token-key-1"
NOW = 1780056600.0
BODY = b'{"event": "call.completed"}'


def _check(
    timestamp: str | None = "1780056600",
    signature: str | None = None,
    body: bytes = BODY,
    *,
    secrets: tuple[str, ...] = (SECRET,),
    now: float = NOW,
) -> None:
    if signature is None and timestamp is not None:
        signature = sign_webhook(SECRET, timestamp, BODY)
    check_webhook(secrets, timestamp, signature, body, now=now, tolerance=300)


@pytest.mark.documents("signature")
def test_a_signature_is_v1_and_the_hex_hmac_of_timestamp_stop_and_raw_body() -> None:
    expected = hmac.new(b"whsec-1", b"1780056600." + BODY, hashlib.sha256).hexdigest()
    assert sign_webhook(SECRET, "1780056600", BODY) == "v1=" + expected


@pytest.mark.documents("signature")
def test_a_signature_is_what_openssl_makes_of_the_same_input() -> None:
    assert sign_webhook("secret", "1", b"") == (
        "v1=8f0c4009f5a2110efea93e5f4061f011d119fe65e9c3563c251b9ff41825be79"
    )


@pytest.mark.documents("signature")
def test_the_headers_have_their_documented_names() -> None:
    assert TIMESTAMP_HEADER == "X-MiniVoice-Timestamp"
    assert SIGNATURE_HEADER == "X-MiniVoice-Signature"


@pytest.mark.parametrize(
    "timestamp",
    [
        "1780056600",
        "1780056600.25",
        "1780056600000",
        "1780056600000000",
        "1780056600000000000",
        "2026-05-29T12:10:00Z",
        "2026-05-29T14:10:00.5+02:00",
        "1780056300",
        "1780056900",
    ],
)
def test_a_timestamp_of_any_likely_unit_within_the_tolerance_is_good(timestamp: str) -> None:
    _check(timestamp)


def test_a_signature_in_capitals_is_the_same_number() -> None:
    genuine = sign_webhook(SECRET, "1780056600", BODY)
    _check(signature="v1=" + genuine[3:].upper())


def test_while_secrets_are_changed_both_are_good() -> None:
    _check(secrets=("new", SECRET))
    _check(secrets=(SECRET, "new"))


@pytest.mark.parametrize(
    ("timestamp", "signature", "missing"),
    [
        (None, "v1=" + "0" * 64, TIMESTAMP_HEADER),
        ("", "v1=" + "0" * 64, TIMESTAMP_HEADER),
        ("1780056600", "", SIGNATURE_HEADER),
    ],
)
def test_a_missing_header_is_named(timestamp: str | None, signature: str, missing: str) -> None:
    with pytest.raises(BadSignature, match=f"missing: there is no {missing}") as caught:
        _check(timestamp, signature)
    assert caught.value.why == "missing" and caught.value.status == 401


def test_an_absent_signature_is_missing() -> None:
    with pytest.raises(BadSignature, match=SIGNATURE_HEADER):
        check_webhook([SECRET], "1780056600", None, BODY, now=NOW, tolerance=300)


@pytest.mark.parametrize(
    "timestamp",
    [
        "now",
        "-1",
        "1e9",
        "1780056600 ",
        "1" * 21,
        "\u0661",
        "NaN",
        "\xff",
        "0x1",
        "1.",
        "2026-05-29",
    ],
)
def test_a_timestamp_that_is_no_time_is_malformed(timestamp: str) -> None:
    with pytest.raises(BadSignature, match=TIMESTAMP_HEADER) as caught:
        _check(timestamp)
    assert caught.value.why == "malformed"


@pytest.mark.parametrize(
    "signature",
    ["v1", "v1=", "v2=" + "0" * 64, "0" * 64, "v1=" + "0" * 63, "v1=" + "g" * 64, "v1=\u0660" * 64],
)
def test_a_signature_of_another_form_is_malformed(signature: str) -> None:
    with pytest.raises(BadSignature, match=SIGNATURE_HEADER) as caught:
        _check(signature=signature)
    assert caught.value.why == "malformed"


def test_another_secret_body_or_timestamp_is_wrong() -> None:
    genuine = sign_webhook(SECRET, "1780056600", BODY)
    for secret, timestamp, signature, body in (
        ("other", "1780056600", genuine, BODY),
        (SECRET, "1780056600", genuine, BODY + b" "),
        (SECRET, "1780056601", genuine, BODY),
        (SECRET, "1780056600", "v1=" + "0" * 64, BODY),
    ):
        with pytest.raises(BadSignature) as caught:
            _check(timestamp, signature, body, secrets=(secret, "another"))
        assert caught.value.why == "wrong" and caught.value.status == 401


@pytest.mark.parametrize(
    ("now", "message"),
    [(NOW + 301, "by 301 s behind our clock; 300 s"), (NOW - 301, "by 301 s ahead of our clock")],
)
def test_a_genuine_signature_out_of_tolerance_is_stale_and_says_by_how_much(
    now: float, message: str
) -> None:
    with pytest.raises(BadSignature, match=message) as caught:
        _check(now=now)
    assert caught.value.why == "stale"


def test_a_stale_signature_that_is_also_wrong_is_wrong() -> None:
    with pytest.raises(BadSignature) as caught:
        _check(now=NOW + 1000, secrets=("other",))
    assert caught.value.why == "wrong"


@pytest.mark.parametrize("secrets", [(), ("",), (SECRET, "")])
def test_without_a_usable_secret_nothing_is_checked_and_the_fault_is_ours(
    secrets: tuple[str, ...],
) -> None:
    with pytest.raises(LocalProtocolError):
        _check(secrets=secrets)


def test_no_error_repeats_a_secret_or_a_signature() -> None:
    genuine = sign_webhook(SECRET, "1780056600", BODY)
    with pytest.raises(BadSignature) as caught:
        _check(secrets=("other-secret",), signature=genuine)
    assert SECRET not in str(caught.value) and "other-secret" not in str(caught.value)
    assert genuine[3:] not in str(caught.value)


@given(st.text(min_size=1), st.integers(0, 10**10), st.binary())
def test_what_was_signed_is_accepted(secret: str, timestamp: int, body: bytes) -> None:
    secret = secret.encode("utf-8", "replace").decode()
    signature = sign_webhook(secret, str(timestamp), body)
    check_webhook([secret], str(timestamp), signature, body, now=timestamp, tolerance=0)


@given(st.text() | st.none(), st.text() | st.none(), st.binary())
def test_no_header_raises_anything_but_bad_signature(
    timestamp: str | None, signature: str | None, body: bytes
) -> None:
    with pytest.raises(BadSignature):
        check_webhook([SECRET], timestamp, signature, body, now=NOW, tolerance=300)


def test_a_token_is_read_back_until_it_expires() -> None:
    token = mint_token(KEY, "call_20260529T120000.000000000", NOW + 1.5)
    good = StreamToken("call_20260529T120000.000000000", NOW + 1.5)
    assert read_token([KEY], token, now=NOW) == good
    assert read_token([KEY], token, now=NOW + 1.499) == good
    with pytest.raises(BadToken, match="good until 58 s ago") as caught:
        read_token([KEY], token, now=NOW + 60)
    assert caught.value.why == "expired"
    assert (caught.value.status, caught.value.close_code) == (403, 1008)
    with pytest.raises(BadToken):
        read_token([KEY], token, now=NOW + 1.5)


subjects = st.text(st.characters(), min_size=1, max_size=LONGEST_SUBJECT)


@given(subjects, st.integers(1, 10**10))
def test_any_subject_fits_into_one_segment_of_a_path(subject: str, expires_at: int) -> None:
    token = mint_token(KEY, subject, expires_at)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", token)
    assert read_token([KEY], token, now=0) == StreamToken(subject, expires_at)


def test_a_subject_may_have_256_characters() -> None:
    assert LONGEST_SUBJECT == 256


def test_the_longest_subject_in_its_widest_characters_is_read_back() -> None:
    subject = "\U0010ffff" * LONGEST_SUBJECT
    assert read_token([KEY], mint_token(KEY, subject, NOW), now=0).subject == subject


def test_tokens_of_two_calls_differ_from_their_first_characters_on() -> None:
    assert mint_token(KEY, "call_1", NOW)[:6] != mint_token(KEY, "call_2", NOW)[:6]


def test_a_token_of_an_older_key_is_good_while_that_key_is_listed() -> None:
    token = mint_token("old", "c", NOW + 1)
    assert read_token(["new", "old"], token, now=NOW).subject == "c"
    with pytest.raises(BadToken) as caught:
        read_token(["new"], token, now=NOW)
    assert caught.value.why == "forged"


def test_a_token_for_another_call_or_time_is_refused() -> None:
    mine, other = mint_token(KEY, "call_1", NOW), mint_token(KEY, "call_2", NOW + 10)
    mac, expiry, subject = mine.split(".")
    for forged in (
        f"{mac}.{expiry}.{other.split('.')[2]}",
        f"{mac}.{other.split('.')[1]}.{subject}",
        f"{other.split('.')[0]}.{expiry}.{subject}",
        f"{mac}.0{expiry}.{subject}",
    ):
        with pytest.raises(BadToken) as caught:
            read_token([KEY], forged, now=0)
        assert caught.value.why == "forged" and caught.value.status == 403


@given(st.integers(0, 200), st.sampled_from("Aa0-_.~/ \u00e9"))
def test_no_character_of_a_token_can_be_changed(index: int, character: str) -> None:
    token = mint_token(KEY, "call_20260529T120000.000000000", NOW)
    index %= len(token)
    changed = token[:index] + character + token[index + 1 :]
    if changed != token:
        with pytest.raises(BadToken):
            read_token([KEY], changed, now=0)


def test_the_unused_bits_of_a_macs_last_character_cannot_be_changed_either() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = mint_token(KEY, "c", NOW)
    twin = alphabet[alphabet.index(token[42]) ^ 1]
    with pytest.raises(BadToken, match="forged"):
        read_token([KEY], token[:42] + twin + token[43:], now=0)


@given(st.text())
def test_no_text_raises_anything_but_bad_token(token: str) -> None:
    with pytest.raises(BadToken) as caught:
        read_token([KEY], token, now=0)
    assert caught.value.why == "malformed"


def test_no_error_repeats_a_token() -> None:
    token = mint_token(KEY, "c", NOW)
    for bad in (token, token + "=", "B" + token[1:]):
        with pytest.raises(BadToken) as caught:
            read_token([KEY], bad, now=NOW)
        assert token[7:] not in str(caught.value)


def test_a_webhook_secret_used_as_token_key_signs_nothing_for_the_other_purpose() -> None:
    claim = mint_token(SECRET, "c", NOW).partition(".")[2]
    stamp, _, name = claim.partition(".")
    crossed = sign_webhook(SECRET, stamp, name.encode())
    assert crossed[3:] not in mint_token(SECRET, "c", NOW)


@pytest.mark.parametrize(
    ("key", "subject", "expires_at"),
    [
        ("", "c", NOW),
        (KEY, "", NOW),
        (KEY, "c" * (LONGEST_SUBJECT + 1), NOW),
        (KEY, "c", -1.0),
        (KEY, "c", math.nan),
        (KEY, "c", math.inf),
        (KEY, "c", NOW * 1000),
    ],
)
def test_a_token_that_could_not_be_read_is_not_made(
    key: str, subject: str, expires_at: float
) -> None:
    with pytest.raises(LocalProtocolError):
        mint_token(key, subject, expires_at)


def test_tokens_are_not_read_without_a_key() -> None:
    with pytest.raises(LocalProtocolError):
        read_token([], mint_token(KEY, "c", NOW), now=0)
