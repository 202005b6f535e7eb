"""``SHA256SUMS``: the digest of each file's bytes, so that ``sha256sum --check`` works without this tool."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from poisongen.disk import folder_path

_ALGORITHM = "sha256:"
_LINE = re.compile(r"([0-9a-f]{64})  (.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Sums:
    """Path → ``sha256:<hex>`` of its bytes; ``fault``: what is wrong with the file itself, in words, None for
    one that is as it should be. Behind a line that cannot be read nothing is known."""

    digests: Mapping[str, str]
    fault: str | None = None


def sums_text(digests: Mapping[str, str]) -> str:
    """The file's text as sha256sum writes it, sorted by path."""
    return "".join(f"{digest.removeprefix(_ALGORITHM)}  {path}\n" for path, digest in sorted(digests.items()))


def parse_sums(text: str) -> Sums:
    """What a file says; a stranger may have written it."""
    digests: dict[str, str] = {}
    for line in text.split("\n")[:-1]:
        found = _LINE.fullmatch(line)
        unreadable = Sums(digests, f"a line cannot be read: {line[:100]!r}")
        if found is None:
            return unreadable
        try:
            path = folder_path(found[2])
        except ValueError:
            return unreadable
        digests[path] = _ALGORITHM + found[1]
    if sums_text(digests) != text:
        return Sums(digests, "the lines are not sorted, or one stands twice")
    return Sums(digests)
