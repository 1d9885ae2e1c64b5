"""Settings of the corpus, of how a video becomes tensors, of the splits and of the partition."""

from dataclasses import dataclass

from fl.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Limit, section, setting


@dataclass(frozen=True)
class SyntheticSettings:
    """The corpus that the renderer draws (`data=synthetic`)."""

    num_identities: int = setting(360, Limit(low=12), doc="talking heads over all splits")
    clips_per_identity: int = setting(4, Limit(low=2), doc="clips of each, real and fake")
    dev_share: float = setting(0.10, Limit(low=0, low_open=True, high=0.5), doc="identities for validation")
    test_share: float = setting(0.15, Limit(low=0, low_open=True, high=0.5), doc="identities for the test")
    frame_size: int = setting(160, Limit(low=96, high=512), doc="width and height in pixels; even")
    duration_s: float = setting(1.6, Limit(low=0.8, high=10), doc="length of a clip, s, at 25 fps")
    seed: int = setting(0, NOT_NEGATIVE, doc="seed of the corpus, apart from the run's")


@dataclass(frozen=True)
class FolderSettings:
    """Real videos of people talking, from which fakes are forged (`data=folders`)."""

    fakes_per_real: int = setting(3, Limit(low=1, high=6), doc="manipulated clips for each real window")
    windows_per_video: int = setting(1, Limit(low=1, high=64), doc="windows cut from each video")
    window_s: float = setting(1.6, Limit(low=0.8, high=10), doc="length of a window, s")
    identity_pattern: str = setting(
        "", doc="regular expression whose first group names the person; empty: the file is the person"
    )
    validation_share: float = setting(0.2, Limit(low=0, high=0.5), doc="groups of identities for validation")
    test_share: float = setting(0.2, Limit(low=0, high=0.5), doc="groups of identities for the test")
    seed: int = setting(0, NOT_NEGATIVE, doc="seed of the forging, apart from the run's")


@dataclass(frozen=True)
class FaceforensicsSettings:
    """FaceForensics++ (`data=faceforensics`)."""

    compression: str = setting("c23", Limit(choices=("c0", "c23", "c40")), doc="which of its three qualities")
    actors: bool = setting(
        False, doc="also read DeepFakeDetection and its actors, which the official split does not name"
    )


@dataclass(frozen=True)
class ImagesSettings:
    """Folders of pictures (`data=images`)."""

    subfolders: str = setting(
        "methods",
        Limit(choices=("methods", "videos")),
        doc="what one level of folders below real and fake names; of two levels the lower names videos",
    )


@dataclass(frozen=True)
class TableSettings:
    """A CSV of the user's own (`data=table`)."""

    file: str = setting("clips.csv", doc="the table, relative to data.root")


@dataclass(frozen=True)
class FaceSettings:
    """The largest face that OpenCV's Haar cascade finds, and the square cut around it."""

    margin: float = setting(0.1, Limit(low=0, high=1), doc="added around the box, as a share of its side")
    min_side: int = setting(32, Limit(low=16), doc="smallest face looked for, pixels")
    scale_factor: float = setting(1.2, Limit(low=1.01, high=2), doc="step between the sizes looked for")
    min_neighbors: int = setting(5, Limit(low=1, high=20), doc="overlapping finds that make a face")
    smoothing: int = setting(5, Limit(low=1, high=99), doc="frames of the box's running median; odd; 1: none")


@dataclass(frozen=True)
class ClipSettings:
    """How a video becomes tensors: part of a shard's digest."""

    num_frames: int = setting(4, Limit(low=1, high=64), doc="frames of a clip")
    sampling: str = setting(
        "spread",
        Limit(choices=("spread", "every_k", "random")),
        doc="which frames: spread evenly over the window, every k-th, or drawn at random",
    )
    every_k: int = setting(30, COUNT, doc="step of sampling=every_k, frames")
    region: str = setting(
        "face", Limit(choices=("face", "full_frame")), doc="crop the face, or take the whole picture"
    )
    face: FaceSettings = section(FaceSettings)
    image_size: int = setting(80, Limit(low=32, high=512), doc="side of the crop, pixels")
    num_mfcc: int = setting(13, Limit(low=4, high=40), doc="MFCC coefficients")
    window_s: float = setting(
        1.6, Limit(low=0.4, high=30), doc="length of the window, s; the middle of longer clips"
    )
    require_audio: bool = setting(
        False, doc="skip clips without sound, in place of marking the modality as missing"
    )


