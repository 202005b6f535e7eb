"""The JSON Schemas of a manifest and of a row of ``samples.jsonl``: ``python -m poisongen.format.schema
manifests`` writes them."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from poisongen.format.manifest import Manifest, Row

FILES: dict[str, type[BaseModel]] = {"manifest.schema.json": Manifest, "row.schema.json": Row}


def schema(name: str) -> dict[str, Any]:
    """The schema that is published as ``name``."""
    body = FILES[name].model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_unwrapped(body)}


def _unwrapped(value: Any) -> Any:
    """Descriptions come from docstrings: a paragraph is one line, so that no schema changes where code is
    wrapped elsewhere."""
    if isinstance(value, list):
        return [_unwrapped(one) for one in value]
    if not isinstance(value, dict):
        return value
    unwrapped = {key: _unwrapped(one) for key, one in value.items()}
    if isinstance(unwrapped.get("description"), str):
        unwrapped["description"] = re.sub(r"(?<!\n)\n(?!\n)", " ", unwrapped["description"])
    return unwrapped


def text(name: str) -> str:
    """The file's text."""
    return json.dumps(schema(name), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file in FILES:
        (Path(sys.argv[1]) / file).write_text(text(file), encoding="utf-8")
