"""Training on the public split until the validation AUC stops rising, then back to the best epoch."""

from collections.abc import Callable

from sklearn.metrics import roc_auc_score
from torch import nn

from fl.data.shards import ShardView
from fl.distill.batches import TeacherAnswers
from fl.distill.precision import resolve_precision
from fl.distill.predict import predict
from fl.distill.supervised import train_epochs
from fl.errors import TeacherError
from fl.settings import AugmentSettings, DistillSettings, PublicTrainingSettings
from models.zoo import Detector

Advance = Callable[[int, str], None]


def train_best(
    network: Detector,
    public: ShardView,
    validation: ShardView,
    settings: PublicTrainingSettings,
    augment: AugmentSettings,
    seed: int,
    advance: Advance,
    teacher: TeacherAnswers | None = None,
    distill: DistillSettings | None = None,
) -> tuple[float | None, int]:
    """Train in place, stopped after ``settings.patience`` epochs without a better validation AUC.

    With patience 0 all epochs are done, nothing is validated, and the last epoch's weights stay.

    Args:
        network: trained in place.
        public: the server's clips.
        validation: decides when to stop; never the test split.
        settings: how it is trained.
        augment: how the public clips are altered each time.
        seed: see `train_epochs`.
        advance: called with (1, note) after each epoch.
        teacher: see `train_epochs`.
        distill: see `train_epochs`.

    Returns:
        The best validation AUC (None where nothing was validated) and the number of epochs trained.

    Raises:
        TeacherError: the validation split holds one class only.
    """
    best_auc, best_epoch, best_state = -1.0, -1, {}
    num_epochs = 0
    for epoch, means in enumerate(train_epochs(network, public, settings, augment, seed, teacher, distill)):
        num_epochs = epoch + 1
        if not settings.patience:
            advance(1, f"loss {means.loss:.3f}")
            continue
        auc = validation_auc(network, validation, settings)
        if auc > best_auc:
            best_auc, best_epoch = auc, epoch
            best_state = {key: value.clone() for key, value in network.state_dict().items()}
        advance(1, f"loss {means.loss:.3f}, validation AUC {auc:.3f}")
        if epoch - best_epoch >= settings.patience:
            break
    if not settings.patience:
        return None, num_epochs
    network.load_state_dict(best_state)
    return best_auc, num_epochs


def validation_auc(network: nn.Module, view: ShardView, settings: PublicTrainingSettings) -> float:
    """AUC on the validation split, at the settings' precision.

    Raises:
        TeacherError: one class is missing.
    """
    labels = view.labels
    if len(set(labels.tolist())) < 2:
        raise TeacherError(
            f"the validation split holds one class only ({len(labels)} clips): its AUC, on which early "
            "stopping and teacher.min_auc decide, is undefined. Give it real and fake clips"
        )
    logits, _ = predict(network, view, precision=resolve_precision(settings.precision))
    return float(roc_auc_score(labels, logits))
