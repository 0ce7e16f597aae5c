"""A model of Hugging Face as torch reads it: no code of its folder is run, nothing is unpickled."""

from pathlib import Path
from typing import Any

import torch

from kdray.errors import DataError
from kdray.teacher.huggingface.folder import check_architecture

CLASSES = {
    "marian": "MarianMTModel",
    "m2m_100": "M2M100ForConditionalGeneration",
    "mbart": "MBartForConditionalGeneration",
    "t5": "T5ForConditionalGeneration",
    "mt5": "MT5ForConditionalGeneration",
    "pegasus": "PegasusForConditionalGeneration",
}


def load_torch(folder: Path) -> Any:  # noqa: ANN401 (a model of transformers)
    """The model of a folder in float32, in evaluation mode on the CPU.

    Its class is chosen here by its type, weights are read as safetensors, or else with
    `weights_only`.

    Raises:
        DataError: weights are missing, are not those of the architecture, or cannot be read.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    name = CLASSES[check_architecture(folder)]
    try:
        model, report = getattr(transformers, name).from_pretrained(
            str(folder),
            dtype=torch.float32,
            local_files_only=True,
            weights_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # of several packages, it may be anything
        raise DataError(
            f"{folder}: cannot be read as {name}: {type(error).__name__}: {error}"
        ) from None
    for what in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if wrong := sorted(map(str, report.get(what) or ())):
            raise DataError(
                f"{folder}: its weights are not those of a {name}: {len(wrong)} "
                f"{what.replace('_', ' ')}, first {wrong[0]}; bring the folder as it was saved"
            )
    return model.eval().requires_grad_(False)
