"""Every file and folder name that a dataset folder reserves, each once; ``manifests/FORMAT.md`` says what
they hold."""

MANIFEST, SAMPLES, SUMS, CARD = "manifest.json", "samples.jsonl", "SHA256SUMS", "README.md"
"""The files that every finished folder has."""

TRIGGER_ART, DECOY_ART = "trigger.png", "decoy.png"
"""The art that all samples share."""

OWN_ART, MASKS, TRIGGERED = "triggers", "masks", "triggered"
"""Folders: the art of single samples, the trigger masks, the evaluation sets."""

GALLERY, REPORT = "gallery.png", "report.html"
DERIVED = frozenset({GALLERY, REPORT})
"""Pictures for people that may be added to a finished folder."""

LOCK, PLAN, JOURNAL, CONTENT = ".lock", ".plan.json", ".journal.jsonl", "content"
"""What lies in ``OUT.partial`` while a folder is written."""

DESCRIPTION = "classes.json"
"""Describes a source of the layout ``folder``, and every copy of it."""

RESERVED = frozenset(
    {MANIFEST, SAMPLES, SUMS, CARD, TRIGGER_ART, DECOY_ART, OWN_ART, MASKS, TRIGGERED, DESCRIPTION, *DERIVED}
)
"""First parts of paths that a source may not use for its own files."""


def set_folder(name: str) -> str:
    """Where an evaluation set lies; also what a manifest's counts call it."""
    return f"{TRIGGERED}/{name}"


def prefix(set_name: str | None) -> str:
    """What the paths of an evaluation set start with; nothing for the folder's own samples (None)."""
    return f"{set_folder(set_name)}/" if set_name else ""


def own_art(sample_id: str) -> str:
    """Where the trigger art of this very sample lies."""
    return f"{OWN_ART}/{sample_id}.png"
