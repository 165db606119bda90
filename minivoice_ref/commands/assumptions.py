"""The option `--assume`, the same for every command that places calls."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from minivoice_ref.simulator.assumptions import Assumptions, BadAssumption, assume, assumed

__all__ = ["add_assumptions"]


class _AssumeAction(argparse.Action):
    """Changes assumptions; `list` prints them all and ends the program, as `--help` does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """Take one `--assume`."""
        text, given = str(values), getattr(namespace, self.dest)
        if text == "list":
            print("\n".join(assumed(given)))
            parser.exit()
        try:
            changed = assume(given, text)
        except BadAssumption as exc:
            raise argparse.ArgumentError(self, f"{exc} (`--assume list` shows all)") from None
        setattr(namespace, self.dest, changed)


def add_assumptions(parser: argparse.ArgumentParser) -> None:
    """Add `--assume`; the parsed arguments have the changed `Assumptions` as `assume`."""
    parser.add_argument(
        "--assume",
        action=_AssumeAction,
        default=Assumptions(),
        metavar="NAME=VALUE",
        help="change what is not documented, may be repeated; `--assume list` shows what",
    )
