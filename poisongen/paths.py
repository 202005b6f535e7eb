"""Paths as the folder's format allows them."""


def folder_path(text: str) -> str:
    """A path that stays inside the folder, unchanged; ValueError for any other.

    Relative, with ``/``, without ``..``, backslash, drive, empty or ``.`` parts and characters that do not print.
    """
    parts = text.split("/")
    if (
        len(text) > 1024
        or not text.isprintable()
        or "\\" in text
        or ":" in parts[0]
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise ValueError(f"the path {text[:80]!r} is not a plain relative path inside the folder")
    return text
