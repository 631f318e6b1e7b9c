"""How a memory of patch features is selected, scored and routed by."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from evernorm.memory.compact import Storage
from evernorm.params.groups import Group


class Routing(StrEnum):
    """The statistic of an image's patch distances that the routed class has lowest."""

    MEAN = "mean"
    MAX = "max"


class Score(StrEnum):
    """What an image's score is made of."""

    MAX = "max"  # its farthest patch, re-weighted by what lies around it (PatchCore Eq. 7)
    TOP = "top"  # the mean of its farthest 1 % (CADA section 3.1)


class MemoryParams(Group):
    """What every memory of patch features has."""

    projection: Annotated[int, Field(ge=8, le=4096)] = 256  # columns in which the coreset is selected
    neighbours: Annotated[int, Field(ge=1, le=100)] = 9  # b of PatchCore Eq. 7
    score: Score = Score.TOP
    storage: Storage = Storage.INT8  # of the rows, and of what is searched beside them


class BudgetParams(MemoryParams):
    """PatchCoreCL's memory and those it is compared with."""

    budget: Annotated[int, Field(ge=10, le=10_000_000)] = 10_000  # rows


class CandidateParams(Group):
    """How many classes an image is compared with patch by patch."""

    candidates: Annotated[int, Field(ge=0, le=100_000)] = 8  # nearest as a whole, at most; 0: all classes


class RoutingParams(CandidateParams):
    """How an image finds its class by the distances of its patches."""

    routing: Routing = Routing.MEAN
