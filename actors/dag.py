"""Work with explicit dependencies, as plain data: what is ready, what is done, what a failure costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from foundation.errors import UsageError

__all__ = ["Dag", "Node", "Run", "State"]

State = Literal["waiting", "running", "done", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Node:
    """One piece of work. `work` gets what its `needs` have made, by name, and runs on some thread.

    `fallback`, when given, makes a plainer value in place of a failed or skipped one, so that those
    who need it go on; it must be quick and runs on the caller.
    """

    name: str
    work: Callable[[Mapping[str, Any]], Any]
    needs: tuple[str, ...] = ()
    fallback: Callable[[Mapping[str, Any]], Any] | None = None


class Dag:
    """Nodes in an order that respects their needs.

    Raises:
        UsageError: a name is used twice, a need is unknown, or the needs go in a circle.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        listed = list(nodes)
        self.nodes: dict[str, Node] = {node.name: node for node in listed}
        if len(self.nodes) != len(listed):
            twice = sorted({n.name for n in listed if [m.name for m in listed].count(n.name) > 1})
            raise UsageError(f"two nodes are called {twice[0]!r}", "rename one of them")
        for node in listed:
            for need in node.needs:
                if need not in self.nodes:
                    raise UsageError(f"{node.name!r} needs {need!r}, which is no node")
        self._check_circle()

    def _check_circle(self) -> None:
        left = {name: set(node.needs) for name, node in self.nodes.items()}
        while left:
            free = [name for name, needs in left.items() if not needs]
            if not free:
                raise UsageError(
                    f"the nodes {', '.join(sorted(left))} need one another in a circle"
                )
            for name in free:
                del left[name]
            for needs in left.values():
                needs.difference_update(free)


class Run:
    """One execution of a dag: tell it what finished, ask it what is ready. No threads, no clock."""

    def __init__(self, dag: Dag) -> None:
        self._dag = dag
        self.states: dict[str, State] = dict.fromkeys(dag.nodes, "waiting")
        self.values: dict[str, Any] = {}
        self.faults: dict[str, str] = {}

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing will."""
        return not any(state in ("waiting", "running") for state in self.states.values())

    @property
    def settled(self) -> int:
        """How many nodes are through, one way or another."""
        return sum(state not in ("waiting", "running") for state in self.states.values())

    def ready(self) -> list[Node]:
        """The nodes whose needs are all made, in the order given; they count as running now."""
        found = []
        for name, node in self._dag.nodes.items():
            if self.states[name] == "waiting" and all(need in self.values for need in node.needs):
                self.states[name] = "running"
                found.append(node)
        return found

    def inputs(self, node: Node) -> dict[str, Any]:
        """What the node's needs have made."""
        return {need: self.values[need] for need in node.needs}

    def done(self, name: str, value: Any) -> None:
        """A running node has made its value."""
        if self.states[name] == "running":
            self.states[name] = "done"
            self.values[name] = value

    def failed(self, name: str, reason: str) -> list[str]:
        """A node has failed: its fallback stands in, or its branch is skipped.

        Returns:
            the names that are settled by this, the failed one first.
        """
        self.states[name] = "failed"
        self.faults[name] = reason
        settled = [name]
        if not self._stand_in(name):
            settled += self._skip_after(name)
        return settled

    def _stand_in(self, name: str) -> bool:
        node = self._dag.nodes[name]
        if node.fallback is None:
            return False
        known = {need: self.values[need] for need in node.needs if need in self.values}
        try:
            self.values[name] = node.fallback(known)
        except Exception as error:
            self.faults[name] += f"; its fallback too: {type(error).__name__}: {error}"[:200]
            return False
        return True

    def _skip_after(self, name: str) -> list[str]:
        settled: list[str] = []
        for other, node in self._dag.nodes.items():
            if name in node.needs and self.states[other] == "waiting":
                self.states[other] = "skipped"
                self.faults[other] = f"{name} failed"
                settled.append(other)
                if not self._stand_in(other):
                    settled += self._skip_after(other)
        return settled