@dataclass(frozen=True)
class MediaSettings:
    """What a file may claim of itself before anything is decoded."""

    max_side: int = setting(4096, Limit(low=64, high=16384), doc="largest width or height, pixels")
    max_duration_s: float = setting(3600.0, POSITIVE, doc="longest file, s")
    timeout_s: float = setting(60.0, POSITIVE, doc="reading one clip is cut off after this time, s")


CORPORA = (
    "synthetic",
    "folders",
    "lavdf",
    "faceforensics",
    "celebdf",
    "dfdc",
    "images",
    "table",
)


@dataclass(frozen=True)
class DataSettings:
    """Which corpus, and how it is read."""

    corpus: str = setting("synthetic", Limit(choices=CORPORA), doc="kind of corpus")
    root: str = setting("", doc="folder of the corpus; not used by synthetic")
    public_share: float = setting(
        0.35, Limit(low=0.05, high=0.9), doc="share of the training identities that the server holds"
    )
    max_bad_share: float = setting(0.2, SHARE, doc="unreadable clips above this share end the run")
    clip: ClipSettings = section(ClipSettings)
    media: MediaSettings = section(MediaSettings)
    synthetic: SyntheticSettings = section(SyntheticSettings)
    folders: FolderSettings = section(FolderSettings)
    faceforensics: FaceforensicsSettings = section(FaceforensicsSettings)
    images: ImagesSettings = section(ImagesSettings)
    table: TableSettings = section(TableSettings)


@dataclass(frozen=True)
class SplitSettings:
    """Training, validation and test; the training part is then shared by server and clients."""

    scheme: str = setting(
        "auto",
        Limit(choices=("auto", "official", "by_identity", "random_crops_leaky")),
        doc="auto: the corpus's official split, else by identity",
    )
    validation_share: float = setting(0.15, Limit(low=0, high=0.5), doc="for validation, of each category")
    test_share: float = setting(0.15, Limit(low=0, high=0.5), doc="for the test, of each category")
    crops_per_video: int = setting(
        4, Limit(low=2, high=32), doc="clips cut from each video; random_crops_leaky only"
    )
    seed: int = setting(0, NOT_NEGATIVE, doc="seed of the split, apart from the run's")


PARTITIONS = (
    "iid",
    "dirichlet",
    "dirichlet_label",
    "identity",
    "manipulation",
    "quality",
    "zipf",
    "lognormal",
)


@dataclass(frozen=True)
class PartitionSettings:
    """How the clients' split is cut into shards, and what the clients cannot record."""

    scheme: str = setting("dirichlet", Limit(choices=PARTITIONS), doc="kind of partition")
    num_clients: int = setting(8, COUNT, doc="number of edge clients")
    alpha: float = setting(1.0, POSITIVE, doc="Dirichlet concentration; small = skewed")
    zipf_exponent: float = setting(1.0, NOT_NEGATIVE, doc="sizes fall as 1 / rank^exponent (zipf)")
    lognormal_sigma: float = setting(1.0, NOT_NEGATIVE, doc="deviation of the log of the sizes (lognormal)")
    missing_modality: str = setting(
        "none", Limit(choices=("none", "audio", "video")), doc="what some clients' devices cannot record"
    )
    missing_share: float = setting(0.5, SHARE, doc="share of the clients that lack it")


@dataclass(frozen=True)
class AugmentSettings:
    """Augmentation of training clips, at the teacher, the student's first weights and the clients."""

    flip: bool = setting(True, doc="mirror half of the clips left to right")
    rotation_deg: float = setting(0.0, Limit(low=0, high=45), doc="largest rotation either way, degrees")
    jitter: float = setting(
        0.0, Limit(low=0, high=1), doc="largest change of brightness, contrast, saturation"
    )
    jpeg_quality: int = setting(
        100, Limit(low=10, high=100), doc="lowest JPEG quality drawn; 100: no compression"
    )
    resize: float = setting(
        1.0, Limit(low=0.1, high=1), doc="smallest side to which a picture is shrunk and back, as a share"
    )
    time_mask: float = setting(0.0, Limit(low=0, high=0.9), doc="longest share of the sound that is silenced")
    modality_dropout: float = setting(
        0.0, Limit(low=0, high=0.9), doc="probability that a training clip loses its sound or its pictures"
    )
    teacher_view: str = setting(
        "cached",
        Limit(choices=("cached", "live")),
        doc="cached: the teacher saw the clip as it is; live: it sees the augmented clip each time",
    )
