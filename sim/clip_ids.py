"""Names of clips and of their videos in tables that leave the machine: no paths."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from fl.data.clips import Clip

Parts = tuple[str, ...]


def clip_ids(clips: Sequence[Clip]) -> list[tuple[str, str]]:
    """The id of each clip, unique, and that of its video, which several clips may share.

    A video is a file; clips that are crops of one file (`split=random_crops_leaky`) are its name with
    ``#0``, ``#1``. Pictures are a video if they share source, label and category (`data=images` with
    folders of videos). An id is the end of a path, as short as sets it apart: mostly the file's name.
    """
    files = [PurePosixPath(clip.path.as_posix()).parts for clip in clips]
    pictures = Counter(_recording(clip) for clip in clips if clip.num_frames == 1)
    videos = [
        _recording(clip) if clip.num_frames == 1 and pictures[_recording(clip)] > 1 else file
        for clip, file in zip(clips, files, strict=True)
    ]
    file_names, video_names = shortest_tails(files), shortest_tails(videos)
    return [
        (f"{file}#{clip.crop}" if clip.num_crops > 1 else file, video)
        for clip, file, video in zip(clips, file_names, video_names, strict=True)
    ]


def shortest_tails(paths: Sequence[Parts]) -> list[str]:
    """Each path by as many of its last parts, joined by "/", as no other path ends with."""
    depth = dict.fromkeys(paths, 1)
    while True:
        shared = Counter(path[-depth[path] :] for path in depth)
        longer = [path for path in depth if shared[path[-depth[path] :]] > 1 and depth[path] < len(path)]
        if not longer:
            return ["/".join(path[-depth[path] :]) for path in paths]
        for path in longer:
            depth[path] += 1


def _recording(clip: Clip) -> Parts:
    """What the frames of one video have in common, cut into pictures: the last part is its own name."""
    return (str(clip.label), clip.category, *PurePosixPath(clip.source).parts)
