"""The rows of tables 1, 2, 3 and 5 that are trained, and what each builds on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StudyRow:
    """A row of a table, trained with one seed.

    Attributes:
        name: of its configuration.
        seed: of the run.
        proposals: key of the row whose proposals it is trained and scored on.
        init: key of the row whose weights it starts from.
    """

    name: str
    seed: int = 0
    proposals: str | None = None
    init: str | None = None

    @property
    def key(self) -> str:
        """What names its folder and its JSON."""
        return f"{self.name}-s{self.seed}"

    def builds_on(self) -> list[str]:
        """The keys of the rows that must be there first."""
        return [key for key in (self.proposals, self.init) if key]


# Extra seeds come last, for the rows that carry the claim: the pyramid against its two baselines, and, with the same
# proposals for all, against one map. Table 3 (c) is table 2 (c).
ROWS = (
    *(StudyRow(f"table1{row}") for row in "cabdef"),
    *(StudyRow(f"table2{row}", proposals="table1c-s0") for row in "cabdef"),
    *(StudyRow(f"table3{row}", proposals=f"table1{row}-s0") for row in "ab"),
    StudyRow("table5-step3", init="table2c-s0"),
    StudyRow("table5-step4", init="table5-step3-s0", proposals="table5-step3-s0"),
    StudyRow("table5-joint"),
    *(StudyRow(f"table1{row}", seed) for seed in (1, 2) for row in "cab"),
    *(StudyRow(f"table2{row}", seed, proposals="table1c-s0") for seed in (1, 2) for row in "cb"),
)
