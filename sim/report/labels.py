"""What is written on the pictures of an annotated video."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.judgement import Segment, Verdict

_COLOURS = {"fake": (214, 40, 40), "real": (34, 139, 70), "undecided": (110, 110, 110)}
_WHITE = (255, 255, 255)


def draw_label(
    picture: NDArray[np.uint8], text: str, colour: tuple[int, int, int], *, left: int, bottom: int
) -> None:
    """Write one line on a filled bar whose lower left corner is given, moved into the picture."""
    height, width = picture.shape[:2]
    scale = max(0.35, height / 900)
    thickness = max(1, round(1.6 * scale))
    (text_width, text_height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    pad = max(2, round(5 * scale))
    bar_height = text_height + below + 2 * pad
    left = min(max(0, left), max(0, width - text_width - 2 * pad))
    bottom = min(max(bar_height, bottom), height)
    corner = (left + text_width + 2 * pad, bottom)
    cv2.rectangle(picture, (left, bottom - bar_height), corner, colour, -1)
    place = (left + pad, bottom - pad - below)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, _WHITE, thickness, cv2.LINE_AA)


class Labels:
    """What is written on the frame of a time."""

    def __init__(self, verdict: Verdict, threshold: float) -> None:
        self._verdict, self._threshold = verdict, threshold

    def draw(self, picture: NDArray[np.uint8], time_s: float, box: NDArray[np.float64]) -> None:
        """Box and label of the window at the face, the file's verdict below."""
        height = picture.shape[0]
        segment = self._at(time_s)
        name = "undecided"
        if segment.probability is not None:
            name = "fake" if segment.probability > self._threshold else "real"
        text = name if segment.probability is None else f"{name} {segment.probability:.2f}"
        if np.isfinite(box[0]):
            left, top, right, bottom = (round(float(v)) for v in (*box[:2], *(box[:2] + box[2:])))
            line = max(1, height // 240)
            cv2.rectangle(picture, (left, top), (right, bottom), _COLOURS[name], line)
            draw_label(picture, text, _COLOURS[name], left=left, bottom=top)
        else:
            draw_label(picture, "no face", _COLOURS["undecided"], left=0, bottom=0)
        whole = self._verdict
        score = "" if whole.probability is None else f" {whole.probability:.2f}"
        draw_label(
            picture, f"whole video: {whole.verdict}{score}", _COLOURS[whole.verdict], left=0, bottom=height
        )

    def _at(self, time_s: float) -> Segment:
        """The first window that has not ended."""
        segments = self._verdict.segments
        return next((segment for segment in segments if time_s < segment.end_s), segments[-1])
