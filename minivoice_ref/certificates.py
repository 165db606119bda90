"""Certificates for localhost, made on the spot, for demos and tests.

The only importer of trustme, which comes with the extra `demo` and is loaded when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from minivoice_ref.protocol.errors import MiniVoiceError

__all__ = ["Certificates", "make_certificates"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Three PEM files: who to trust, what to show, and the key to it."""

    ca: Path
    cert: Path
    key: Path


def make_certificates(directory: Path, names: Iterable[str] = ()) -> Certificates:
    """Write a new authority and a certificate for localhost and *names* into *directory*.

    The private key can be read by its owner only. Existing files are not overwritten: whoever
    trusts the old authority would be locked out. Raises MiniVoiceError then, where the folder
    cannot be written, and where the extra `demo` is not installed.
    """
    try:
        import trustme
    except ImportError:
        raise MiniVoiceError(
            "certificates are made with trustme, which is not installed; "
            "install the extra: pip install 'minivoice-ref[demo]'"
        ) from None
    files = Certificates(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
    for path in (files.ca, files.cert, files.key):
        if path.exists():
            raise MiniVoiceError(f"{path} exists already; remove it or choose another folder")
    authority = trustme.CA()
    try:
        issued = authority.issue_cert("localhost", "127.0.0.1", "::1", *names)
    except ValueError as exc:
        raise MiniVoiceError(f"no certificate can be made for {', '.join(names)}: {exc}") from None
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, content, mode in (
            (files.key, issued.private_key_pem.bytes(), 0o600),
            (files.cert, chain, 0o644),
            (files.ca, authority.cert_pem.bytes(), 0o644),
        ):
            path.touch(mode, exist_ok=False)  # first the mode, then the content
            path.write_bytes(content)
    except OSError as exc:
        raise MiniVoiceError(f"{exc.filename} cannot be written: {exc.strerror}") from None
    return files
