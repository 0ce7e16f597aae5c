"""The files of test sets that sacrebleu knows by name, in its own cache.

kdray downloads none: a message names sacrebleu's command for that.
"""

import difflib
from pathlib import Path

from sacrebleu.dataset import DATASETS

from kdray.config.sources import SacrebleuPairs
from kdray.errors import DataError


def sacrebleu_files(source: SacrebleuPairs) -> tuple[Path, Path]:
    """Source and reference of a test set.

    Raises:
        DataError: sacrebleu does not know it, or it is not in sacrebleu's cache.
    """
    name, langpair = source.test_set, source.langpair
    if (known := DATASETS.get(name)) is None:
        close = difflib.get_close_matches(name, DATASETS, n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise DataError(
            f"sacrebleu has no test set {name!r}{hint}; `sacrebleu --list` shows all of them"
        )
    if langpair not in known.langpairs:
        raise DataError(
            f"sacrebleu's {name} has no {langpair}; there are {', '.join(sorted(known.langpairs))}"
        )
    fields = known.fieldnames(langpair)
    references = [field for field in fields if field.startswith("ref")]
    chosen = references[:1] if source.reference == "ref" else [source.reference]
    if not set(chosen) <= set(references):
        raise DataError(
            f"sacrebleu's {name}, {langpair}: no reference {source.reference!r}; there are "
            f"{', '.join(references)}"
        )
    place_of = known._get_txt_file_path  # what there is in public downloads
    files = [Path(place_of(langpair, field)) for field in ("src", *chosen)]  # type: ignore[no-untyped-call]
    for file in files:
        if not file.is_file():
            raise DataError(
                f"{file}: does not exist; run `sacrebleu --download {name} -l {langpair}` where "
                "there is a network, which puts it there; SACREBLEU names another cache folder"
            )
    return files[0], files[1]
