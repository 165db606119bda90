"""The promises of the README's table of reliability: runs the tests that hold them, prints it.

    python -m benchmarks.reliability            runs each at its full length, and prints the table
    python -m benchmarks.reliability --print    prints it from the results of the last run
    python -m benchmarks.reliability --only kill,disk    runs some anew, keeps the other results

Each test says by the fixture `tell_figure` what it has measured. A promise that did not hold says
so in the table, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from benchmarks.table import RESULTS, listed, write_results

__all__ = ["PROMISES", "as_rst", "main"]

ROOT = Path(__file__).parent.parent
_TESTS = ROOT / "tests"

PROMISES: Sequence[tuple[str, str]] = (
    (
        "SIGKILL at any moment loses no event that was answered 2xx",
        "reliability/test_reliability_kill.py"
        "::test_what_was_accepted_is_handled_though_the_process_is_killed_at_any_moment",
    ),
    (
        "A full disk (2 MB of tmpfs): 503, streams go on, recovery without a restart",
        "reliability/test_reliability_disk.py::test_a_full_disk_costs_no_event_and_no_stream",
    ),
    (
        "A disk that takes no writes: the same",
        "reliability/test_reliability_disk.py"
        "::test_a_disk_that_takes_no_writes_costs_no_event_and_no_stream",
    ),
    (
        "A data folder that became read-only: /health says so, nothing is lost",
        "reliability/test_reliability_disk.py"
        "::test_a_folder_that_became_read_only_costs_no_event_and_no_stream",
    ),
    (
        "A database that another program has locked: 503 in time, recovery",
        "reliability/test_reliability_disk.py"
        "::test_a_database_that_another_program_holds_costs_no_event",
    ),
    (
        "An inbox that somebody moves away takes no event until it is back",
        "reliability/test_reliability_disk.py"
        "::test_an_inbox_that_was_moved_away_takes_no_event_until_it_is_back",
    ),
    (
        "A torn last line is borne with by every reader of the logs",
        "reliability/test_reliability_torn_lines.py"
        "::test_a_torn_last_line_is_borne_with_by_every_reader_of_the_logs",
    ),
    (
        "A receiver goes on behind a torn line",
        "reliability/test_reliability_torn_lines.py"
        "::test_a_receiver_goes_on_behind_a_torn_line_and_loses_that_line_alone",
    ),
    (
        "A capture that was cut short is read as far as it goes",
        "reliability/test_reliability_torn_lines.py"
        "::test_a_torn_capture_is_read_as_far_as_it_goes",
    ),
    (
        "``ulimit -n 64``: refuses, says so, recovers",
        "reliability/test_reliability_resources.py"
        "::test_with_few_files_it_refuses_says_so_and_recovers",
    ),
    (
        "No memory for a recording ends the recording alone",
        "receiver/test_receiver_recording.py"
        "::test_a_failing_disk_ends_the_recording_and_never_the_stream",
    ),
    (
        "No memory for threads: refuses, says so, recovers",
        "reliability/test_reliability_resources.py"
        "::test_without_memory_for_threads_it_refuses_says_so_and_recovers",
    ),
    (
        "A blocked DNS holds up nothing but who asks it",
        "reliability/test_reliability_resources.py"
        "::test_a_blocked_dns_holds_up_nothing_but_who_asks_it",
    ),
    (
        "An ``on_stream`` that blocks the event loop is named (``watchdog``)",
        "reliability/test_reliability_resources.py::test_who_blocks_the_event_loop_is_named",
    ),
    (
        "Logs rotate by size",
        "reliability/test_reliability_resources.py"
        "::test_logs_begin_anew_when_they_are_full_and_the_oldest_go",
    ),
    (
        "Logs survive an outside logrotate",
        "reliability/test_reliability_disk.py"
        "::test_logs_that_are_rotated_from_outside_go_on_in_a_new_file",
    ),
    (
        "SIGHUP reads a new certificate without dropping a call",
        "reliability/test_reliability_resources.py"
        "::test_a_new_certificate_is_used_without_dropping_a_call",
    ),
    (
        "No descriptor, task or thread is left after 1,000 streams of every ending",
        "reliability/test_reliability_endings.py"
        "::test_a_thousand_streams_of_every_ending_leave_nothing_behind",
    ),
    (
        "500 slow-loris connections: p99 below 100 ms, new streams start",
        "reliability/test_reliability_slow_loris.py"
        "::test_five_hundred_slow_lorises_are_not_felt_by_calls",
    ),
    (
        "SIGTERM with 50 live streams: 503 for new ones, calls end by themselves, 1001 at the end",
        "reliability/test_reliability_draining.py"
        "::test_draining_refuses_new_streams_lets_calls_end_and_cuts_at_the_deadline",
    ),
    (
        "A second signal: at once, files whole",
        "reliability/test_reliability_draining.py"
        "::test_the_second_signal_ends_it_at_once_and_files_are_whole",
    ),
)
"""What is promised, and the test that holds it."""

Found = Mapping[str, Mapping[str, list[str]]]
"""Of each test the `outcomes` of its runs, and the `figures` that they told."""


class _Watcher:
    """What pytest tells of each test, its parameters left out."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, list[str]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the outcome of a test's call, or of what went before it where it failed there."""
        name = report.nodeid.partition("[")[0].removeprefix("tests/")
        told = self.found.setdefault(name, {"outcomes": [], "figures": []})
        if report.when == "call" or report.outcome != "passed":
            told["outcomes"].append(report.outcome)
            told["figures"] += [str(text) for kind, text in report.user_properties if kind]


def _holds(found: Found, test: str) -> bool:
    return test in found and set(found[test]["outcomes"]) == {"passed"}


def as_rst(found: Found) -> str:
    """The table of the README."""
    rows = [("promise", "figure", "test")]
    for promise, test in PROMISES:
        figure = "DOES NOT HOLD"
        if _holds(found, test):
            cases = len(found[test]["outcomes"])
            counted = "holds" if cases == 1 else f"{cases} cases hold"
            figure = "; ".join(found[test]["figures"]) or counted
        rows.append((promise, figure, f"``{test.rpartition('::')[2]}``"))
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 35 30 35", ""]
    for row in rows:
        lines += [f"   {'  -' if place else '* -'} {cell}" for place, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _is_wanted(test: str, words: Sequence[str] | None) -> bool:
    return words is None or any(word in test for word in words)


def _stored(path: Path) -> Found:
    found: Found = json.loads(path.read_text("utf-8"))["found"]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tests, unless told not to, and print the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.reliability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--print", action="store_true", help="run nothing")
    parser.add_argument("--short", action="store_true", help="as in every run of the tests")
    output = RESULTS / "reliability.json"
    parser.add_argument("--output", type=Path, default=output, metavar="FILE")
    parser.add_argument(
        "--only", type=listed(str), metavar="WORDS", help="those with one of these in their names"
    )
    how = parser.parse_args(argv)
    if not how.print:
        if not how.short:
            os.environ["LONG_TESTS"] = "1"
        watcher = _Watcher()
        names = [str(_TESTS / test) for _, test in PROMISES if _is_wanted(test, how.only)]
        pytest.main(["-q", "-p", "no:cacheprovider", *names], plugins=[watcher])
        kept = _stored(how.output) if how.only and how.output.exists() else {}
        write_results(how.output, how, found={**kept, **watcher.found})
    found = _stored(how.output)
    print(as_rst(found))
    return 0 if all(_holds(found, test) for _, test in PROMISES) else 1


if __name__ == "__main__":
    sys.exit(main())
