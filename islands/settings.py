"""How many islands, and how they work together."""

from __future__ import annotations

from pydantic import Field

from islands.migration import Choice, Migration, Topology
from kernelevolve.core.record import Record
from kernelevolve.core.seeds import derive_seed


class IslandSettings(Record):
    """The group `islands` of the configuration."""

    count: int = Field(ge=1)
    in_flight: int = Field(ge=1)
    """Candidates that an island works on at a time."""
    topology: Topology
    """Which islands an island sends to."""
    migration_interval: int = Field(ge=1)
    """Own nodes between two migrations."""
    migration_rate: float = Field(ge=0, le=1)
    """Share of the ways to a neighbour that a migration takes."""
    migrants: int = Field(ge=0)
    """Nodes that a migration sends; 0: islands keep to themselves."""
    choice: Choice
    """Which nodes it sends."""
    history: int = Field(ge=0)
    """Further nodes that an operator is shown at most."""
    reproposals: int = Field(ge=0)
    """Further proposals for an expansion whose kernel is known already."""
    max_repeats: int = Field(ge=1)
    """Known kernels in a row, over all islands, that end the run: nothing new is to be found."""
    retries: int = Field(ge=0)
    """Further tries when an operator or the evaluation fails for a reason that is not the kernel's."""
    restarts: int = Field(ge=0)
    """Islands that may be started again after their process died, in one session."""
    grace_seconds: float = Field(ge=0)
    """What candidates in flight get to finish in when the run ends."""

    def migration(self, island: int, seed: int) -> Migration:
        """Of one island. `seed`: of the run."""
        return Migration(
            island=island,
            count=self.count,
            topology=self.topology,
            interval=self.migration_interval,
            rate=self.migration_rate,
            migrants=self.migrants,
            choice=self.choice,
            seed=derive_seed(seed, "migration"),
        )
