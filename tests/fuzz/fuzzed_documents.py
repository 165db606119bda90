"""What must hold of documents, whatever they are: answers, webhooks, signatures, captures, logs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC

from minivoice_ref.protocol.actions import Answer, CheckedAnswer, read_answer
from minivoice_ref.protocol.capture_format import (
    BadCapture,
    CaptureReader,
    Ended,
    Handshake,
    hide_secrets,
    write_handshake,
    write_record,
)
from minivoice_ref.protocol.documents import MAX_PROBLEMS
from minivoice_ref.protocol.errors import InvalidDocument, Problem
from minivoice_ref.protocol.media import WireMessage
from minivoice_ref.protocol.redaction import (
    excerpt,
    hide_tokens,
    redact_headers,
    redact_path,
    redact_text,
    redact_url,
)
from minivoice_ref.protocol.signing import (
    BadSignature,
    BadToken,
    check_webhook,
    mint_token,
    read_token,
    sign_webhook,
)
from minivoice_ref.protocol.webhooks import format_time, parse_time, read_event

KEY, OTHER_KEY, NOW = "a-key-of-ours", "a-key-of-somebody-else", 1_780_000_000.0
_LONGEST = 2000  # characters of one problem


def check_answer(body: bytes) -> None:
    """Any body is an answer or a list of its faults; a good one can be written and read again."""
    checked = read_answer(body)
    assert isinstance(checked, CheckedAnswer)
    _assert_problems([*checked.problems, *checked.warnings])
    assert checked.valid == (not checked.problems)
    if checked.valid:
        actions = [action for action in checked.actions if action is not None]
        assert len(actions) == len(checked.actions)
        again = read_answer(Answer(*actions).encode())
        assert again.valid, again.problems
        assert [one and one.to_json() for one in again.actions] == [
            one.to_json() for one in actions
        ]


def check_event(body: bytes) -> None:
    """Any body is an event or a list of its faults; an event can be written and read again."""
    try:
        event = read_event(body)
    except InvalidDocument as exc:
        assert exc.status == 400 and exc.problems
        _assert_problems(exc.problems)
        return
    assert event.event and event.call.id and event.created_at.tzinfo is UTC
    again = read_event(event.encode())
    assert again == event and again.key == event.key
    json.loads(event.key)
    assert parse_time(format_time(event.created_at)) == event.created_at
    assert all(type(value) is str for value in event.variables.values())


def check_token(text: str) -> None:
    """Nobody makes a token but us: whatever is read as one was made with our key."""
    try:
        token = read_token([KEY, OTHER_KEY], text, now=NOW)
    except BadToken as exc:
        assert exc.status == 403 and exc.why in ("malformed", "forged", "expired")
        assert text not in str(exc) or len(text) < 20
        return
    made = [mint_token(key, token.subject, token.expires_at) for key in (KEY, OTHER_KEY)]
    assert text in made and token.expires_at > NOW


def check_minting(subject: str, cut: int, instead: str) -> None:
    """A token comes back as it went; one that was changed anywhere does not."""
    token = mint_token(KEY, subject, NOW + 10)
    assert read_token([KEY], token, now=NOW).subject == subject
    changed = token[: cut % len(token)] + instead + token[cut % len(token) + 1 :]
    if changed != token:
        try:
            read_token([KEY], changed, now=NOW)
            raise AssertionError(f"a changed token was read: {changed}")
        except BadToken:
            pass


def check_signature(timestamp: str, signature: str, body: bytes) -> None:
    """A signature is the right one or refused, whatever stands in the headers."""
    try:
        check_webhook([KEY], timestamp, signature, body, now=NOW, tolerance=300)
    except BadSignature as exc:
        assert exc.status == 401 and exc.why in ("missing", "malformed", "wrong", "stale")
    else:
        assert signature.lower() == sign_webhook(KEY, timestamp, body)


def check_capture(lines: Sequence[bytes]) -> None:
    """Any lines are a capture or none; what was read can be written and is read the same."""
    try:
        reader = CaptureReader(lines)
    except BadCapture as exc:
        assert str(exc).isprintable() and len(str(exc)) < _LONGEST
        return
    records = list(reader)
    assert len(records) + reader.skipped <= len(lines) - 1
    assert reader.ended is None or isinstance(reader.ended, Ended)
    again = CaptureReader([write_handshake(reader.handshake), *map(write_record, records)])
    assert isinstance(again.handshake, Handshake)
    written = [write_record(record) for record in again]
    assert written == [write_record(record) for record in records] and not again.skipped


def check_redaction(message: WireMessage, token: str) -> None:
    """No reader of a log sees a whole token, a line break or more than was asked for."""
    shown = excerpt(message, 400)
    assert len(shown) <= 400 and shown.isprintable()
    if not isinstance(message, str):
        return
    for text in (hide_tokens(message), redact_text(message), redact_path(message)):
        assert token not in text
    assert token not in shown and token not in redact_url(message)
    assert redact_path(message).isprintable()
    for name, value in redact_headers([(message[:40], message)]):
        assert name.isprintable() and value.isprintable() and token not in value
    hidden = hide_secrets(message, [token])
    assert token not in hidden
    try:
        before = json.loads(message)
    except (ValueError, RecursionError):
        return
    assert type(json.loads(redact_text(message))) is type(before)


def _assert_problems(problems: Sequence[Problem]) -> None:
    assert len(problems) <= 2 * MAX_PROBLEMS
    for problem in problems:
        assert problem.message and str(problem).isprintable() and len(str(problem)) < _LONGEST
