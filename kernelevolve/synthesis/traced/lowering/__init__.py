"""Lowerings of ATen operations to the traced form, in one table per family of operations."""

from __future__ import annotations

from collections.abc import Mapping

from kernelevolve.synthesis.traced.lowering.activations import ACTIVATIONS
from kernelevolve.synthesis.traced.lowering.call import Lowering
from kernelevolve.synthesis.traced.lowering.contractions import CONTRACTIONS
from kernelevolve.synthesis.traced.lowering.convolution import CONVOLUTION
from kernelevolve.synthesis.traced.lowering.creation import CREATION
from kernelevolve.synthesis.traced.lowering.indexing import INDEXING
from kernelevolve.synthesis.traced.lowering.pointwise import POINTWISE
from kernelevolve.synthesis.traced.lowering.pooling import POOLING
from kernelevolve.synthesis.traced.lowering.reductions import REDUCTIONS
from kernelevolve.synthesis.traced.lowering.scattering import SCATTERING
from kernelevolve.synthesis.traced.lowering.sorting import SORTING
from kernelevolve.synthesis.traced.lowering.views import VIEWS

LOWERINGS: Mapping[str, Lowering] = {
    **POINTWISE,
    **ACTIVATIONS,
    **VIEWS,
    **REDUCTIONS,
    **CONTRACTIONS,
    **CONVOLUTION,
    **POOLING,
    **INDEXING,
    **SCATTERING,
    **CREATION,
    **SORTING,
}
