"""The files of the page, read once, and the headers that keep it to itself.

Nothing is loaded from elsewhere and nothing runs that does not stand in a file of ours: the policy
forbids inline scripts and styles, plugins, frames around us, and, where the browser knows how, any
way to make markup of a text (`require-trusted-types-for`). So what a peer sent can only be shown.
"""

from __future__ import annotations

import importlib.resources
from dataclasses import replace

from minivoice_ref.net.http import Response

__all__ = ["Pages", "hardened"]

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src blob:",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "microphone=(self), camera=(), geolocation=()"),
    ("Cache-Control", "no-store"),
)


def hardened(response: Response) -> Response:
    """The response with the headers that everything of the console carries."""
    return replace(response, headers=(*response.headers, *_HEADERS))


class Pages:
    """The packaged files by name, as responses."""

    def __init__(self) -> None:
        folder = importlib.resources.files("minivoice_ref.console") / "static"
        self._files = {
            file.name: Response(200, file.read_bytes(), (("Content-Type", content_type),))
            for file in folder.iterdir()
            if (content_type := _TYPES.get(file.name.rpartition(".")[2])) is not None
        }

    def get(self, name: str) -> Response | None:
        """The file *name*; None where there is none."""
        return self._files.get(name)
