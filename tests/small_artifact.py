"""An artifact of three small files, for the tests of the store."""

from pathlib import Path

from kdray.artifacts import Key

KEY = Key("corpus", 1, {"seed": 1, "cleaning": {"max": 9, "min": None}}, {"raw": "abc"})


def fill(folder: Path) -> dict[str, int]:
    """Build it."""
    (folder / "table").write_text("0123456789")
    (folder / "inner").mkdir()
    (folder / "inner" / "part").write_text("abc")
    return {"pairs": 10}
