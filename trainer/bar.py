"""The bar of a fit, on standard error."""

from typing import Any, Final

from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments

SHOWN: Final = "eval_macro_f1"  # of what `Trainer` logs


class Bar(ProgressCallback):
    """`Trainer`'s own, which would write all that is logged to standard output.

    A command's account of its stages stands there, and the report draws what was logged.
    """

    training_bar: Any  # of the first process alone, and while it fits

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002  (TrainerCallback's signature)
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, float] | None = None,
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Show how well the model did when it was last looked at."""
        if self.training_bar is not None and logs and SHOWN in logs:
            self.training_bar.set_postfix({"macro-F1": f"{logs[SHOWN]:.3f}"})
