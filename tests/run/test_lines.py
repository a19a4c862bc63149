"""From bytes to lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.run.lines import Lines, Piece


def cut(*chunks: bytes, limit: int = 65_536, blocks: bool = False) -> list[Piece]:
    lines = Lines(limit, blocks=blocks)
    pieces = [piece for chunk in chunks for piece in lines.feed(chunk)]
    return pieces + list(lines.end())


def texts(pieces: list[Piece]) -> list[bytes]:
    found: list[bytes] = []
    for piece in pieces:
        if piece.is_block:
            assert piece.raw.endswith(b"\n")
            lines = piece.raw.split(b"\n")[:-1]
            found += [line.removesuffix(b"\r") for line in lines]
        elif piece.line is not None:
            found.append(piece.line)
    return found


def raw(pieces: list[Piece]) -> bytes:
    return b"".join(piece.raw for piece in pieces)


def test_a_line_ends_with_a_newline() -> None:
    assert texts(cut(b"a\nb\r\n\nc")) == [b"a", b"b", b"", b"c"]


def test_a_line_may_come_in_bits() -> None:
    assert texts(cut(b"a", b"b", b"\nc\r", b"\nd")) == [b"ab", b"c", b"d"]


def test_an_unfinished_line_waits() -> None:
    lines = Lines()
    assert list(lines.feed(b"half")) == []
    assert texts(list(lines.feed(b" and whole\n"))) == [b"half and whole"]


def test_redraws_collapse_to_the_last_state() -> None:
    r"""As a progress bar draws itself: `\r` before, or after each state."""
    (before,) = [p for p in cut(b"\r10%\r20%\r30%\nend\n") if p.line == b"30%"]
    assert before.redraws == 2
    (after,) = [p for p in cut(b"10%\r", b"20%\r", b"30%\r\n") if p.line is not None]
    assert (after.line, after.redraws) == (b"30%", 2)


def test_a_bar_that_is_left_open_shows_its_last_state() -> None:
    assert texts(cut(b"10%\r20%\r")) == [b"20%"]


def test_a_line_after_a_bar_has_no_redraws() -> None:
    assert [p.redraws for p in cut(b"1\r2\nx\n") if p.line is not None] == [1, 0]


def test_a_long_line_comes_in_parts_that_say_so() -> None:
    pieces = cut(b"x" * 25 + b"\nnext\n", limit=10)
    assert texts(pieces) == [b"x" * 10, b"x" * 10, b"x" * 5, b"next"]
    assert [piece.continues for piece in pieces] == [True, True, False, False]


def test_a_long_line_is_cut_at_a_blank() -> None:
    """So that a secret near the cut stays whole, and is found."""
    assert texts(cut(b"aaaa bbbbbbbb\n", limit=10)) == [b"aaaa ", b"bbbbbbbb"]


def test_no_character_is_cut() -> None:
    line = "é" * 20
    parts = texts(cut(line.encode() + b"\n", limit=11))
    assert "".join(part.decode() for part in parts) == line


def test_without_a_newline_little_is_held() -> None:
    lines = Lines()
    for _ in range(64):
        for piece in lines.feed(b"x" * 65_536):
            assert len(piece.raw) <= 65_536
        assert len(lines._held) <= 65_536


@given(
    st.lists(st.binary(max_size=12) | st.sampled_from([b"\r", b"\n", b"\r\n", b"ab"])),
    st.integers(min_value=4, max_value=20),
)
def test_nothing_is_lost_or_added(chunks: list[bytes], limit: int) -> None:
    """The raw pieces are all that was printed, and no line exceeds the limit."""
    pieces = cut(*chunks, limit=limit)
    assert raw(pieces) == b"".join(chunks)
    assert all(len(line) <= limit for line in texts(pieces))
    in_blocks = cut(*chunks, limit=limit, blocks=True)
    assert raw(in_blocks) == b"".join(chunks)
    assert texts(in_blocks) == texts(pieces)


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_how_the_bytes_arrive_makes_no_difference(chunks: list[bytes]) -> None:
    """Where no line is too long."""
    assert texts(cut(*chunks)) == texts(cut(b"".join(chunks)))


def test_a_flood_of_usual_lines_goes_through_as_a_block() -> None:
    data = b"first\r\nsecond\n" * 10_000
    (piece,) = cut(data, blocks=True)
    assert piece.is_block
    assert len(cut(data)) == 20_000


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\n", b"\r"]), max_size=9))
def test_what_a_terminal_adds_is_taken_away(chunks: list[bytes]) -> None:
    r"""It puts a `\r` before each `\n`, wherever its output is cut."""
    lines = Lines(of_terminal=True)
    data = b"".join(chunks).replace(b"\n", b"\r\n")
    cuts = [data[at : at + 3] for at in range(0, len(data), 3)]
    pieces = [piece for each in cuts for piece in lines.feed(each)]
    assert raw(pieces + list(lines.end())) == b"".join(chunks)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r", b"\r\n"])
def test_the_end_of_the_stream_ends_a_line(ending: bytes) -> None:
    assert texts(cut(b"last" + ending)) == [b"last"]
