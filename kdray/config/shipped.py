"""The experiments that come with the package: `tune_configs/`, beside a schema for editors."""

from pathlib import Path

import kdray

FOLDER = Path(kdray.__file__).parent / "tune_configs"
SCHEMA = FOLDER / "schema.json"


def shipped_or_own(path: Path) -> Path:
    """The file at a path; a `tune_configs/NAME.yaml` that is not there is that of the package."""
    if path.exists() or len(path.parts) != 2 or path.parts[0] != FOLDER.name:
        return path
    shipped = FOLDER / path.name
    return shipped if shipped.exists() else path


def shipped_names() -> list[str]:
    """What the experiments are called."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))
