"""Decodes the wanted parts of an open video file, in order and once."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av

from fl.data.headers import Header
from fl.data.sound import Sound
from fl.errors import ClipError

SEEK_OVER_S = 10.0
"""A longer part of which nothing is wanted is passed by seeking, s."""

_SEEKABLE = ("mp4", "matroska")  # their index leads to a key frame before the wanted time
_PREROLL_S = 0.5  # sound decoded before the window, for codecs that lean on earlier packets


@dataclass(frozen=True)
class Stretch:
    """A part of a file that is decoded in one go.

    Attributes:
        start_s: where it starts; 0: at the file's start, without seeking.
        video_end_s: its last wanted frame, s; -inf: none.
        has_sound: the wanted sound is in it.
    """

    start_s: float
    video_end_s: float
    has_sound: bool


def is_seekable(container: Any) -> bool:
    """Whether the container has an index by which a time is found."""
    return any(name in container.format.name for name in _SEEKABLE)


def plan_stretches(targets_s: Sequence[float], sound: Sound, *, seekable: bool) -> list[Stretch]:
    """What has to be decoded, in order: parts that are further apart than 10 s are read on their own."""
    wanted = [(time_s, time_s, False) for time_s in targets_s] + [(sound.start_s, sound.end_s, True)]
    stretches: list[Stretch] = []
    reached_s = 0.0
    for start_s, end_s, is_sound in sorted(wanted):
        last_s = -math.inf if is_sound else end_s
        if seekable and start_s > reached_s + SEEK_OVER_S:
            stretches.append(Stretch(start_s, last_s, is_sound))
        elif stretches:
            grown = stretches.pop()
            last_s = max(last_s, grown.video_end_s)
            stretches.append(Stretch(grown.start_s, last_s, is_sound or grown.has_sound))
        else:
            stretches.append(Stretch(0.0, last_s, is_sound))
        reached_s = max(reached_s, end_s)
    return stretches


def decode(
    container: Any, video: Any, header: Header, sound: Sound, stretches: Sequence[Stretch]
) -> Iterator[tuple[float, Any]]:
    """Yield (time_s, frame) of each stretch, in order, until its end is passed; sound goes to ``sound``."""
    audio = container.streams.audio[0] if header.has_audio else None
    if audio is not None and audio.codec_context is None:
        raise ClipError("no decoder for its audio track")
    origin_s = float((video.start_time or 0) * video.time_base)
    tick_s = 0.0 if audio is None else float(audio.time_base)
    # AVI stores no presentation times (libav's are out of order with B-frames), but its rate is constant.
    counted = container.format.name == "avi"
    time_s = -1 / header.fps
    for stretch in stretches:
        if stretch.start_s > SEEK_OVER_S:
            container.seek(int((stretch.start_s + origin_s - 1) * av.time_base))
        more_video = math.isfinite(stretch.video_end_s)
        more_audio = stretch.has_sound and audio is not None
        for packet in container.demux(*([video] if audio is None else [video, audio])):
            if packet.stream is audio:
                packet_s = 0.0 if packet.pts is None else packet.pts * tick_s - origin_s
                more_audio = more_audio and packet_s < sound.end_s + _PREROLL_S
                if more_audio and (packet.pts is None or packet_s >= sound.start_s - _PREROLL_S):
                    for frame in packet.decode():
                        sound.add((frame.time or 0.0) - origin_s, frame)
            elif more_video:
                for frame in packet.decode():
                    untimed = counted or frame.pts is None
                    time_s = time_s + 1 / header.fps if untimed else frame.time - origin_s
                    yield time_s, frame
                    more_video = time_s < stretch.video_end_s
            if not (more_video or more_audio):
                break
