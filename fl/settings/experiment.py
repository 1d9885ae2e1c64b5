"""The settings of one run."""

from dataclasses import dataclass

from fl.settings.adversary import AdversarySettings
from fl.settings.data import AugmentSettings, DataSettings, PartitionSettings, SplitSettings
from fl.settings.federation import (
    CompressSettings,
    FleetSettings,
    GridSettings,
    LatencySettings,
    StrategySettings,
)
from fl.settings.limits import NOT_NEGATIVE, section, setting
from fl.settings.privacy import PrivacySettings
from fl.settings.tracking import TrackingSettings
from fl.settings.training import DistillSettings, SystemSettings, TeacherSettings, WarmupSettings


@dataclass(frozen=True)
class Experiment:
    """One run."""

    seed: int = setting(0, NOT_NEGATIVE, doc="seed of sampling, partition, initial weights and batches")
    name: str = setting("", doc="name of the run folder; empty: date and time")
    runs_dir: str = setting("runs", doc="where run folders go")
    cache_dir: str = setting("", doc="corpora, shards, teachers; empty: $FEDPIN_CACHE or ~/.cache/fedpin")
    data: DataSettings = section(DataSettings)
    split: SplitSettings = section(SplitSettings)
    partition: PartitionSettings = section(PartitionSettings)
    augment: AugmentSettings = section(AugmentSettings)
    system: SystemSettings = section(SystemSettings)
    teacher: TeacherSettings = section(TeacherSettings)
    warmup: WarmupSettings = section(WarmupSettings)
    distill: DistillSettings = section(DistillSettings)
    compress: CompressSettings = section(CompressSettings)
    strategy: StrategySettings = section(StrategySettings)
    privacy: PrivacySettings = section(PrivacySettings)
    fleet: FleetSettings = section(FleetSettings)
    adversary: AdversarySettings = section(AdversarySettings)
    grid: GridSettings = section(GridSettings)
    latency: LatencySettings = section(LatencySettings)
    tracking: TrackingSettings = section(TrackingSettings)
