"""Writes the JSON schema by which editors complete and explain the keys of a configuration.

    python -m tools.config_schema

The schema is that of the pydantic models; what a key means is taken from the tables of the
documentation, where it is said once.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdray.config.experiment import Experiment
from kdray.config.shipped import SCHEMA

DOCS = Path(__file__).parents[1] / "docs"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def experiment_schema() -> dict[str, Any]:
    """The schema of a configuration file, with the meaning of each key that has one."""
    schema = Experiment.model_json_schema()
    meanings = dict(documented_keys())
    for name, model in {Experiment.__name__: schema, **schema["$defs"]}.items():
        for key, value in model.get("properties", {}).items():
            if (meaning := meanings.get((name, key))) is not None:
                value["description"] = meaning
    return {"$schema": DIALECT, **schema, "title": "kdray experiment"}


def documented_keys() -> Iterator[tuple[tuple[str, str], str]]:
    """Model and key, and what the tables below `<!-- keys of MODEL -->` say that it means."""
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for comment, table in re.findall(r"^<!-- keys of (.+?) -->\n\n((?:\|.*\n)+)", text, re.M):
            head, _, *rows = [
                [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
                for line in table.splitlines()
            ]
            for row in rows:
                for model in re.findall(r"\w+", comment):
                    cells = dict(zip(head, row, strict=True))
                    yield (model, row[0].strip("`")), cells["meaning"].replace("\\|", "|")


def written() -> str:
    """The schema as the text of its file."""
    return json.dumps(experiment_schema(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(written(), encoding="utf-8")
