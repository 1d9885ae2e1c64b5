"""Checks of a corpus and its split that no single setting's limit can express; no heavy import."""

import os
import re
from pathlib import Path

from fl.errors import RequestError
from fl.settings import (
    DataSettings,
    FolderSettings,
    SplitSettings,
)

SYNTHETIC_FPS = 25
"""Frame rate of the rendered corpus."""


def check_data(data: DataSettings) -> None:
    """Refuse a corpus that is not there, or whose settings contradict each other.

    Raises:
        RequestError: key, limit, value and remedy are in the message.
    """
    if data.corpus == "synthetic":
        _check_synthetic(data)
        return
    if not data.root:
        raise RequestError(
            f"data.root must name the folder of the corpus for data={data.corpus}, got ''; "
            f"add data.root=FOLDER"
        )
    root = Path(data.root).expanduser()
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise RequestError(f"data.root must be a folder, but {data.root!r} {found}; give the corpus's folder")
    if not os.access(root, os.R_OK | os.X_OK):
        raise RequestError(f"data.root must be readable, but {data.root!r} is not; change its permissions")
    if data.corpus == "folders":
        _check_folders(data.folders, data.clip.window_s)
    if data.corpus == "images" and data.clip.require_audio:
        raise RequestError(
            "data.clip.require_audio must be false for data=images, got true: pictures have no sound"
        )


def check_split(split: SplitSettings, data: DataSettings) -> None:
    """Refuse a split that leaves a part empty, or that the corpus has not.

    Raises:
        RequestError: key, limit, value and remedy are in the message.
    """
    if split.validation_share + split.test_share >= 1:
        raise RequestError(
            "split.validation_share + split.test_share must be below 1, "
            f"got {split.validation_share:g} + {split.test_share:g}; leave some clips for training"
        )
    if split.scheme != "random_crops_leaky" or data.corpus != "synthetic":
        return  # the length of other corpora's videos is known only when they are read
    frames = int(data.clip.window_s * SYNTHETIC_FPS)
    if data.clip.num_frames * split.crops_per_video > frames:
        raise RequestError(
            f"data.clip.num_frames * split.crops_per_video must be at most {frames}, the frames in "
            f"data.clip.window_s = {data.clip.window_s:g} s at {SYNTHETIC_FPS} fps, "
            f"got {data.clip.num_frames} * {split.crops_per_video}; "
            "cut fewer crops, take fewer frames or a longer window"
        )


def _check_synthetic(data: DataSettings) -> None:
    corpus, clip = data.synthetic, data.clip
    if data.root:
        raise RequestError(
            f"data.root must be empty for data=synthetic, which draws its clips, got {data.root!r}; "
            "add data=lavdf, data=folders or another corpus to read files"
        )
    if corpus.frame_size % 2:
        raise RequestError(
            f"data.synthetic.frame_size must be even (H.264), got {corpus.frame_size}; "
            f"use {corpus.frame_size + 1}"
        )
    if corpus.dev_share + corpus.test_share >= 1:
        raise RequestError(
            "data.synthetic.dev_share + data.synthetic.test_share must be below 1, "
            f"got {corpus.dev_share:g} + {corpus.test_share:g}; leave some identities for training"
        )
    if clip.window_s > corpus.duration_s:
        raise RequestError(
            f"data.clip.window_s must be at most data.synthetic.duration_s = {corpus.duration_s:g}, "
            f"got {clip.window_s:g}; lengthen the clips or shorten the window"
        )
    frames = int(clip.window_s * SYNTHETIC_FPS)
    if clip.num_frames > frames:
        raise RequestError(
            f"data.clip.num_frames must be at most {frames}, the frames in data.clip.window_s = "
            f"{clip.window_s:g} s at {SYNTHETIC_FPS} fps, got {clip.num_frames}; "
            "take fewer frames or a longer window"
        )


def _check_folders(folders: FolderSettings, window_s: float) -> None:
    if window_s > folders.window_s:
        raise RequestError(
            f"data.clip.window_s must be at most data.folders.window_s = {folders.window_s:g}, "
            f"got {window_s:g}; cut longer windows or read less of them"
        )
    if folders.validation_share + folders.test_share >= 1:
        raise RequestError(
            "data.folders.validation_share + data.folders.test_share must be below 1, "
            f"got {folders.validation_share:g} + {folders.test_share:g}; leave some identities for training"
        )
    if folders.identity_pattern:
        try:
            num_groups = re.compile(folders.identity_pattern).groups
        except re.error as error:
            raise RequestError(
                f"data.folders.identity_pattern must be a regular expression, "
                f"got {folders.identity_pattern!r}: {error}"
            ) from error
        if num_groups < 1:
            raise RequestError(
                "data.folders.identity_pattern must have a group that names the person, "
                f"got {folders.identity_pattern!r}; put brackets round it, e.g. '(.+)_[0-9]+'"
            )
