"""What may be told of a failure: one line, short, without the places or names of private files."""

import re

MAX_LENGTH = 300

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_MEDIA = r"\.(?:mp4|mov|avi|mkv|webm|m4v|wav|png|jpe?g|bmp)\b"
_PLACES = (
    (re.compile(r"(['\"])[^'\"]*/[^'\"]*\1"), "<path>"),
    (re.compile(rf"(?<![\w./<])~?/[^'\"]*?{_MEDIA}", re.IGNORECASE), "<path>"),
    (re.compile(rf"(['\"])[^'\"]+{_MEDIA}\1|[^\s'\",;:()<>]+{_MEDIA}", re.IGNORECASE), "<file>"),
    (re.compile(r"(?<![\w./<])~?/[^\s'\",;:()<>]+"), "<path>"),
)


def one_line(text: str) -> str:
    """A text from elsewhere as one line that can do nothing to a terminal or a page, cut to `MAX_LENGTH`."""
    line = " ".join(_CONTROL.sub(" ", text[: 4 * MAX_LENGTH]).split())
    return line if len(line) <= MAX_LENGTH else f"{line[: MAX_LENGTH - 3]}..."


def without_places(text: str) -> str:
    """A reason as it may leave a device: `one_line`, with paths and names of media files taken out.

    What a private file is called may say who is in it.
    """
    line = " ".join(text[: 4 * MAX_LENGTH].split())  # the patterns take quadratic time
    for place, told in _PLACES:
        line = place.sub(told, line)
    return one_line(line)
