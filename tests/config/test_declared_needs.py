"""What a method of somebody else says that it needs is looked at before anything is made."""

from typing import Literal

import pytest

from kdray.config.methods.base import BaseMethodConfig
from kdray.config.needs import Needs
from kdray.schema import Form, View

ONLINE = (Form.ONLINE,)


class Saying(BaseMethodConfig):
    kind: Literal["saying"] = "saying"
    how: str

    def needs(self) -> Needs:
        return SAID[self.how]()


def leave():
    raise SystemExit(0)


SAID = {
    "raises": lambda: {}["x"],
    "leaves": leave,
    "none": lambda: None,
    "nowhere": lambda: Needs(views=("nowhere",)),
    "no views": lambda: Needs(views=()),
    "one twice": lambda: Needs(views=(View.REFERENCE, View.REFERENCE)),
    "student": lambda: Needs(views=(View.STUDENT,)),
    "elsewhere": lambda: Needs(distributions={View.HYPOTHESIS: ONLINE}),
    "cake": lambda: Needs(distributions={View.REFERENCE: ("cake",)}),
    "formless": lambda: Needs(distributions={View.REFERENCE: ()}),
    "chooses": lambda: Needs(views=(View.HYPOTHESIS,), chosen_among=1),
    "fine": lambda: Needs(distributions={View.REFERENCE: (Form.TOPK,), View.STUDENT: ONLINE}),
}
TOLD = {
    "raises": "cannot say what it needs: KeyError: 'x'",
    "leaves": "cannot say what it needs: SystemExit: 0",
    "none": "says with needs() None; return a kdray.config.needs.Needs",
    "nowhere": "views ('nowhere',) must be View.REFERENCE, View.HYPOTHESIS or both, each once",
    "no views": "views () must be",
    "one twice": "each once",
    "student": "must be View.REFERENCE, View.HYPOTHESIS or both",
    "elsewhere": "need that view among views",
    "cake": "as ('cake',) must be a tuple of Form",
    "formless": "as () must be a tuple of Form",
    "chooses": "says chosen_among=1, but only the kinds interpolation, multi_hypothesis and scored",
}


@pytest.mark.parametrize("how", TOLD)
def test_what_no_study_can_give_is_refused_with_the_methods_name(load, how) -> None:
    with pytest.raises(ValueError, match=r"^methods\.a \(saying\) ") as caught:
        load().recipe.check_method("a", Saying(how=how))
    assert TOLD[how] in str(caught.value)


def test_what_a_study_can_give_is_taken(load) -> None:
    load("recipe.signals.online=true").recipe.check_method("a", Saying(how="fine"))
