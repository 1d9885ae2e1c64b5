"""Classical detectors: gradient histograms and cepstral statistics under an SVM, a tree and a forest.

Pictures: histograms of oriented gradients (Dalal and Triggs, CVPR 2005) of the face crop, their mean and
deviation over the frames, whitened principal components. Sound: mean and deviation of each MFCC and of
its change from step to step. All that is fitted is fitted on training clips.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from fl.data.shards import ShardView
from fl.errors import DataError
from fl.metrics.scores import probabilities

Floats = NDArray[np.float64]

HOG_SIZE = 64
"""Side to which a crop is brought first, pixels: cells of 8, blocks of 2 x 2 cells, 9 directions."""
NUM_COMPONENTS = 64
"""Principal components of the pictures, at most; a quarter of the training clips where that is less."""
NUM_TREES = 300
"""Of the forest."""
MAX_FOLDS = 5
_BATCH = 64


@dataclass(frozen=True)
class Features:
    """What the classical models see of some clips.

    Attributes:
        values: (clips, features).
        num_picture: the first so many columns are of the pictures; the others of the sound.
    """

    values: Floats
    num_picture: int


@dataclass(frozen=True)
class Fitted:
    """A classical model, trained.

    Attributes:
        name: a key of `MODELS`.
        chosen: its hyperparameters.
        cv_accuracy: share of held-out training clips that these judge correctly; None: there was nothing
            to choose by, and the first of the candidates was taken.
        score: features -> (clips,) scores in [0, 1], above 0.5 where the model says fake.
    """

    name: str
    chosen: Mapping[str, float | None]
    cv_accuracy: float | None
    score: Callable[[Features], Floats]


@dataclass(frozen=True)
class _Kind:
    """How to build a model, what to choose from, how to ask it."""

    build: Callable[..., Any]
    candidates: tuple[Mapping[str, float | None], ...]
    score: Callable[[Any, Floats], Floats]


def _margin(model: Any, values: Floats) -> Floats:
    return probabilities(model.decision_function(values))


def _share(model: Any, values: Floats) -> Floats:
    return np.asarray(model.predict_proba(values)[:, 1], dtype=np.float64)


def _svm(seed: int, **chosen: Any) -> Any:
    return SVC(kernel="rbf", gamma="scale", random_state=seed, **chosen)


def _tree(seed: int, **chosen: Any) -> Any:
    return DecisionTreeClassifier(random_state=seed, **chosen)


def _forest(seed: int, **chosen: Any) -> Any:
    return RandomForestClassifier(NUM_TREES, random_state=seed, **chosen)


MODELS: Mapping[str, _Kind] = MappingProxyType(
    {
        "SVM": _Kind(_svm, tuple({"C": c} for c in (1.0, 0.1, 10.0, 100.0)), _margin),
        "decision tree": _Kind(_tree, tuple({"max_depth": depth} for depth in (5, 3, 8, None)), _share),
        "random forest": _Kind(_forest, tuple({"min_samples_leaf": leaf} for leaf in (1, 3, 10)), _share),
    }
)
"""Name -> model. An SVM's score is the logistic function of its margin: ordered and cut at 0.5 as the
margin is, but no calibrated probability."""


def features_of(view: ShardView, hears: bool, advance: Callable[[int], None] = lambda _: None) -> Features:
    """The features of every clip of a view.

    Args:
        view: the clips; what their holder lacks is zero.
        hears: add those of the sound, and which modalities are there.
        advance: called with the number of clips done.
    """
    hog = cv2.HOGDescriptor((HOG_SIZE, HOG_SIZE), (16, 16), (8, 8), (8, 8), 9)
    rows, num_picture = [], 0
    for start in range(0, len(view), _BATCH):
        batch = view.batch(slice(start, start + _BATCH))
        valid = view.valid_steps[start : start + _BATCH]
        for frames, mfcc, steps, present in zip(
            batch.frames, batch.mfcc, valid, batch.modalities, strict=True
        ):
            picture = _picture_features(hog, frames)
            num_picture = len(picture)
            parts = [picture, *((_sound_features(mfcc[:steps]), present) if hears else ())]
            rows.append(np.concatenate(parts))
        advance(len(batch.labels))
    return Features(np.asarray(rows, dtype=np.float64), num_picture)


def _picture_features(hog: cv2.HOGDescriptor, frames: NDArray[np.uint8]) -> Floats:
    """(2 x histogram,): mean and deviation over frames (T, H, W, 3); the mean alone of a single one."""
    described: Floats = np.stack([_histogram(hog, frame) for frame in frames])
    parts = [described.mean(axis=0), described.std(axis=0)]
    return np.concatenate(parts[: min(len(frames), 2)])


def _histogram(hog: cv2.HOGDescriptor, frame: NDArray[np.uint8]) -> Floats:
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (HOG_SIZE, HOG_SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(hog.compute(small), dtype=np.float64).ravel()


def _sound_features(mfcc: NDArray[np.float32]) -> Floats:
    """(4 x coefficients,) of MFCC (steps, coefficients) without padding; zeros where there is no sound."""
    if len(mfcc) < 2:
        return np.zeros(4 * mfcc.shape[1])
    change = np.diff(mfcc, axis=0)
    return np.concatenate([part for x in (mfcc, change) for part in (x.mean(axis=0), x.std(axis=0))])


def fit_models(
    features: Features,
    labels: NDArray[np.uint8],
    groups: Sequence[str],
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Fitted]:
    """Train the models of `MODELS`; hyperparameters by cross-validation in which no group is divided.

    Args:
        features: of the training clips.
        labels: (clips,), 1 = fake.
        groups: (clips,), whose clips must stay on one side: identities with whatever forgery mixed.
        seed: of all that is random.
        advance: called with 1 for each fold, and at the end.

    Raises:
        DataError: the clips are of one class.
    """
    if len(np.unique(labels)) < 2:
        raise DataError(
            f"the {len(labels)} clips that trained the student are all {'fake' if labels.any() else 'real'}: "
            "no classical model can be trained on them; name a run with both"
        )
    random_state = seed % 2**32
    held_out = _cross_validate(features, labels, groups, random_state, advance)
    reducer = _reducer(features, len(labels), random_state).fit(features.values)
    reduced = reducer.transform(features.values)
    found = []
    for name, kind in MODELS.items():
        accuracies = held_out.get(name)
        best = 0 if accuracies is None else int(np.argmax(accuracies))
        model = kind.build(random_state, **kind.candidates[best]).fit(reduced, labels)
        found.append(
            Fitted(
                name,
                dict(kind.candidates[best]),
                None if accuracies is None else accuracies[best],
                _scorer(reducer, kind, model),
            )
        )
    advance(1)
    return found


def _scorer(reducer: Any, kind: _Kind, model: Any) -> Callable[[Features], Floats]:
    return lambda features: kind.score(model, reducer.transform(features.values))


def _reducer(features: Features, num_clips: int, random_state: int) -> Any:
    num_components = max(1, min(NUM_COMPONENTS, num_clips // 4, features.num_picture))
    pictures = PCA(num_components, whiten=True, svd_solver="randomized", random_state=random_state)
    columns = slice(0, features.num_picture), slice(features.num_picture, None)
    parts = [("pictures", pictures, columns[0]), ("sound", StandardScaler(), columns[1])]
    return ColumnTransformer(parts[: 1 + (features.values.shape[1] > features.num_picture)])


def _cross_validate(
    features: Features,
    labels: NDArray[np.uint8],
    groups: Sequence[str],
    random_state: int,
    advance: Callable[[int], None],
) -> dict[str, list[float]]:
    """Model -> accuracy of each candidate over all held-out clips; empty if a class has no two groups."""
    names = np.array(groups)
    num_folds = min(MAX_FOLDS, *(len(set(names[labels == label])) for label in (0, 1)))
    if num_folds < 2:
        return {}
    right = {name: np.zeros(len(kind.candidates)) for name, kind in MODELS.items()}
    folds = StratifiedGroupKFold(num_folds, shuffle=True, random_state=random_state)
    for kept, held in folds.split(features.values, labels, names):
        reducer = _reducer(features, len(kept), random_state).fit(features.values[kept])
        seen, unseen = (reducer.transform(features.values[rows]) for rows in (kept, held))
        for name, kind in MODELS.items():
            for index, candidate in enumerate(kind.candidates):
                model = kind.build(random_state, **candidate).fit(seen, labels[kept])
                right[name][index] += ((kind.score(model, unseen) > 0.5) == labels[held]).sum()
        advance(1)
    return {name: (counts / len(labels)).tolist() for name, counts in right.items()}
