"""One HTTP request and one HTTP response, as values.

Pure: no stream and no HTTP parser in here. What a peer sent is decoded here, inside limits that the
reader has already enforced, and can raise a RemoteProtocolError only. The text of a message may
hold secrets (tokens in paths and in answers, signatures in headers), so a `repr` shows none of it.

Read next: `http.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote_to_bytes

from minivoice_ref.protocol.documents import read_document
from minivoice_ref.protocol.errors import RemoteProtocolError
from minivoice_ref.protocol.redaction import redact_path

__all__ = [
    "Headers",
    "Request",
    "Response",
    "decode_path",
    "header_value",
    "refuse_method",
    "tokens",
]

Headers = tuple[tuple[str, str], ...]
"""Names and values in the order they came, decoded as latin-1 (RFC 9110 section 5.5)."""

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 256  # of a query or a form: more is nobody's honest request
_UNSAFE_IN_PATH = re.compile(r"[\x00-\x1f\x7f\\]")


def header_value(headers: Headers, name: str) -> str | None:
    """The value of header *name* in any case; repeated ones joined by commas (RFC 9110, 5.3)."""
    wanted = name.lower()
    values = [value for key, value in headers if key.lower() == wanted]
    return ", ".join(values) if values else None


def tokens(value: str | None) -> list[str]:
    """The members of a comma-separated header, stripped, empty ones left out."""
    return [part.strip() for part in (value or "").split(",") if part.strip()]


@dataclass(frozen=True, slots=True)
class Request:
    """What a peer asks for. `target` is as sent; `path` is its path, percent-decoded and safe."""

    method: str
    target: str = field(repr=False)
    path: str = field(repr=False)
    query: str = field(repr=False)
    headers: Headers = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    peer: str = ""
    http_version: str = "1.1"

    def __repr__(self) -> str:
        return f"<Request {self.method} {redact_path(self.path)} from {self.peer or 'unknown'}>"

    def header(self, name: str, default: str | None = None) -> str | None:
        """The value of header *name*, in any case; repeated ones joined by commas."""
        value = header_value(self.headers, name)
        return default if value is None else value

    @property
    def media_type(self) -> str:
        """The media type of the body, lower case and without parameters; empty if there is none."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    @property
    def query_values(self) -> dict[str, str]:
        """The query's fields; of a repeated one the last. Raises RemoteProtocolError (400)."""
        return _fields(self.query, "the query")

    def expect_media_type(self, *accepted: str) -> None:
        """Raise RemoteProtocolError (415) unless the body is of one of the *accepted* types."""
        if self.media_type not in accepted:
            raise RemoteProtocolError(
                f"a body of type {self.media_type[:80]!r}, wanted {' or '.join(accepted)}",
                status=415,
            )

    def json(self) -> object:
        """The body as JSON. Raises InvalidDocument (400), with every fault, for what is none."""
        return read_document(self.body, "the body")

    def form(self) -> dict[str, str]:
        """The body as form fields; of a repeated one the last. Raises RemoteProtocolError (400)."""
        try:
            text = self.body.decode("ascii")
        except UnicodeDecodeError:
            raise RemoteProtocolError("the form is not ASCII") from None
        return _fields(text, "the form")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: `status`, `body`, and headers beside those that the connection adds by itself.

    Date, Content-Length, Connection and Transfer-Encoding are the connection's business.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Headers = field(default=(), repr=False)

    def header(self, name: str, default: str | None = None) -> str | None:
        """The value of header *name*, in any case; repeated ones joined by commas."""
        value = header_value(self.headers, name)
        return default if value is None else value

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @classmethod
    def json(cls, document: object, status: int = 200, headers: Headers = ()) -> Response:
        """Make a response of a JSON document."""
        body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        return cls(status, body, (("Content-Type", _JSON), *headers))

    @classmethod
    def text(cls, text: str, status: int = 200, headers: Headers = ()) -> Response:
        """Make a response of plain text."""
        return cls(status, text.encode(), (("Content-Type", "text/plain; charset=utf-8"), *headers))

    @classmethod
    def problem(cls, status: int, reason: str = "", headers: Headers = ()) -> Response:
        """Make a refusal: `{"error": reason}`, by default the status's own phrase.

        The reason goes to the peer: keep it short and free of internals.
        """
        return cls.json({"error": reason or reason_phrase(status)}, status, headers)


def reason_phrase(status: int) -> str:
    """The words that belong to a status, for example `Not Found`."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def refuse_method(request: Request, allowed: Iterable[str]) -> Response | None:
    """405 with `Allow` if the method is not *allowed*, else None. GET brings HEAD along."""
    methods = list(allowed)
    if "GET" in methods and "HEAD" not in methods:
        methods.insert(methods.index("GET") + 1, "HEAD")
    if request.method in methods:
        return None
    return Response.problem(405, headers=(("Allow", ", ".join(methods)),))


def decode_path(raw: str) -> str:
    """Percent-decode a path once. Raises RemoteProtocolError (400) for what only an attack needs.

    That is: an encoded slash, `.` and `..` as segments, backslashes, control characters, bytes that
    are not UTF-8.
    """
    if "%2f" in raw.lower():
        raise RemoteProtocolError("the path has an encoded slash")
    try:
        path = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise RemoteProtocolError("the path is not UTF-8") from None
    if _UNSAFE_IN_PATH.search(path) or not {".", ".."}.isdisjoint(path.split("/")):
        raise RemoteProtocolError("the path is not plain")
    return path


def _fields(text: str, what: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:  # too many fields, or not UTF-8
        raise RemoteProtocolError(f"{what} has too many fields or is not UTF-8") from None
    return dict(pairs)
