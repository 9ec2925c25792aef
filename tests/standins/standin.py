"""What every server that tests start is to those who use it: one from `with` to the end of its block, which can be
killed and started again at the same place. Which server, and how it is told to end, is for the others here to say."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar, Self

from tests.standins.processes import Child, StandinError


class Standin(ABC):
    """`with Kind() as server: …`: `start()` has returned when it can be used, and `stop()` removes what it left."""

    name: ClassVar[str]
    _child: Child | None = None

    @abstractmethod
    def start(self) -> Self:
        """Start it and wait until it can be used."""

    @abstractmethod
    def stop(self) -> None:
        """End it, started or not, and remove its files."""

    @property
    def child(self) -> Child:
        """The running process, to signal; StandinError if it has not been started."""
        if self._child is None:
            raise StandinError(f"{self.name} has not been started")
        return self._child

    def kill(self) -> None:
        """SIGKILL: what it held in memory is lost, and every connection to it is cut."""
        self.child.kill()

    def restart(self) -> None:
        """Start again on the same port, with what outlives a kill()."""
        self.child.kill()
        self.start()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
