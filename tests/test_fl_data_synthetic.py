import collections
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from fl.data.clips import REAL
from fl.data.corpora.lavdf import read
from fl.data.corpora.synthetic import build_corpus, plan_corpus
from fl.data.corpora.voice import draw_voice, speak
from fl.data.faces import detect_faces
from fl.data.media import read_all, read_window
from fl.data.splits import assign_splits
from fl.errors import RequestError
from fl.settings import SplitSettings, SyntheticSettings

SMALL = SyntheticSettings(num_identities=12, clips_per_identity=2, dev_share=0.2, test_share=0.2)
LAVDF_KEYS = {
    "file",
    "n_fakes",
    "fake_periods",
    "duration",
    "original",
    "modify_video",
    "modify_audio",
    "split",
    "video_frames",
    "audio_channels",
    "audio_frames",
}


def ignore(count: int) -> None:
    pass


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return build_corpus(SMALL, tmp_path_factory.mktemp("synthetic"), ignore, 1)


def entries(root: Path) -> list[dict]:
    return json.loads((root / "metadata.min.json").read_text())


def test_metadata_has_lavdf_keys_and_tells_the_truth(corpus):
    assert len(entries(corpus)) == 24
    for entry in entries(corpus):
        assert set(entry) == LAVDF_KEYS | {"category", "identity", "source", "group"}
        assert entry["file"].split("/")[0] == entry["split"]
        assert entry["n_fakes"] == len(entry["fake_periods"])
        fake = entry["category"] != REAL
        assert (entry["n_fakes"] > 0) == (entry["modify_video"] or entry["modify_audio"]) == fake
        assert (entry["original"] is not None) == fake
        with av.open(str(corpus / entry["file"])) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert (video.average_rate, audio.rate, audio.channels) == (25, 16_000, 1)
            assert video.frames == entry["video_frames"] == 40
        whole = read_all(corpus / entry["file"])
        assert whole.duration_s == pytest.approx(entry["duration"], abs=1e-3)
        assert entry["audio_frames"] == 25_600


def test_original_of_a_fake_is_a_real_clip_of_the_same_person(corpus):
    by_file = {entry["file"]: entry for entry in entries(corpus)}
    for entry in by_file.values():
        if entry["original"]:
            original = by_file[entry["original"]]
            assert original["category"] == REAL
            assert (original["identity"], original["group"]) == (entry["identity"], entry["group"])


def test_splits_share_no_identity_source_or_group(corpus):
    clips = assign_splits(read(corpus), SplitSettings(), 0.4, 0)
    assert {clip.split for clip in clips} == {"public", "clients", "validation", "test"}
    for key in ("identity", "source", "group"):
        owners = collections.defaultdict(set)
        for clip in clips:
            owners[getattr(clip, key)].add(clip.split)
        assert all(len(splits) == 1 for splits in owners.values()), key


def test_haar_finds_the_face(corpus):
    found = [np.isfinite(detect_faces(read_all(path).frames[::5])[:, 0]) for path in corpus.glob("*/*.mp4")]
    assert np.mean(found) >= 0.95


def test_default_plan_is_balanced():
    groups = plan_corpus(SyntheticSettings())
    sizes = collections.Counter()
    categories = collections.Counter()
    for group in groups:
        assert len(group.identities) >= 2
        for clips in group.clips:
            labels = [clip.category != REAL for clip in clips]
            assert sum(labels) == 2
            assert 1 <= len({clip.category for clip in clips} - {REAL}) <= 2
            sizes[group.split] += len(clips)
            categories.update(clip.category for clip in clips)
    assert sizes == {"train": 1080, "dev": 144, "test": 216}
    assert categories.pop(REAL) == 720
    assert len(categories) == 6
    assert categories["AudioShifted"] <= 0.06 * 720
    assert min(count for name, count in categories.items() if not name.startswith("Audio")) >= 100


@pytest.mark.parametrize("clips_per_identity", [3, 5])
def test_odd_numbers_of_clips_balance_over_identities(clips_per_identity):
    groups = plan_corpus(SyntheticSettings(num_identities=40, clips_per_identity=clips_per_identity))
    labels = [clip.category != REAL for group in groups for clips in group.clips for clip in clips]
    assert np.mean(labels) == pytest.approx(0.5, abs=0.02)


