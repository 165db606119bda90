"""The timeline: where audio is put, and the account that balances whatever comes in what order."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivoice_ref.protocol.timeline import HOLES, Account, Piece, Timeline

FRAME = 160


def fed(*pieces: tuple[int | None, int]) -> Timeline:
    timeline = Timeline(8000)
    for position, samples in pieces:
        timeline.place(position, samples)
    return timeline


def assert_balanced(account: Account) -> None:
    assert account.received + account.lost == account.expected == account.end - account.first
    assert account.lost >= 0 and account.late <= account.received
    assert account.reordered == account.late + account.discarded


def test_a_timeline_that_nothing_came_to_has_an_account_of_zeros() -> None:
    assert Timeline(8000).account == Account()


def test_audio_in_order_is_kept_whole_and_nothing_is_lost() -> None:
    timeline = Timeline(8000)
    for position in range(0, 1600, FRAME):
        assert timeline.place(position, FRAME) == ((Piece(0, position, FRAME),), 0, "next")
    assert timeline.account == Account(0, 1600, expected=1600, received=1600)


def test_the_account_begins_at_the_first_timestamp() -> None:
    assert fed((800, FRAME)).account == Account(800, 960, expected=160, received=160)


def test_audio_without_a_timestamp_follows_what_came_before() -> None:
    timeline = fed((None, 100), (None, 60), (400, 10))
    assert timeline.place(None, 20).pieces == (Piece(0, 410, 20),)
    assert timeline.account.first == 0


def test_a_gap_is_lost_and_heard_as_silence() -> None:
    timeline = fed((0, FRAME))
    assert timeline.place(480, FRAME) == ((Piece(0, 480, FRAME),), 320, "gap")
    assert timeline.account == Account(0, 640, expected=640, received=320, lost=320, silence=320)


def test_late_audio_fills_its_gap_and_is_lost_no_longer() -> None:
    timeline = fed((0, FRAME), (480, FRAME))
    assert timeline.place(160, FRAME) == ((Piece(0, 160, FRAME),), 0, "late")
    account = timeline.account
    assert (account.lost, account.late, account.reordered, account.silence) == (160, 160, 160, 320)
    assert_balanced(account)


def test_repeated_audio_is_left_out_and_counted() -> None:
    timeline = fed((0, FRAME))
    assert timeline.place(0, FRAME) == ((), 0, "repeated")
    assert timeline.account.repeated == FRAME
    assert timeline.account.received == FRAME


def test_of_overlapping_audio_only_the_new_part_is_kept() -> None:
    timeline = fed((0, FRAME))
    assert timeline.place(100, FRAME) == ((Piece(60, 160, 100),), 0, "next")
    assert timeline.account.repeated == 60
    assert_balanced(timeline.account)


def test_audio_before_the_first_lets_the_line_begin_earlier() -> None:
    timeline = fed((480, FRAME))
    assert timeline.place(0, FRAME) == ((Piece(0, 0, FRAME),), 0, "late")
    account = timeline.account
    assert (account.first, account.expected, account.lost, account.late) == (0, 640, 320, 160)
    assert account.silence == 0  # nobody heard a hole before the beginning
    assert timeline.place(160, 320).pieces == (Piece(0, 160, 320),)
    assert timeline.account.lost == 0


def test_one_piece_over_everything_is_cut_at_every_border() -> None:
    timeline = fed((100, 100), (300, 100), (500, 100))
    placement = timeline.place(0, 1000)
    assert placement.pieces == (
        Piece(0, 0, 100),
        Piece(200, 200, 100),
        Piece(400, 400, 100),
        Piece(600, 600, 400),
    )
    assert placement.kind == "late"
    account = timeline.account
    assert (account.repeated, account.late, account.lost, account.received) == (300, 300, 0, 1000)


def test_audio_in_the_middle_of_a_hole_leaves_a_hole_on_each_side() -> None:
    timeline = fed((0, 100), (1000, 100))
    assert timeline.place(400, 100).pieces == (Piece(0, 400, 100),)
    assert timeline.place(50, 1000).pieces == (Piece(50, 100, 300), Piece(450, 500, 500))
    assert timeline.account.lost == 0


def test_a_jump_of_the_platforms_clock_does_not_count_as_lost() -> None:
    timeline = Timeline(8000, jump_seconds=1)
    timeline.place(0, FRAME)
    assert timeline.place(100_000, FRAME) == ((Piece(0, 160, FRAME),), 0, "jump")
    assert timeline.place(100_160, FRAME) == ((Piece(0, 320, FRAME),), 0, "next")
    assert timeline.place(100_000 - 90_000, FRAME).kind == "jump"
    account = timeline.account
    assert (account.jumps, account.lost, account.received, account.end) == (2, 0, 640, 640)


def test_leaps_add_up_to_no_more_than_the_stream_has_lasted_and_one_jump() -> None:
    timeline = Timeline(8000, jump_seconds=1)
    ages = [0.0, 0.0, 0.0, 1.0, 1.0, 2.0]
    kinds = [timeline.place(6000 * number, FRAME, age).kind for number, age in enumerate(ages)]
    assert kinds == ["next", "gap", "jump", "gap", "jump", "gap"]
    assert timeline.account.lost == 3 * (6000 - FRAME)


def test_leaps_to_the_front_add_up_as_well() -> None:
    timeline = Timeline(8000, jump_seconds=1)
    kinds = [timeline.place(-8_000 * number, FRAME).kind for number in range(3)]
    assert kinds == ["next", "late", "jump"]


@pytest.mark.parametrize(("position", "kind"), [(8160, "gap"), (8161, "jump")])
def test_a_jump_begins_beyond_the_seconds_that_are_allowed(position: int, kind: str) -> None:
    timeline = Timeline(8000, jump_seconds=1)
    timeline.place(0, FRAME)
    assert timeline.place(position, FRAME).kind == kind


@pytest.mark.parametrize(("position", "kind"), [(-8160, "late"), (-8161, "jump")])
def test_a_jump_back_begins_beyond_the_seconds_that_are_allowed(position: int, kind: str) -> None:
    timeline = Timeline(8000, jump_seconds=1)
    timeline.place(0, FRAME)
    assert timeline.place(position, FRAME).kind == kind


def test_more_holes_than_are_remembered_stay_lost_and_what_comes_for_them_is_discarded() -> None:
    timeline = fed(*((20 * n, 10) for n in range(HOLES + 3)))
    before = timeline.account
    assert timeline.place(10, 10) == ((), 0, "discarded")
    assert timeline.place(-5, 10) == ((), 0, "discarded")  # nor does the line grow to the front
    # Two holes are forgotten; of a piece that reaches into the third, only that part is kept.
    assert timeline.place(30, 30).pieces == (Piece(20, 50, 10),)
    account = timeline.account
    assert (account.discarded, account.late) == (10 + 10 + 10, 10)
    assert account.repeated == 10
    assert account.lost == before.lost - 10
    assert_balanced(account)


def test_a_hole_split_in_two_is_one_more_to_remember() -> None:
    timeline = fed(*((20 * n, 10) for n in range(HOLES + 1)))
    timeline.place(20 * HOLES - 6, 2)
    assert timeline.place(10, 10).kind == "discarded"
    assert_balanced(timeline.account)


def test_a_hole_before_the_beginning_is_the_first_to_be_forgotten() -> None:
    timeline = fed(*((20 * n, 10) for n in range(HOLES + 1)))
    assert timeline.place(-100, 10).pieces == (Piece(0, -100, 10),)
    assert timeline.place(-50, 10).kind == "discarded"
    assert timeline.place(10, 10).kind == "late"
    assert_balanced(timeline.account)


@pytest.mark.parametrize("samples", [0, -1])
def test_nothing_comes_of_no_samples(samples: int) -> None:
    timeline = Timeline(8000)
    assert timeline.place(99, samples) == ((), 0, "empty")
    assert timeline.account == Account()


def test_the_account_is_json_of_the_same_names() -> None:
    assert fed((0, 10), (20, 10)).account.to_json() == {
        "first": 0,
        "end": 30,
        "expected": 30,
        "received": 20,
        "lost": 10,
        "repeated": 0,
        "late": 0,
        "reordered": 0,
        "silence": 10,
        "discarded": 0,
        "jumps": 0,
    }


class SampleModel:
    """The same, sample by sample and without a thought for cost: which positions are taken?"""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.repeated = self.late = self.silence = 0

    def place(self, position: int | None, samples: int) -> set[int]:
        """The positions that are new."""
        end = max(self.taken) + 1 if self.taken else None
        start = position if position is not None else end or 0
        wanted = set(range(start, start + samples))
        new = wanted - self.taken
        if end is not None:
            self.silence += max(0, start - end)
            self.late += sum(1 for at in new if at < end)
        self.repeated += samples - len(new)
        self.taken |= new
        return new


positions = st.none() | st.integers(-60, 120)
arrivals = st.lists(st.tuples(positions, st.integers(1, 30)), max_size=40)


@given(arrivals=arrivals)
def test_any_order_loss_repetition_and_overlap_is_placed_as_sample_by_sample(
    arrivals: list[tuple[int | None, int]],
) -> None:
    timeline, model = Timeline(8000), SampleModel()
    for position, samples in arrivals:
        end = timeline.account.end
        start = end if position is None else position
        placement = timeline.place(position, samples)
        got: set[int] = set()
        for piece in placement.pieces:
            # Every kept sample lands where its place in the source says, and nowhere else.
            assert piece.position == start + piece.offset
            assert 0 <= piece.offset <= piece.offset + piece.length <= samples
            got.update(range(piece.position, piece.position + piece.length))
        assert sum(piece.length for piece in placement.pieces) == len(got)
        assert got == model.place(start, samples)
        account = timeline.account
        assert_balanced(account)
        assert account.received == len(model.taken)
        assert (account.first, account.end) == (min(model.taken), max(model.taken) + 1)
        assert account.repeated == model.repeated
        assert account.late == model.late
        assert account.silence == model.silence
        assert account.discarded == account.jumps == 0


@given(
    arrivals=st.lists(
        st.tuples(
            st.none() | st.integers(-(10**18), 10**18) | st.integers(-99, 99999),
            st.integers(0, 400),
        ),
        max_size=60,
    ),
    jump=st.floats(0.001, 1e6),
)
def test_whatever_a_clock_says_no_position_is_given_twice_and_the_account_balances(
    arrivals: list[tuple[int | None, int]], jump: float
) -> None:
    timeline = Timeline(8000, jump)
    given_out: list[tuple[int, int]] = []
    came = 0
    for position, samples in arrivals:
        placement = timeline.place(position, samples)
        given_out += [(p.position, p.position + p.length) for p in placement.pieces]
        came += samples
    account = timeline.account
    assert_balanced(account)
    given_out.sort()
    assert all(a[1] <= b[0] for a, b in pairwise(given_out))
    assert account.received == sum(b - a for a, b in given_out)
    assert account.received + account.repeated + account.discarded == came


@settings(max_examples=15)
@given(order=st.permutations(range(2 * HOLES)))
def test_with_more_holes_than_are_remembered_every_sample_is_still_accounted_for(
    order: list[int],
) -> None:
    timeline = Timeline(8000)
    for place in order:
        timeline.place(3 * place, 3)
        assert_balanced(timeline.account)
    account = timeline.account
    assert account.received + account.discarded == 6 * HOLES


def test_no_audio_at_all_is_not_the_ordinary_case() -> None:
    timeline = Timeline(8000)
    timeline.place(0, 160)
    assert timeline.extend(160, 0) is None and timeline.extend(None, -1) is None
    assert timeline.extend(160, 1) == 160
