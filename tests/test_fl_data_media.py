import os
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clip_files import FPS, flat_frames, tone, write_clip

from fl.data import media
from fl.data.containers import read_header
from fl.data.headers import Header
from fl.data.media import read_all, read_window
from fl.data.sampling import Sampling
from fl.errors import ClipError
from fl.settings import MediaSettings

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"
needs_realdata = pytest.mark.skipif(not REALDATA.is_dir(), reason="real clips are not here")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """2 s; frame i is grey of level 4 i; a 440 Hz tone of amplitude 0.5."""
    path = tmp_path / "clip.mp4"
    write_clip(path, flat_frames(range(0, 200, 4)), tone(2.0))
    return path


def levels(window: media.Window) -> list[int]:
    return [round(float(frame.mean()) / 4) for frame in window.frames]


def test_window_is_the_middle_and_frames_are_evenly_spread(clip: Path) -> None:
    window = read_window(clip, num_frames=4, window_s=1.0)
    # parts of [0.5, 1.5] have centres 0.625, 0.875, 1.125, 1.375 s; frame i is centred on (i + 0.5) / 25 s
    assert levels(window) == [15, 21, 28, 34]
    np.testing.assert_allclose(window.times_s, np.array([15, 21, 28, 34]) / FPS, atol=1e-6)
    assert (window.start_s, window.valid_s, window.duration_s, window.fps) == (0.5, 1.0, 2.0, 25.0)
    assert window.audio.shape == (16_000,)
    assert window.audio.dtype == np.float32


def test_whole_clip_where_it_is_shorter_than_the_window(clip: Path) -> None:
    window = read_window(clip, num_frames=5, window_s=10.0)
    assert levels(window) == [4, 14, 24, 34, 44]  # of the two frames as near to each centre, the earlier
    assert window.valid_s == 2.0
    assert window.audio.shape == (32_000,)


