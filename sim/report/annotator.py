"""The process that writes an annotated video, see `sim.report.annotate`."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from fl.data.containers import check_header, opened, video_stream
from fl.data.processes import Send, serve
from fl.data.sound import Sound
from fl.errors import ClipError
from sim.judgement import Segment, Verdict
from sim.progress import Advance
from sim.report.face_track import FoundFaces, find_faces, steady_track, upright_pictures
from sim.report.labels import Labels

MAX_GAP_S = 0.6
"""A face that is lost for no longer than this keeps its box."""

_TICKS = 90_000  # of the video's clock a second
_SOUND_RATE = 48_000


def main() -> None:
    """The worker's process."""
    cv2.setNumThreads(1)
    serve(_annotate)


def _annotate(request: dict[str, Any], send: Send) -> None:
    """Send a message for each stage and each step; "unwritable" if the file cannot be written."""
    told, source = request["verdict"], Path(request["source"])
    verdict = Verdict(**{**told, "segments": tuple(Segment(**entry) for entry in told["segments"])})

    def advance(step: int = 1, note: str = "") -> None:
        send({"step": step})

    send({"stage": "Looking for faces", "total": None})
    found = find_faces(source, advance)
    track = steady_track(found.boxes, max_gap=round(MAX_GAP_S * found.fps))
    send({"stage": "Writing the video", "total": len(track)})
    try:
        with Path(request["out"]).open("w+b") as file:
            write_video(source, file, found, track, Labels(verdict, request["threshold"]), advance)
    except OSError as error:
        send({"unwritable": str(error.strerror or error)})


def write_video(
    source: Path,
    file: Any,
    found: FoundFaces,
    track: NDArray[np.float64],
    labels: Labels,
    advance: Advance,
) -> None:
    """Write the labelled pictures and the sound.

    Raises:
        ClipError: the source cannot be decoded.
        OSError: the file cannot be written.
    """
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
        for (time_s, picture), box in zip(
            upright_pictures(container, video, header, sound), track, strict=False
        ):
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
