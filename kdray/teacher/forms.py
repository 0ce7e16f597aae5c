"""Opening stored distributions by their form."""

from pathlib import Path

from kdray.schema import Form
from kdray.teacher.hidden import Hidden
from kdray.teacher.sampled import Sampled
from kdray.teacher.stored import Stored
from kdray.teacher.topk import TopK


def load_distributions(form: Form, folder: Path) -> Stored:
    """Map stored distributions.

    Raises:
        DataError: an array is missing or damaged, or they do not fit together.
    """
    match form:
        case Form.TOPK:
            return TopK.load(folder)
        case Form.SAMPLED:
            return Sampled.load(folder)
        case Form.HIDDEN:
            return Hidden.load(folder)
        case Form.ONLINE:
            raise AssertionError("an online teacher stores nothing")
