"""Opening stored distributions by their form."""

from pathlib import Path

from kdray.schema import Form
from kdray.teacher.hidden import Hidden
from kdray.teacher.sampled import Sampled
from kdray.teacher.stored import Stored
from kdray.teacher.topk import TopK

LOADERS = {Form.TOPK: TopK.load, Form.SAMPLED: Sampled.load, Form.HIDDEN: Hidden.load}


def load_distributions(form: Form, folder: Path) -> Stored:
    """Map stored distributions; an online teacher stores none.

    Raises:
        DataError: an array is missing or damaged, or they do not fit together.
    """
    return LOADERS[form](folder)
