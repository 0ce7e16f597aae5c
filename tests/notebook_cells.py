"""The notebooks of the repository, and how tests run one."""

import json
from pathlib import Path

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
COMPARE, SEARCH = NOTEBOOKS  # in the order of their names


def cells(path, kind):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def execute(path, **parameters):
    """Run the code cells in order, parameters after the cell that has their defaults."""
    names = {}
    for cell in cells(path, "code"):
        exec(compile("".join(cell["source"]), f"{path.name}: {cell['id']}", "exec"), names)
        if "parameters" in cell["metadata"].get("tags", []):
            assert parameters.keys() <= names.keys()
            names |= parameters
    return names
