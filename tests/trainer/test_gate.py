"""What the gate does beside comparing: the registry that it leaves is one that can be served."""

from pathlib import Path

from trainer.gate import Outcome
from trainer.recipe import Recipe
from trainer.settings import TrainerSettings
from worker import registry as workers

from .conftest import chat, tsv


def test_what_serves_already_is_written_anew_where_its_files_are_damaged(
    tmp_path: Path, options: TrainerSettings
) -> None:
    changes = {
        "unlabelled": tsv(tmp_path / "unlabelled.tsv", chat(60, 5, "u")),
        "announce": False,
        "ablation": False,
        "epochs": 2,
    }
    given = options.model_copy(update=changes)
    first = Recipe(given, print, {}).run(collecting=False, promoting=True)
    assert isinstance(first, Outcome)
    assert first.promotion is not None
    weights = Path(given.registry) / "maum" / first.promotion.version / "model.safetensors"
    weights.write_bytes(b"")
    again = Recipe(given, print, {}).promote()
    assert again.promotion == first.promotion
    found = workers.resolve(f"registry:{given.registry}#champion")
    assert found.model.version == first.promotion.version
