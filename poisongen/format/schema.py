"""The JSON Schemas of a manifest and of a row of ``samples.jsonl``: ``python -m poisongen.format.schema
manifests`` writes them."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from poisongen.format.manifest import Manifest, Row

FILES: dict[str, type[BaseModel]] = {"manifest.schema.json": Manifest, "row.schema.json": Row}


def schema(name: str) -> dict[str, Any]:
    """The schema that is published as ``name``."""
    body = FILES[name].model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body}


def text(name: str) -> str:
    """The file's text."""
    return json.dumps(schema(name), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file in FILES:
        (Path(sys.argv[1]) / file).write_text(text(file), encoding="utf-8")
