"""Every study, by the name of its preset."""

from collections.abc import Mapping
from types import MappingProxyType

from sim.studies.mobilenet_runs import MOBILENET
from sim.studies.patch_runs import PATCH
from sim.studies.pin_runs import PIN
from sim.studies.study import Study
from sim.studies.thesis_runs import THESIS

STUDIES: Mapping[str, Study] = MappingProxyType(
    {study.preset: study for study in (PIN, THESIS, PATCH, MOBILENET)}
)
