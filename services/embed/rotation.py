"""Values that wait in turn: in order for one owner, round-robin between owners."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class Rotation(Generic[V]):
    """A queue an owner; whoever was served goes behind all others that wait."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[V]] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def owners(self) -> Iterator[str]:
        """Yield who waits, whose turn it is first."""
        return iter(self._queues)

    def add(self, owner: str, value: V) -> None:
        """Put a value behind the owner's others."""
        self._queues.setdefault(owner, deque()).append(value)

    def put_back(self, owner: str, value: V) -> None:
        """Put a value before the owner's others."""
        self._queues.setdefault(owner, deque()).appendleft(value)

    def take(self) -> V | None:
        """Return the next value of whose turn it is; None where nobody waits."""
        for owner in self._queues:
            return self.take_of(owner, lambda taken, _: not taken)[0]
        return None

    def take_of(self, owner: str, wanted: Callable[[list[V], V], bool]) -> list[V]:
        """Return the owner's next values for as long as `wanted` says of (taken, next); its turn is over."""
        queue = self._queues.pop(owner)
        taken: list[V] = []
        while queue and wanted(taken, queue[0]):
            taken.append(queue.popleft())
        if queue:
            self._queues[owner] = queue
        return taken

    def clear(self) -> None:
        """Forget all."""
        self._queues.clear()
