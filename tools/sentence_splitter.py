"""Writes the splitter of sentences that packages of Argos Translate get, in MiniSBD's form.

    pip install onnx && python -m tools.sentence_splitter

It needs no training: a character ends a sentence if it is a full stop or the like and a space
follows, or a bracket or quotation mark behind one. Characters of kinds are given a vector, one
convolution looks at three of them at a time, and a threshold decides. C kinds, B texts, T
characters; MiniSBD takes the likeliest of five classes, of which 2 is the end of a sentence.
"""

import json

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from kdray.export.argos import SPLITTER

ENDS = ".!?…؟।։።"
"""Signs that end a sentence where a space follows."""
FULL_WIDTH = "。！？｡"
"""Those that end one by themselves."""
CLOSING = "\"'”’»›)]）」』】"
KINDS = (ENDS, FULL_WIDTH, CLOSING, " ")
BEFORE, HERE, BEHIND = (3, 7, 0, 0), (4, 8, 1, 0), (0, -4, -4, 4)
"""What each kind adds for the character behind it, for itself, and for the one before it."""
THRESHOLD = 7.5
CLASSES, END = 5, 2
IMPOSSIBLE = -1e3


def written() -> bytes:
    """The model, with the vocabulary and the settings that MiniSBD reads from it."""
    units = ["<PAD>", "<UNK>", *"".join(KINDS)]
    kinds_VC = np.zeros((len(units), len(KINDS)), dtype=np.float32)
    for number, kind in enumerate(KINDS):
        kinds_VC[[units.index(each) for each in kind], number] = 1
    weights = np.zeros((CLASSES, len(KINDS), 3), dtype=np.float32)
    weights[END] = np.array([BEFORE, HERE, BEHIND]).T
    bias = np.full(CLASSES, IMPOSSIBLE, dtype=np.float32)
    bias[0], bias[END] = THRESHOLD, 0
    nodes = [
        helper.make_node("Gather", ["kinds", "units"], ["found"]),
        helper.make_node("Transpose", ["found"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["columns", "weights", "bias"], ["seen"], pads=[1, 1]),
        helper.make_node("Transpose", ["seen"], ["classes"], perm=[0, 2, 1]),
    ]
    constants = {"kinds": kinds_VC, "weights": weights, "bias": bias}
    graph = helper.make_graph(
        nodes,
        "sentences",
        [
            helper.make_tensor_value_info("units", TensorProto.INT64, ["B", "T"]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["B", "T", "F"]),
        ],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["B", "T", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, producer_name="kdray", ir_version=7, opset_imports=[helper.make_opsetid("", 13)]
    )
    helper.set_model_props(model, _properties(units))
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _properties(units: list[str]) -> dict[str, str]:
    numbers = {unit: number for number, unit in enumerate(units)}
    vocabulary = {"lang": "", "idx": 0, "cutoff": 0, "lower": False}
    vocabulary |= {"_unit2id": numbers, "_id2unit": units}
    config = {"max_seqlen": 1000, "batch_size": 1, "feat_funcs": ["end_of_para"]}
    return {
        "lang_code": "any",
        "config": json.dumps(config),
        "vocab": json.dumps(vocabulary),
        "lexicon": "null",
    }


if __name__ == "__main__":
    SPLITTER.write_bytes(written())
