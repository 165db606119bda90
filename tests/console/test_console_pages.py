"""The files of the page: plain, small, and unable to make markup of what a peer sent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import minivoice_ref.console
from minivoice_ref.console.pages import Pages

STATIC = Path(minivoice_ref.console.__file__).parent / "static"
FILES = sorted(STATIC.iterdir())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_is_served_small_and_of_our_own(path: Path) -> None:
    served = Pages().get(path.name)
    assert served is not None and served.body == path.read_bytes()
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 350
    assert not re.search(r"https?://(?!www\.w3\.org|media\.example\.com)", text)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_can_make_markup_of_a_text(path: Path) -> None:
    """The policy forbids it to browsers that know how; the scripts do not try."""
    text = path.read_text("utf-8")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|srcdoc"
    assert not re.search(forbidden, text)
    assert text.startswith("// ")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_import_only_each_other(path: Path) -> None:
    for name in re.findall(r'from "(.+?)"', path.read_text("utf-8")):
        assert name.startswith("./") and (STATIC / name[2:]).is_file()


@pytest.mark.parametrize("name", ["index.html", "login.html", "wrong.html", "wait.html"])
def test_a_page_has_no_script_and_no_style_in_it(name: str) -> None:
    text = (STATIC / name).read_text("utf-8")
    assert not re.search(r"<script(?![^>]+src=)|<style|\sstyle=|\son\w+=", text)
