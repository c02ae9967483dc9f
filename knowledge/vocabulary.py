"""The closed vocabularies of a document's front matter. Retrieval filters and weighs documents by them."""

from __future__ import annotations

from enum import StrEnum


class Platform(StrEnum):
    """The hardware that a document is about."""

    ANY = "any"
    """Every target."""
    NVIDIA = "nvidia"
    AMD = "amd"
    CPU = "cpu"
    MTIA = "mtia"


class Kind(StrEnum):
    """What a document is for."""

    INDEX = "index"
    """Lists other documents."""
    POLICY = "policy"
    """Rules of this project that a kernel has to obey, such as what counts as cheating."""
    CONSTRAINT = "constraint"
    """Limits of a language, a compiler or an interface, without which a kernel is not valid."""
    GUIDANCE = "guidance"
    """A technique: when it helps, how it is done, what it costs."""
    HARDWARE = "hardware"
    """A chip or a unit of one, with its numbers."""
    SAMPLE = "sample"
    """A complete kernel that runs, with an explanation."""
    DEBUGGING = "debugging"
    """How to find and mend the cause of a failure."""


class Phase(StrEnum):
    """The part of a search in which a document helps most."""

    ANY = "any"
    SEED = "seed"
    """First drafts: what a valid kernel is, and the plain form of an algorithm."""
    EXPLORE = "explore"
    """Other algorithms and structures are tried."""
    REFINE = "refine"
    """A structure that works is tuned."""
    REPAIR = "repair"
    """A kernel that failed is mended."""
    FINAL = "final"
    """The last percent, where little else is left."""


class Level(StrEnum):
    """How much a reader has to know already."""

    BASIC = "basic"
    INTERMEDIATE = "intermediate"
    EXPERT = "expert"


class Bottleneck(StrEnum):
    """What limits the kernels that a document speeds up or mends."""

    NONE = "none"
    """Nothing in particular."""
    MEMORY = "memory"
    """The bandwidth of memory or of a cache."""
    COMPUTE = "compute"
    """The rate of arithmetic or of another pipeline of the processor."""
    LATENCY = "latency"
    """Chains of dependent operations, waiting and synchronisation."""
    LAUNCH = "launch"
    """The cost of starting kernels, threads or calls."""
    OCCUPANCY = "occupancy"
    """Too little parallel work per core, for want of registers, local memory or blocks."""
    CORRECTNESS = "correctness"
    """The results, not the time."""


class CodeLanguage(StrEnum):
    """A language that kernels are written in."""

    ANY = "any"
    TRITON = "triton"
    CUDA = "cuda"
    HIP = "hip"
    CPP = "cpp"
    PYTHON = "python"


class OperatorFamily(StrEnum):
    """A family of operators."""

    ANY = "any"
    ELEMENTWISE = "elementwise"
    REDUCTION = "reduction"
    NORMALIZATION = "normalization"
    SOFTMAX = "softmax"
    LOSS = "loss"
    MATMUL = "matmul"
    ATTENTION = "attention"
    CONVOLUTION = "convolution"
    POOLING = "pooling"
    SCAN = "scan"
    SORT = "sort"
    """Sorting, selection of the largest, and searching in sorted data."""
    GATHER = "gather"
    SCATTER = "scatter"
    EMBEDDING = "embedding"
    JAGGED = "jagged"
    TRANSPOSE = "transpose"
    """Transposes and other changes of layout."""
    QUANTIZATION = "quantization"
