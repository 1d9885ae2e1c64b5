"""Tests of fl.distill.first_weights."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from fl.data.shards import Shard
from fl.distill.batches import TeacherOutputs
from fl.distill.first_weights import obtain_first_weights
from fl.distill.teacher import Teacher
