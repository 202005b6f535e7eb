"""Which stages there are, which of them fit into the time that is left, and how much of it each is given."""

from collections.abc import Sequence
from dataclasses import dataclass

ENVIRONMENT, STREETS, TABLE = "environment", "streets", "table"


@dataclass(frozen=True)
class Sizes:
    """How large the work is: full on a GPU; tiny elsewhere, where no figure means anything."""

    torchvision_model: str  # beside the two SwiftNets
    pictures: int  # of a training that is repeated
    epochs: int
    settings: tuple[str, ...]  # beside those of the preset for streets
    drawn: tuple[int, int]  # height and width of the streets that speeds are measured on
    names: int  # of training pictures: a drawn one has several
    crop: int
    batch: int
    rounds: int
    turn_seconds: float  # that a source is timed in a round
    threads: int  # of a CPU, when speeds are measured; 0: all cores


FULL = Sizes("deeplabv3-resnet50", 48, 10, (), (1024, 2048), 64, 768, 14, 5, 2.0, 0)
# In bfloat16, crops this small give NaN now and then, and other bits each time, with a pyramid on a CPU.
TINY = Sizes(
    "lraspp-mobilenetv3",
    16,
    4,
    ("crop=32x64", "batch=4", "precision=float32"),
    (64, 128),
    4,
    32,
    2,
    1,
    0.05,
    1,
)


def sizes_for(device: str) -> Sizes:
    """Full sizes for a GPU only."""
    return FULL if device.startswith("cuda") else TINY


@dataclass(frozen=True)
class Planned:
    """A stage: ``action`` and ``argument`` say what its process does.

    It needs ``least`` seconds to prove anything; of what nobody needs, it may take its ``share``. Where not
    all fit, stages of a small ``rank`` are chosen first. The stage ``needs`` must be done before.
    """

    name: str
    action: str
    argument: str
    least: float
    share: int
    rank: int
    needs: str = ENVIRONMENT


def stages_for(sizes: Sizes, with_table: bool) -> list[Planned]:
    """All stages in the order in which they run: the cheapest proofs first."""
    models = ("swiftnet", "swiftnet-pyramid", sizes.torchvision_model)
    stages = [
        Planned(ENVIRONMENT, "environment", "", 15, 1, 0, needs=""),
        *(Planned(f"repeats: {model}", "repeats", model, 40, 1, 1) for model in models),
        Planned(STREETS, "streets", "", 25, 1, 2),
        Planned("speed: exact kernels", "speed", "exact", 30, 2, 2, needs=STREETS),
        Planned("speed: free kernels", "speed", "free", 30, 2, 4, needs=STREETS),
        Planned("compiled: exact kernels", "speed", "exact compiled", 60, 3, 5, needs=STREETS),
        Planned("compiled: free kernels", "speed", "free compiled", 60, 3, 6, needs=STREETS),
    ]
    if with_table:
        stages.append(Planned(TABLE, "table", "", 120, 12, 3))
    return stages


def only(stages: Sequence[Planned], beginnings: Sequence[str]) -> list[Planned]:
    """Those stages whose names begin in one of these ways, and what they need."""
    wanted = {stage.name for stage in stages if stage.name.startswith(tuple(beginnings))}
    for stage in reversed(stages):  # what is needed stands before what needs it
        if stage.name in wanted:
            wanted.add(stage.needs)
    return [stage for stage in stages if stage.name in wanted]


def chosen(stages: Sequence[Planned], left: float) -> list[Planned]:
    """Those stages that fit into the seconds that are left, in the order given."""
    fitting: list[Planned] = []
    for stage in sorted(stages, key=lambda each: each.rank):  # stable: within a rank, the order given
        if sum(each.least for each in (*fitting, stage)) <= left:
            fitting.append(stage)
    return [stage for stage in stages if stage in fitting]


def allotted(stages: Sequence[Planned], left: float) -> float | None:
    """The seconds that the first of the remaining stages may take, or None if it has to be skipped.

    What a stage leaves unused is shared out anew.
    """
    first, fitting = stages[0], chosen(stages, left)
    if first not in fitting:
        return None
    spare = left - sum(stage.least for stage in fitting)
    shares = sum(stage.share for stage in fitting) or 1
    return first.least + spare * first.share / shares
