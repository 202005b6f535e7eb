"""The settings that a command line asks for."""

from collections.abc import Iterable, Mapping

from trainer.config import Config, load
from trainer.dataset.folder import Folder
from trainer.errors import SettingError
from trainer.presets import presets


def configure(
    folder: Folder, preset: str | None, settings: Iterable[str], options: Mapping[str, str | None]
) -> Config:
    """The preset, then ``--set`` (texts key=value), then the options of their own. Raises SettingError."""
    changes = dict(key_and_value(setting) for setting in settings)
    changes |= {key: value for key, value in options.items() if value is not None}
    if preset or folder.dataset in presets():
        return load(preset or folder.dataset, changes)
    # Somebody's own data: the defaults, but boxes of Cityscapes would be mostly empty around smaller
    # pictures.
    default_height, default_width = load("default", {}).crop
    height = min(default_height, max(row.height for row in folder.training))
    width = min(default_width, max(row.width for row in folder.training))
    return load("default", {"crop": f"{height}x{width}"} | changes)


def key_and_value(setting: str) -> tuple[str, str]:
    """The two sides of key=value. Raises SettingError."""
    key, equals, value = setting.partition("=")
    if not equals:
        raise SettingError("A setting has no value.", expected="--set key=value", found=f"--set {setting}")
    return key.strip(), value.strip()
