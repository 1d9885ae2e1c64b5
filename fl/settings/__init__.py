"""Every setting of a run, typed, with its limits: the one place where a default lives.

No heavy import here: the command line checks a request against these before torch is loaded.
Field names equal the YAML keys. `sim.config` turns Hydra's configuration into `Experiment`.
"""

from fl.settings.adversary import AdversarySettings
from fl.settings.data import (
    AugmentSettings,
    ClipSettings,
    DataSettings,
    FaceforensicsSettings,
    FaceSettings,
    FolderSettings,
    ImagesSettings,
    MediaSettings,
    PartitionSettings,
    SplitSettings,
    SyntheticSettings,
    TableSettings,
)
from fl.settings.experiment import Experiment
from fl.settings.federation import (
    CompressSettings,
    FleetSettings,
    GridSettings,
    LatencySettings,
    StrategySettings,
)
from fl.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Limit, section, setting
from fl.settings.privacy import PrivacySettings
from fl.settings.tracking import TrackingSettings
from fl.settings.training import (
    DistillSettings,
    OptimizerSettings,
    PublicTrainingSettings,
    SystemSettings,
    TeacherSettings,
    WarmupSettings,
)

__all__ = [
    "COUNT",
    "NOT_NEGATIVE",
    "POSITIVE",
    "SHARE",
    "AdversarySettings",
    "AugmentSettings",
    "ClipSettings",
    "CompressSettings",
    "DataSettings",
    "DistillSettings",
    "Experiment",
    "FaceSettings",
    "FaceforensicsSettings",
    "FleetSettings",
    "FolderSettings",
    "GridSettings",
    "ImagesSettings",
    "LatencySettings",
    "Limit",
    "MediaSettings",
    "OptimizerSettings",
    "PartitionSettings",
    "PrivacySettings",
    "PublicTrainingSettings",
    "SplitSettings",
    "StrategySettings",
    "SyntheticSettings",
    "SystemSettings",
    "TableSettings",
    "TeacherSettings",
    "TrackingSettings",
    "WarmupSettings",
    "section",
    "setting",
]
