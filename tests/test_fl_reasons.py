"""What is told of a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.reasons import MAX_LENGTH, one_line, without_places


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("distil: FileNotFoundError: [Errno 2] No such file: '/home/mira/cache/x.npy'", "<path>"),
        ("open: cannot read /srv/videos/mira smith.mp4: no picture", "<path>"),
        ("open: 'mira at home.MP4' has no sound", "<file>"),
        ("open: clips/mira.mp4 has no sound", "<file>"),
        ("open: ~/videos is not a folder", "<path>"),
        ("open: 'C/mira b/c' is no table", "<path>"),
    ],
)
def test_places_and_names_of_files_are_taken_out(text: str, told: str) -> None:
    line = without_places(text)
    assert told in line
    assert "mira" not in line.lower()
    assert line.startswith(text.split(":")[0])


@pytest.mark.parametrize(
    "text",
    [
        "distil: FloatingPointError: the loss is nan at step 3",
        "gate: num-examples must be in [1, 40] as declared, got 9",
        "frames/s must be at most 1/2, got 3.5",
    ],
)
def test_a_reason_without_places_stays_as_it_is(text: str) -> None:
    assert without_places(text) == text


@given(st.text(max_size=2000))
def test_any_text_becomes_one_short_line_without_control_characters(text: str) -> None:
    for line in (one_line(text), without_places(text)):
        assert len(line) <= MAX_LENGTH
        assert len(line.splitlines()) <= 1
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in line)


def test_a_terminal_is_told_nothing() -> None:
    assert one_line("a\x1b[31mred\x1b]0;title\x07\r\nb\u202eevil") == "a [31mred ]0;title b evil"
