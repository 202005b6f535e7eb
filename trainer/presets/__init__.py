"""Presets: one TOML file each, a small difference from the defaults of ``config.py``, with its reasons."""

import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def presets() -> list[str]:
    """Names of the presets."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def settings_of_preset(name: str) -> dict[str, Any]:
    """The settings in which the preset ``name`` differs from the defaults."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
