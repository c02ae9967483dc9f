"""The reference's own processes, kept from one measurement to the next."""

from __future__ import annotations

from evaluators.correctness.reference.data import free_gb
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runner import Seat
from evaluators.settings import EvaluationSettings
from evaluators.verdict import FailedError, Failure
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Status
from kernelevolve.core.task import Task

_ENDLESS = 1e9


class EagerSeats:
    """Players that hold eager PyTorch. `end` them."""

    def __init__(self, task: Task, settings: EvaluationSettings, server: ForkServer) -> None:
        self._task = task
        self._settings = settings
        self._server = server
        self.seats: list[Seat] = []

    def get(self, count: int, arena_bytes: int) -> list[Seat]:
        """So many, ready to be timed; `arena_bytes` of each for inputs. Raises UserError where the reference cannot be built."""
        self.seats = [seat for seat in self.seats if seat.player.alive]
        while len(self.seats) < count:
            player = self._server.spawn(arena_bytes, trusted=True, memory_gb=free_gb(), cpu_seconds=_ENDLESS)
            seat = Seat(player, "timing")
            self.seats.append(seat)
            seat.allow(10 * self._settings.run_timeout)
            try:
                seat.order(do="reference", task=self._task.model_dump_json())
                seat.order(do="build")
            except FailedError as error:
                raise self.untimeable(error.failure) from error
        return self.seats[:count]

    def end(self) -> None:
        while self.seats:
            self.seats.pop().player.end()

    def untimeable(self, failure: Failure) -> UserError:
        """What to say where the reference itself has failed; ends them all."""
        self.end()
        name = f"task {self._task.name}: the reference"
        match failure.status:
            case Status.TIMEOUT:
                limit = self._settings.run_timeout
                return UserError(f"{name} cannot be timed within {limit:g} s: raise evaluation.run_timeout")
            case Status.OUT_OF_MEMORY:
                return UserError(f"{name} does not fit in memory, when called several times: make the inputs smaller")
            case _:
                return UserError(f"{name} cannot be timed: {failure.summary}")
