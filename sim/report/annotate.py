"""The annotated video: a box and a label that follow the face, and the original sound."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from fl.data.containers import check_header, opened, video_stream
from fl.data.decoding import Stretch, decode
from fl.data.faces import detect_faces
from fl.data.headers import Header, open_file
from fl.data.images import is_image
from fl.data.media import upright_rgb
from fl.data.sound import Sound
from fl.errors import ClipError, RequestError, RunError
from sim.progress import Advance, Progress
from sim.verdicts import Segment, Verdict

LOOK_SIDE = 480
"""Faces are looked for in pictures shrunk to this longer side, pixels."""
MAX_GAP_S = 0.6
"""A face that is lost for no longer than this keeps its box."""

_SMOOTHING = 9  # frames of the running median, then of the running mean
_LOOK_FRAMES = 32  # pictures looked at together
_TICKS = 90_000  # of the video's clock a second
_SOUND_RATE = 48_000
_COLOURS = {"fake": (214, 40, 40), "real": (34, 139, 70), "undecided": (110, 110, 110)}
_WHITE = (255, 255, 255)


@dataclass(frozen=True, eq=False)
class FoundFaces:
    """The largest face of every frame of a video.

    Attributes:
        boxes: (frames, 4) as from `detect_faces`, pixels of the upright picture.
        height: of the upright picture, pixels.
        width: of the upright picture, pixels.
        fps: frame rate, 1/s.
    """

    boxes: NDArray[np.float32]
    height: int
    width: int
    fps: float


def annotate_video(source: Path, out: Path, verdict: Verdict, threshold: float, progress: Progress) -> None:
    """Write the video as H.264 and AAC in MP4; it appears whole or not at all.

    Args:
        source: the video that was judged.
        out: the file to write.
        verdict: of the whole video, with its windows.
        threshold: a window with a higher probability is labelled fake.
        progress: shows both passes: looking for faces, and writing.

    Raises:
        RequestError: the source is a picture.
        RunError: the source cannot be decoded to its end, or ``out`` cannot be written.
    """
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with open_file(source) as file:
            if is_image(file.read(64)):
                raise RequestError(
                    f"--annotate needs a video, but {str(source)!r} is a picture; leave it out"
                )
        with progress.stage("Looking for faces") as advance:
            found = find_faces(source, advance)
        track = steady_track(found.boxes, max_gap=round(MAX_GAP_S * found.fps))
        with progress.stage("Writing the video", total=len(track)) as advance, partial.open("w+b") as file:
            _write(source, file, found, track, _Labels(verdict, threshold), advance)
        os.replace(partial, out)
    except ClipError as error:
        raise RunError(f"{str(source)!r} cannot be annotated: {error}") from error
    except OSError as error:
        raise RunError(
            f"{str(out)!r} cannot be written: {error.strerror or error}; choose another"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def find_faces(source: Path, advance: Advance) -> FoundFaces:
    """Look for faces in every frame of a video.

    Raises:
        ClipError: it cannot be decoded to its end, or the size of its pictures changes.
    """
    boxes: list[NDArray[np.float32]] = []
    waiting: list[NDArray[np.uint8]] = []
    shape, scale = (0, 0), 1.0

    def look() -> None:
        if waiting:
            boxes.append(detect_faces(np.stack(waiting)) / np.float32(scale))
            advance(len(waiting))
            waiting.clear()

    with opened(source) as container:
        video = video_stream(container)
        header = check_header(container, video)
        for _, picture in _pictures(container, video, header, None):
            if picture.shape[:2] != shape and shape != (0, 0):
                raise ClipError("the size of its pictures changes")
            shape = picture.shape[0], picture.shape[1]
            scale = min(1.0, LOOK_SIDE / max(shape))
            size = round(shape[1] * scale), round(shape[0] * scale)
            waiting.append(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8))
            if len(waiting) == _LOOK_FRAMES:
                look()
        look()
    if not boxes:
        raise ClipError("no picture can be decoded")
    return FoundFaces(np.concatenate(boxes), *shape, header.fps)


def steady_track(boxes: NDArray[np.float32], *, max_gap: int) -> NDArray[np.float64]:
    """Boxes that move without jumping.

    Args:
        boxes: (frames, 4) left, top, width, height; NaN where no face was found.
        max_gap: frames without a face over which the box goes on, linearly.

    Returns:
        (frames, 4); NaN where the face is lost for longer, and before the first and after the last.
    """
    track = np.full(boxes.shape, np.nan)
    known = np.flatnonzero(np.isfinite(boxes[:, 0]))
    # Parts of the video between losses are smoothed apart: a box does not glide from one to the next.
    for part in np.split(known, np.flatnonzero(np.diff(known) > max_gap + 1) + 1):
        if not len(part):
            continue
        steps = np.arange(part[0], part[-1] + 1)
        for axis in range(4):
            values = np.interp(steps, part, boxes[part, axis])
            for smooth in (np.median, np.mean):
                padded = np.pad(values, _SMOOTHING // 2, mode="edge")
                values = smooth(np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHING), axis=1)
            track[steps, axis] = values
    return track


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


class _Labels:
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


class _SoundTrack(Sound):
    """Writes the sound that `decode` hands over into the new file."""

    def __init__(self, output: Any, end_s: float, num_channels: int) -> None:
        super().__init__(0.0, end_s)
        layout = "mono" if num_channels == 1 else "stereo"
        self._output = output
        self._stream = output.add_stream("aac", rate=_SOUND_RATE, layout=layout)
        self._stream.bit_rate = 96_000 * (1 if layout == "mono" else 2)
        self._to_track = av.AudioResampler(format="fltp", layout=layout, rate=_SOUND_RATE)

    def add(self, time_s: float, frame: Any) -> None:
        """Encode a decoded frame that starts at ``time_s``; what lies before the first picture is dropped."""
        if frame is not None:
            if not 0 <= time_s < self.end_s:
                return
            frame.time_base = Fraction(1, frame.sample_rate)
            frame.pts = round(time_s * frame.sample_rate)
        try:
            for part in self._to_track.resample(frame):
                if part is not None:
                    self._output.mux(self._stream.encode(part))
        except ValueError as error:
            raise ClipError(f"its sound cannot be resampled: {error}") from error

    def finish(self) -> None:
        """Write what is left."""
        self.add(0.0, None)
        self._output.mux(self._stream.encode(None))


def _pictures(
    container: Any, video: Any, header: Header, sound: Sound | None
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Every picture and its time in s; sound goes to ``sound``."""
    reformatter = VideoReformatter()
    whole = Stretch(0.0, header.duration_s, has_sound=sound is not None)
    for time_s, frame in decode(container, video, header, sound or Sound(0.0, 0.0), [whole]):
        yield time_s, np.ascontiguousarray(upright_rgb(frame, reformatter))


def _write(
    source: Path,
    file: Any,
    found: FoundFaces,
    track: NDArray[np.float64],
    labels: _Labels,
    advance: Advance,
) -> None:
    # H.264 with 4:2:0 colour takes even sides only: the border is repeated.
    even = [(0, found.height % 2), (0, found.width % 2), (0, 0)]
    with opened(source) as container, av.open(file, "w", format="mp4") as output:
        video = video_stream(container)
        header = check_header(container, video)
        rate = Fraction(header.fps).limit_denominator(1001)
        stream = output.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        stream.width, stream.height = found.width + found.width % 2, found.height + found.height % 2
        stream.codec_context.time_base = Fraction(1, _TICKS)
        sound = None
        if header.has_audio:
            sound = _SoundTrack(output, header.duration_s, container.streams.audio[0].channels)
        last = -1
        for (time_s, picture), box in zip(_pictures(container, video, header, sound), track, strict=False):
            advance(1)
            pts = round(time_s * _TICKS)
            if pts <= last:
                continue  # a container can hold one time twice, an MP4 of ours cannot
            last = pts
            labels.draw(picture, time_s, box)
            frame = av.VideoFrame.from_ndarray(np.pad(picture, even, mode="edge"), format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, _TICKS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            sound.finish()
