"""The options `--fault` and `--seed`, the same for every command that places calls."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from minivoice_ref.simulator.faults import Fault, FaultError, catalogue, parse_fault

__all__ = ["add_faults", "read_faults"]


class _FaultAction(argparse.Action):
    """Collects faults; `list` prints them all and ends the program, as `--help` does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """Take one `--fault`."""
        text = str(values)
        if text == "list":
            print("\n".join(catalogue()))
            parser.exit()
        try:
            fault = parse_fault(text)
        except FaultError as exc:
            raise argparse.ArgumentError(self, f"{exc} (`--fault list` shows all)") from None
        setattr(namespace, self.dest, (*read_faults(namespace), fault))


def add_faults(parser: argparse.ArgumentParser) -> None:
    """Add `--fault` and `--seed`."""
    parser.add_argument(
        "--fault",
        action=_FaultAction,
        default=(),
        metavar="NAME[=VALUE]",
        help="go wrong on purpose, may be repeated; `--fault list` shows in which ways",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="chance, the same each time for the same number"
    )


def read_faults(arguments: argparse.Namespace) -> tuple[Fault, ...]:
    """The faults asked for, in the order of the command line."""
    faults: tuple[Fault, ...] = arguments.fault
    return faults