def test_clip_with_fewer_frames_than_wanted_repeats_some(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", flat_frames([40, 80, 120]), tone(0.12))
    window = read_window(tmp_path / "a.mp4", num_frames=6, window_s=1.0)
    assert levels(window) == [10, 10, 20, 20, 30, 30]


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8_000, 1)])
@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("mov", "pcm_s16le")])
def test_sound_keeps_scale_and_place(
    tmp_path: Path, rate: int, channels: int, container: str, codec: str
) -> None:
    audio = tone(2.0, rate=rate, hz=500)
    audio[:rate] = 0  # the tone starts at 1.0 s
    path = tmp_path / f"a.{container}"
    stereo = np.stack([audio, audio], axis=1) if channels == 2 else audio
    write_clip(path, flat_frames([90] * 50), stereo, rate=rate, container=container, audio_codec=codec)
    window = read_window(path, num_frames=2, window_s=1.0)  # 0.5 to 1.5 s
    heard = window.audio[8_000 + 400 : -400]
    # integers would give 1e4, libswresample's mix of two equal channels 0.5
    assert np.sqrt(np.mean(heard**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)
    onset = int(np.argmax(np.abs(window.audio) > 0.1))
    assert abs(onset - 8_000) <= 32  # 2 ms
    assert np.abs(window.audio[:7_000]).max() < 0.02


def test_sound_shorter_than_the_pictures_ends_in_silence(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", flat_frames([90] * 50), tone(0.8))
    window = read_all(tmp_path / "a.mp4")
    assert window.audio.shape == (32_000,)
    assert np.abs(window.audio[:12_000]).max() > 0.4
    assert np.all(window.audio[16_000:] == 0)


def test_window_late_in_a_long_clip_is_found_by_seeking(tmp_path: Path) -> None:
    frames = flat_frames([4 * (i % 60) for i in range(30 * FPS)], (32, 32))
    audio = tone(30.0)
    audio[: 15 * 16_000] = 0
    write_clip(tmp_path / "a.mp4", frames, audio, gop=100)
    window = read_window(tmp_path / "a.mp4", num_frames=4, window_s=1.0)  # 14.5 to 15.5 s
    assert levels(window) == [i % 60 for i in (365, 371, 378, 384)]
    assert abs(int(np.argmax(np.abs(window.audio) > 0.1)) - 8_000) <= 32


def test_read_all_and_a_stretch_of_it(clip: Path) -> None:
    whole = read_all(clip)
    assert levels(whole) == list(range(50))
    assert whole.audio.shape == (32_000,)
    part = read_all(clip, start_s=0.4, duration_s=0.8)
    assert levels(part) == list(range(10, 30))
    np.testing.assert_array_equal(part.audio[2000:-2000], whole.audio[6_400 + 2000 : 19_200 - 2000])
    with pytest.raises(ClipError, match="not inside"):
        read_all(clip, start_s=1.5, duration_s=1.0)
    with pytest.raises(ClipError, match="limit, 100000 bytes"):
        read_all(clip, max_bytes=100_000)


def test_header_tells_length_size_and_sound(clip: Path) -> None:
    assert read_header(clip) == Header(2.0, 25.0, 64, 64, True, "h264", 50)


def test_live_recording_without_a_length_in_its_header(tmp_path: Path) -> None:
    class Pipe:
        def __init__(self) -> None:
            self.data = bytearray()

        def write(self, data: bytes) -> int:
            self.data += data
            return len(data)

    pipe = Pipe()
    write_clip(pipe, flat_frames(range(0, 200, 4)), tone(2.0), container="matroska")
    (tmp_path / "live.webm").write_bytes(bytes(pipe.data))
    window = read_window(tmp_path / "live.webm", num_frames=4, window_s=1.0)
    assert window.duration_s == pytest.approx(2.0, abs=0.05)
    assert levels(window) == [15, 21, 28, 34]


@pytest.mark.parametrize("container", ["avi", "mpegts", "flv", "matroska", "mov"])
def test_other_containers(tmp_path: Path, container: str) -> None:
    audio_codec = "mp3" if container in ("avi", "flv") else "aac"
    path = tmp_path / "clip.bin"
    write_clip(path, flat_frames(range(0, 200, 4)), tone(2.0, rate=44_100), container=container, rate=44_100,
               audio_codec=audio_codec)  # fmt: skip
    window = read_window(path, num_frames=4, window_s=1.0)
    # FLV and Matroska know only the length of the whole, sound included: the middle moves by a frame
    assert np.abs(np.array(levels(window)) - [15, 21, 28, 34]).max() <= 1
    assert np.sqrt(np.mean(window.audio**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_display_matrix_turns_pictures_as_opencv_does(tmp_path: Path, turn: int) -> None:
    frames = np.tile(np.linspace(20, 220, 96, dtype=np.uint8)[None, None, :, None], (10, 64, 1, 3)).copy()
    frames[:, :16, :48] = 250
    path = tmp_path / "a.mp4"
    write_clip(path, frames, tone(0.4))
    data = bytearray(path.read_bytes())
    a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][turn]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = matrix
    path.write_bytes(data)
    seen = read_window(path, num_frames=1, window_s=1.0).frames[0]
    capture = cv2.VideoCapture(str(path))
    expected = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
    assert seen.shape == expected.shape == ((64, 96, 3) if turn % 2 == 0 else (96, 64, 3))
    assert np.abs(seen.astype(int) - expected).mean() < 3


def damaged(clip: Path, tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.mp4"
    whole = clip.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a video " * 100)
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(20_000))
    elif kind == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "cut_faststart":
        write_clip(path, flat_frames(range(0, 200, 4)), tone(2.0), faststart=True)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "magic_only":
        path.write_bytes(whole[:16] + bytes(5_000))
    elif kind == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(clip, "clip.mp4")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "playlist":
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n")
    elif kind == "concat":
        path.write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "the file is empty"),
        ("text", "not a video file"),
        ("noise", "not a video file"),
        ("cut", "cannot be decoded"),
        ("cut_faststart", "truncated"),
        ("magic_only", "cannot be decoded|no video stream"),
        ("archive", "not a video file"),
        ("folder", "not a regular file"),
        ("pipe", "not a regular file"),
        ("playlist", "not a video file"),
        ("concat", "not a video file"),
        ("missing", "no such file"),
    ],
)
def test_unusable_file_is_a_clip_error_with_its_reason_and_no_noise(
    clip: Path, tmp_path: Path, kind: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = damaged(clip, tmp_path, kind)
    for read in (lambda: read_window(path, num_frames=4, window_s=1.0), lambda: read_all(path)):
        with pytest.raises(ClipError, match=reason):
            read()
    assert capfd.readouterr() == ("", "")


def test_overwritten_pictures_are_not_taken_for_good_ones(clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + (len(data) - start) // 2] = np.random.default_rng(0).bytes((len(data) - start) // 2)
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(ClipError):
        read_window(tmp_path / "a.mp4", num_frames=4, window_s=2.0)


def test_sound_only_file_has_no_video_stream(tmp_path: Path) -> None:
    with av.open(tmp_path / "a.mp4", "w") as output:
        sound = output.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(1.0)[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    with pytest.raises(ClipError, match="no video stream"):
        read_window(tmp_path / "a.mp4", num_frames=4, window_s=1.0)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (MediaSettings(max_side=63), r"limit.* 63.*data\.media\.max_side"),
        (
            MediaSettings(max_duration_s=1.9),
            r"2\.0 s long, the limit is 1\.9 s \(data\.media\.max_duration_s",
        ),
    ],
)
def test_limits_are_checked_before_decoding(
    clip: Path, monkeypatch: pytest.MonkeyPatch, limits: MediaSettings, reason: str
) -> None:
    def decoded(*args: object) -> None:
        raise AssertionError("decoding began")

    monkeypatch.setattr(media, "decode", decoded)
    for read in (
        lambda: read_window(clip, num_frames=4, window_s=1.0, limits=limits),
        lambda: read_all(clip, limits=limits),
        lambda: read_header(clip, limits),
    ):
        with pytest.raises(ClipError, match=reason):
            read()
    assert read_window.__kwdefaults__["limits"] == MediaSettings()


MEASURE = """
import re, sys, time
from pathlib import Path
from fl.data.reading import read_clip
from fl.errors import ClipError
from fl.settings import ClipSettings
started = time.process_time()
try:
    read_clip(Path(sys.argv[1]), ClipSettings())
except ClipError as error:
    seconds = time.process_time() - started
    peak = re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())
    print(seconds, int(peak[1]) * 1024, error, sep="|")
"""


def write_bomb(path: Path, container: str) -> None:
    """8192x8192 pixels: one honest H.264 picture in MP4, or a small MJPEG picture that claims to be large."""
    side = 8192 if container == "mp4" else 64
    with av.open(path, "w", format=container) as output:
        options = {"preset": "ultrafast", "tune": "zerolatency", "threads": "1"} if container == "mp4" else {}
        video = output.add_stream("libx264" if container == "mp4" else "mjpeg", rate=FPS, options=options)
        video.width = video.height = side
        video.pix_fmt = "yuv420p" if container == "mp4" else "yuvj420p"
        frame = av.VideoFrame(side, side, video.pix_fmt)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        output.mux(video.encode(frame))
        output.mux(video.encode(None))
    if container == "avi":
        data = path.read_bytes()
        claimed = data.replace(struct.pack(">HH", side, side), struct.pack(">HH", 8192, 8192))  # JPEG's SOF0
        assert claimed != data
        path.write_bytes(claimed)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no peak of memory is told here")
@pytest.mark.parametrize("container", ["mp4", "avi"])
def test_huge_pictures_are_refused_fast_and_in_little_memory(tmp_path: Path, container: str) -> None:
    write_bomb(tmp_path / "bomb.mp4", container)
    # In a process of its own, whose peak is that of reading alone.
    arguments = [sys.executable, "-c", MEASURE, str(tmp_path / "bomb.mp4")]
    told = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    seconds, peak_bytes, reason = told.split("|")
    assert re.search(r"limit.*4096.*data\.media\.max_side|cannot be decoded|damaged", reason)
    assert container == "avi" or "data.media.max_side" in reason
    assert float(seconds) < 1
    assert int(peak_bytes) < 200e6


def test_silent_video_is_a_window_without_sound_but_cannot_be_read_for_its_sound(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", flat_frames(range(0, 200, 4)), None)
    window = read_window(tmp_path / "a.mp4", num_frames=4, window_s=1.0)
    assert levels(window) == [15, 21, 28, 34]
    assert len(window.audio) == 0
    assert window.valid_s == 1.0
    assert not window.header.has_audio
    with pytest.raises(ClipError, match="no audio track"):
        read_all(tmp_path / "a.mp4")


def test_track_that_ends_before_the_window_counts_as_no_sound(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", flat_frames([90] * 75), tone(0.3))
    window = read_window(tmp_path / "a.mp4", num_frames=2, window_s=0.6)
    assert window.header.has_audio
    assert len(window.audio) == 0


@pytest.mark.parametrize(("kind", "container"), [("every_k", "mp4"), ("random", "mp4"), ("every_k", "avi")])
def test_frames_of_the_whole_file_with_the_sound_of_its_middle(
    tmp_path: Path, kind: str, container: str
) -> None:
    # 40 s: some frames are reached by seeking in MP4; AVI is read through
    frames = flat_frames([4 * (i % 60) for i in range(40 * FPS)], (32, 32))
    audio = tone(40.0)
    audio[: 20 * 16_000] = 0  # the tone starts in the middle of the file
    path = tmp_path / "a.mp4"
    codec = "mp3" if container == "avi" else "aac"
    write_clip(path, frames, audio, container=container, audio_codec=codec, gop=50)
    sampling = Sampling(kind, every_k=7, seed=5)
    window = read_window(path, num_frames=6, window_s=1.0, sampling=sampling)
    indices = np.round(window.times_s * FPS).astype(int)
    assert levels(window) == [index % 60 for index in indices]  # the pictures are those of these times
    assert (np.diff(indices) > 0).all()
    assert indices[-1] - indices[0] > 10 * FPS  # not the middle, but the whole
    if kind == "every_k":
        assert (indices % 7 == 0).all()
    assert window.audio.shape == (16_000,)
    assert abs(int(np.argmax(np.abs(window.audio) > 0.1)) - 8_000) <= 1_200  # MP3 starts 1105 samples late


def test_size_that_changes_in_mid_stream(tmp_path: Path) -> None:
    for i, side in enumerate((64, 96)):
        write_clip(tmp_path / f"{i}.ts", flat_frames([90] * 25, (side, side)), tone(1.0), container="mpegts")
    joined = tmp_path / "a.ts"
    joined.write_bytes((tmp_path / "0.ts").read_bytes() + (tmp_path / "1.ts").read_bytes())
    with pytest.raises(ClipError, match="size of its pictures changes"):
        read_all(joined)


def test_name_that_is_not_utf8(clip: Path, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \xff.mp4"))
    path.write_bytes(clip.read_bytes())
    assert levels(read_window(path, num_frames=4, window_s=1.0)) == [15, 21, 28, 34]


def test_name_that_looks_like_a_protocol(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "concat:a|b.mp4").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert len(read_window(Path("concat:a|b.mp4"), num_frames=4, window_s=1.0).frames) == 4


@needs_realdata
def test_first_video_stream_of_several_is_read() -> None:
    path = REALDATA / "edge" / "nasa_13013.mp4"
    capture = cv2.VideoCapture(str(path))
    window = read_all(path)
    assert len(window.frames) == 325 == int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    assert window.frames.shape[1:3] == (180, 320)
    expected = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
    assert np.abs(window.frames[0].astype(int) - expected).mean() < 1.5


@needs_realdata
@pytest.mark.parametrize("name", ["talking_heads/bbaf2n.mpg", "talking_heads/swiz3n.mpg"])
def test_pictures_of_real_clips_equal_opencvs(name: str) -> None:
    window = read_all(REALDATA / name)
    capture = cv2.VideoCapture(str(REALDATA / name))
    assert len(window.frames) == 75
    for frame in window.frames[:30]:
        expected = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
        assert np.abs(frame.astype(int) - expected).mean() < 1.5
    assert 0.2 < np.abs(window.audio).max() < 1.5


@needs_realdata
@pytest.mark.parametrize("name", ["bt709_full_range", "h264_10bits", "h265_10bits", "h265_video"])
def test_pictures_of_real_files_without_sound_equal_opencvs(name: str) -> None:
    path = REALDATA / "edge" / f"{name}.mp4"
    header = read_header(path)
    capture = cv2.VideoCapture(str(path))
    assert header.num_frames == int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    window = read_window(path, num_frames=1, window_s=0.5, sampling=Sampling("every_k", every_k=10_000))
    assert window.times_s.tolist() == [0.0]
    expected = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
    assert np.abs(window.frames[0].astype(int) - expected).mean() < 4
    assert len(window.audio) == 0
