"""What ``molflt data check`` and ``describe`` say of a file."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Range:
    """Smallest, mean and largest of a stream of numbers."""

    minimum: float = float("inf")
    mean: float = 0.0
    maximum: float = float("-inf")
    count: int = 0

    def add(self, value: float) -> None:
        """Take one more number into account."""
        self.count += 1
        self.mean += (value - self.mean) / self.count
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)

    def __str__(self) -> str:
        return f"{self.minimum:.6g} to {self.maximum:.6g}, mean {self.mean:.6g}"


@dataclass
class Report:
    """What a file holds.

    Args:
        path: The file.
        format: Its format.
        targets: What its labels are, in words.
        num_structures: Structures that could be read.
        atoms: Atoms of a structure.
        elements: Structures with each element, by symbol.
        pbc: Structures by periodic directions, such as ``"T T F"``.
        tags: Atoms by tag (-1: none).
        num_fixed: Atoms held during relaxation.
        labels: Range of each label in its unit; forces by their norm per atom, stress
            by its components.
        num_defects: Records that cannot be used.
        defects: The first of them, one sentence each.
        warnings: What may be wrong, one sentence each.
    """

    path: str
    format: str
    targets: list[str]
    num_structures: int = 0
    atoms: Range = field(default_factory=Range)
    elements: dict[str, int] = field(default_factory=dict)
    pbc: dict[str, int] = field(default_factory=dict)
    tags: dict[int, int] = field(default_factory=dict)
    num_fixed: int = 0
    labels: dict[str, Range] = field(default_factory=dict)
    num_defects: int = 0
    defects: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-like types."""
        fields = asdict(self)
        return fields | {"tags": {str(tag): n for tag, n in self.tags.items()}}

    def rows(self) -> list[tuple[str, str]]:
        """Return what `describe` prints: pairs of name and text."""
        labels = [(f"label {name}", str(span)) for name, span in self.labels.items()]
        tags = {tag: n for tag, n in self.tags.items() if tag != -1}
        return [
            ("file", self.path),
            ("format", self.format),
            *(("target", words) for words in self.targets),
            ("structures", f"{self.num_structures:,}"),
            ("atoms", str(self.atoms) if self.num_structures else "none"),
            ("elements", _counted(self.elements)),
            ("periodic", _counted(self.pbc)),
            ("tags", _counted(tags) if tags else "none"),
            ("fixed atoms", f"{self.num_fixed:,}"),
            *labels,
        ]


def _counted(counts: dict[Any, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items()) or "none"
