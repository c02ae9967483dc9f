"""The settings of the islands."""

from __future__ import annotations

from pydantic import Field

from islands.migration import MigrantChoice, Migration, Topology
from kernelevolve.core.record import Record
from kernelevolve.core.seeds import derive_seed


class IslandSettings(Record):
    """The configuration group `islands`."""

    count: int = Field(ge=1)
    """The number of islands."""
    in_flight: int = Field(ge=1)
    """The number of candidates that an island works on at the same time."""
    topology: Topology
    """The islands that an island sends nodes to."""
    migration_interval: int = Field(ge=1)
    """The number of own nodes between two migrations."""
    migration_rate: float = Field(ge=0, le=1)
    """The probability that a migration uses a given link to a neighbour."""
    migrants: int = Field(ge=0)
    """The number of nodes that one migration sends; 0 turns migration off."""
    choice: MigrantChoice
    """The nodes that a migration sends."""
    history: int = Field(ge=0)
    """The maximum number of earlier nodes that an operator is shown besides the parents."""
    reproposals: int = Field(ge=0)
    """The number of further proposals for an expansion whose kernel is already known."""
    max_repeats: int = Field(ge=1)
    """The number of known kernels in a row, over all islands, that ends the run because nothing new is found."""
    retries: int = Field(ge=0)
    """The number of retries when an operator or an evaluation fails for a reason other than the kernel."""
    restarts: int = Field(ge=0)
    """The number of times per session that an island is restarted after its process died."""
    grace_seconds: float = Field(ge=0)
    """The seconds that candidates in flight have left to finish when the run ends."""

    def migration(self, island: int, seed: int) -> Migration:
        """Build the migration of one island. `seed` is the seed of the run."""
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
