"""The code of a student in MLflow: sentences in, translations out.

MLflow stores this file beside the student and runs it wherever the model is loaded, so it needs
what the model's requirements name and nothing of kdray. It is not imported by the package.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import ctranslate2
import sentencepiece
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

EOS = "</s>"


class Translator(PythonModel):  # type: ignore[misc]
    """A student in CTranslate2's form, with its SentencePiece models and how it is to decode."""

    def load_context(self, context: Any) -> None:  # noqa: ANN401 (mlflow's PythonModelContext)
        """Load what stands in the folder `student`."""
        folder = Path(context.artifacts["student"])
        self.decoding = json.loads((folder / "decoding.json").read_text(encoding="utf-8"))
        joint = folder / "joint.model"
        sides = (joint, joint) if joint.exists() else (folder / "src.model", folder / "tgt.model")
        self.src, self.tgt = (
            sentencepiece.SentencePieceProcessor(model_file=str(side)) for side in sides
        )
        self.student = ctranslate2.Translator(str(folder / "model"))

    def predict(self, model_input: list[str], params: dict[str, Any] | None = None) -> list[str]:
        """Translate sentences, with the beam that the study judged the student with.

        Raises:
            ValueError: a sentence has more pieces than the student has positions.
        """
        how, by_length = self.decoding, defaultdict[int, list[int]](list)
        pieces = [[*self.src.id_to_piece(self.src.encode(text)), EOS] for text in model_input]
        for row, sentence in enumerate(pieces):
            if len(sentence) > how["positions"]:
                raise ValueError(
                    f"sentence {row + 1} has {len(sentence)} pieces, and the student reads at most "
                    f"{how['positions']}; split it"
                )
            by_length[len(sentence)].append(row)
        translations = [""] * len(pieces)
        for length, rows in by_length.items():
            found = self.student.translate_batch(
                [pieces[row] for row in rows],
                beam_size=how["beam"],
                length_penalty=how["length_penalty"],
                max_decoding_length=min(
                    int(how["max_length_ratio"] * length) + how["max_length_slack"],
                    how["positions"],
                ),
                max_input_length=0,
                max_batch_size=4096,
                batch_type="tokens",
                suppress_sequences=[["<pad>"], ["<s>"]],
                disable_unk=True,
            )
            for row, output in zip(rows, found, strict=True):
                ids = [self.tgt.piece_to_id(piece) for piece in output.hypotheses[0]]
                translations[row] = self.tgt.decode(ids)
        return translations


set_model(Translator())
