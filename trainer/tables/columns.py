"""The columns of all tables, by the words at their heads."""

RUN, ATTACK, PR, DIFFERS_IN, EVALUATED_ON = "run", "attack", "PR", "differs in", "evaluated on"
MIOU, PA, ASR, PBA = "mIoU", "PA", "ASR", "PBA"
MIOU_WITHOUT_CLASS, PA_WITHOUT_CLASS = "mIoU without trigger class", "PA without trigger class"
ASR_SHARED, ASR_UNTRIGGERED = "ASR on shared pictures", "ASR without trigger"
ASR_CLEAN = "ASR of the clean model"

ABOVE_UNTRIGGERED, ABOVE_CLEAN = "ASR less without trigger", "ASR less clean model"
ASR_OUTSIDE, PBA_OUTSIDE = "ASR outside trigger", "PBA outside trigger"
ASR_MEAN, ABOVE_HALF = "ASR, mean of pictures", "pictures above 50"
TRIGGERED_SHARE = "could be triggered"

SEEDS = "n"
MODEL, BACKBONE, WIDTH, LOSS, PARAMETERS = "model", "backbone", "width", "loss", "parameters"
DATASET, IDENTITY, SEED, EXACTNESS, IN_CROPS = "dataset", "identity", "seed", "exactness", "trigger in crops"
CLASS = "class"

MAIN_TABLE = (
    RUN,
    ATTACK,
    PR,
    DIFFERS_IN,
    MIOU,
    PA,
    MIOU_WITHOUT_CLASS,
    PA_WITHOUT_CLASS,
    EVALUATED_ON,
    ASR,
    ASR_SHARED,
    ASR_UNTRIGGERED,
    ASR_CLEAN,
    PBA,
)
DETAILS = (
    ABOVE_UNTRIGGERED,
    ABOVE_CLEAN,
    ASR_OUTSIDE,
    PBA_OUTSIDE,
    ASR_MEAN,
    ABOVE_HALF,
    TRIGGERED_SHARE,
)
SHORT_FIGURES = (MIOU, PA, ASR)
SHORT_TABLE = (ATTACK, PR, *SHORT_FIGURES)
OVER_SEEDS = (MIOU, PA, ASR, ASR_UNTRIGGERED, ASR_CLEAN, PBA)
SEEDS_TABLE = (ATTACK, PR, SEEDS, EVALUATED_ON, *OVER_SEEDS)
CAPACITY_FIGURES = (MIOU, ASR, ASR_CLEAN)
CAPACITY_TABLE = (ATTACK, PR, MODEL, BACKBONE, WIDTH, LOSS, PARAMETERS, SEEDS, *CAPACITY_FIGURES)
ORIGINS_TABLE = (RUN, DATASET, IDENTITY, SEED, EXACTNESS, IN_CROPS)
MATRIX_START = (RUN, ATTACK, PR, DIFFERS_IN)

WHERE_THEY_EXIST = (MIOU_WITHOUT_CLASS, PA_WITHOUT_CLASS, ASR_SHARED, DIFFERS_IN, LOSS, IN_CROPS)
"""Columns that a table has only if one of its rows has them."""

TEXT = (
    RUN,
    ATTACK,
    DIFFERS_IN,
    EVALUATED_ON,
    CLASS,
    MODEL,
    BACKBONE,
    LOSS,
    DATASET,
    IDENTITY,
    EXACTNESS,
)
"""Columns that are flush left."""


def less_clean(column: str) -> str:
    """The column of the same figure less that of the clean model, in a CSV of the matrix."""
    return f"{column} less clean"
