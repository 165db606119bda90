"""python tests/package_contents.py DIST: whether the wheel and the sdist in a folder are whole.

Whatever of the package git knows has to be in both: its code, voices, pages and `py.typed`; in the
sdist also what is needed to test it. Ends with 1 and the names of what is missing.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

__all__ = ["missing"]

_ROOT = Path(__file__).parent.parent
_NEEDED = ("py.typed", "voices/caller.wav", "console/static/index.html")


def _tracked(*folders: str) -> set[str]:
    done = subprocess.run(
        ["git", "ls-files", *folders], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("\n")) - {""}


def missing(dist: Path) -> list[str]:
    """What the wheel and the sdist in *dist* lack, or have without being asked."""
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    with tarfile.open(sdist) as file:
        in_sdist = {name.partition("/")[2] for name in file.getnames()}
    package = _tracked("minivoice_ref")
    assert all(any(name.endswith(needed) for name in package) for needed in _NEEDED)
    faults = [f"{wheel.name} lacks {name}" for name in sorted(package - in_wheel)]
    faults += [f"{wheel.name} has {name}" for name in sorted(in_wheel - package)]
    whole = package | _tracked("tests", "examples", "benchmarks", "docs", "*.rst", "LICENSE")
    return faults + [f"{sdist.name} lacks {name}" for name in sorted(whole - in_sdist)]


if __name__ == "__main__":
    faults = missing(Path(sys.argv[1]))
    print("\n".join(faults) or "the wheel and the sdist are whole")
    sys.exit(bool(faults))
