"""One YAML file: a name, a recipe, an execution, and perhaps a search and exports."""

from typing import Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen, Name
from kdray.config.execution import Execution
from kdray.config.export import ExportConfig, needs_joint
from kdray.config.recipe import Recipe
from kdray.config.search import SearchConfig


class Experiment(Frozen):
    """What a configuration file holds."""

    name: Name
    recipe: Recipe
    execution: Execution = Execution()
    search: SearchConfig | None = None
    exports: dict[Name, ExportConfig] = Field(
        default_factory=dict
    )  # forms in which every student is written

    @model_validator(mode="after")
    def _search_names_methods(self) -> Self:
        for method in self.search.methods if self.search is not None else ():
            if method not in self.recipe.methods:
                raise ValueError(
                    f"search.methods: {method!r} is not a method; "
                    f"there are {', '.join(self.recipe.methods)}"
                )
        for method in self._beside_the_winner():
            if method not in self.recipe.methods:
                raise ValueError(
                    f"search.retrain.beside: {method!r} is not a method; "
                    f"there are {', '.join(self.recipe.methods)}"
                )
        return self

    @model_validator(mode="after")
    def _forms_fit(self) -> Self:
        tokenizer = self.recipe.tokenizer
        for name, config in self.exports.items():
            if needs_joint(config) and tokenizer is not None and not tokenizer.joint:
                raise ValueError(
                    f"exports.{name} ({config.kind}) has one vocabulary for both languages, and "
                    "recipe.tokenizer.joint is false; make it true, or export as ctranslate2"
                )
        return self

    def _beside_the_winner(self) -> tuple[str, ...]:
        retrain = None if self.search is None else self.search.retrain
        return () if retrain is None else retrain.beside or ()