def test_same_seed_same_bytes_in_one_process_or_two(corpus, tmp_path):
    finished = []
    other = build_corpus(SMALL, tmp_path, finished.append, 2)
    assert sum(finished) == 24
    assert other.name == corpus.name
    assert (other / "metadata.min.json").read_bytes() == (corpus / "metadata.min.json").read_bytes()
    for path in corpus.glob("*/*.mp4"):
        assert path.read_bytes() == (other / path.relative_to(corpus)).read_bytes()


def test_another_seed_is_another_corpus(corpus, tmp_path):
    settings = SyntheticSettings(**{**SMALL.__dict__, "seed": 1, "num_identities": 12})
    other = build_corpus(settings, tmp_path, ignore, 1)
    assert other.name != corpus.name
    first, second = (
        read_window(root / "train/000001.mp4", num_frames=2, window_s=1.0) for root in (corpus, other)
    )
    assert np.abs(first.frames.astype(int) - second.frames).mean() > 5


def test_built_once(corpus):
    def refuse(count: int) -> None:
        raise AssertionError("rendered again")

    assert build_corpus(SMALL, corpus.parents[1], refuse, 1) == corpus


@pytest.mark.parametrize("num_workers", [1, 2])
def test_interruption_leaves_neither_folder_nor_process(tmp_path, num_workers):
    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_corpus(SMALL, tmp_path, interrupt, num_workers)
    assert [path for path in (tmp_path / "corpora").iterdir() if path.is_dir()] == []
    assert multiprocessing.active_children() == []


def test_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cache_dir"):
        build_corpus(SMALL, tmp_path / "file", ignore, 1)


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"frame_size": 161}, "frame_size"), ({"dev_share": 0.5, "test_share": 0.5}, "num_identities")],
)
def test_impossible_settings(tmp_path, changes, key):
    with pytest.raises(RequestError, match=f"data.synthetic.{key}"):
        build_corpus(SyntheticSettings(**changes), tmp_path, ignore, 1)


def test_mouth_moves_with_the_voice():
    correlations = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        speech = speak(draw_voice(rng, rng.random()), 4.0, rng)
        hops = speech.audio[: len(speech.audio) // 160 * 160].reshape(-1, 160)
        loudness = np.convolve(np.sqrt((hops**2).mean(axis=1)), np.ones(5) / 5, mode="same")
        correlations.append(np.corrcoef(loudness, speech.opening[: len(loudness)])[0, 1])
    assert np.mean(correlations) > 0.6


def test_large_speakers_have_low_voices():
    voices = [
        [draw_voice(np.random.default_rng(seed), size).pitch_hz for seed in range(20)] for size in (0.0, 1.0)
    ]
    assert min(voices[0]) > max(voices[1])


def test_workers_need_no_torch():
    code = "import sys, fl.data.corpora.synthetic, fl.data.corpora.folders; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def shortcut_features(path: Path) -> dict[str, np.ndarray]:
    window = read_window(path, num_frames=8, window_s=1.6)
    mean = window.frames.astype(np.float32).mean(axis=0)
    thumbnail = cv2.resize(mean.mean(axis=2), (16, 16), interpolation=cv2.INTER_AREA)
    size_bytes = path.stat().st_size
    frames = np.lib.stride_tricks.sliding_window_view(window.audio, 512)[::256] * np.hanning(512)
    spectrum = np.log(np.abs(np.fft.rfft(frames)) + 1e-4).mean(axis=0)
    return {
        "mean colour": mean.mean(axis=(0, 1)),
        "thumbnail": thumbnail.ravel(),
        "file size": np.array([size_bytes, 8 * size_bytes / window.duration_s, np.log(size_bytes)]),
        "mean spectrum": spectrum,
    }


@pytest.mark.slow
def test_no_shortcut(tmp_path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    settings = SyntheticSettings(num_identities=140, dev_share=0.15, test_share=0.4)
    clips = assign_splits(read(build_corpus(settings, tmp_path, ignore, 2)), SplitSettings(), 0.4, 0)
    features = [shortcut_features(clip.path) for clip in clips]
    labels = np.array([clip.label for clip in clips])
    splits = np.array([clip.split for clip in clips])
    train, dev, test = (np.isin(splits, names) for names in (["public", "clients"], ["validation"], ["test"]))
    for name in features[0]:
        values = np.stack([feature[name] for feature in features])
        scored = []
        for strength in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
            scores = model.fit(values[train], labels[train]).decision_function(values)
            scored.append(
                (roc_auc_score(labels[dev], scores[dev]), roc_auc_score(labels[test], scores[test]))
            )
        assert max(scored)[1] <= 0.60, name
