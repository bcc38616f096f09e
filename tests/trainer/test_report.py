"""Every figure of the report stands with its interval, in HTML and in Markdown alike."""

from trainer import markdown, page
from trainer.evaluate import Evaluation, Production, Slice
from trainer.facts import Facts

from .conftest import WORDS

PRODUCTION = Production(
    samples=60,
    prior=dict.fromkeys(WORDS, (0.161, 0.152, 0.173)),
    text_drift_auc=(0.611, 0.582, 0.643),
    class_divergence=(0.021, 0.012, 0.033),
    labelled=40,
    accuracy=(0.811, 0.702, 0.903),
)
MODEL = Evaluation(
    items=120,
    table="",
    intervals=dict.fromkeys(("accuracy", "macro_f1", "weighted_f1", *WORDS), (0.712, 0.693, 0.734)),
    confusion=[[20] * 6] * 6,
    ece=(0.051, 0.032, 0.074),
    brier=(0.412, 0.383, 0.444),
    bins=[(0.5, 0.6, 120)],
    slices=[
        Slice(
            name="length",
            value="middle",
            items=30,
            accuracy=(0.655, 0.611, 0.688),
            macro_f1=(0.633, 0.577, 0.666),
        )
    ],
    messages_a_second=100.0,
)
FACTS = Facts(
    student="abc",
    selection="seed",
    verdict="promote",
    version=None,
    settings={},
    steps=[],
    policy={
        "temperature": 1.0,
        "thresholds": dict.fromkeys(WORDS, 0.9),
        "accepted": {"seed": {}, "calibrated": {}},
    },
    production=PRODUCTION,
    curves={"student": [{"epoch": 1.0, "eval_macro_f1": 0.7}]},
    ablation={},
    before=None,
    after=MODEL,
    comparison=None,
)


def test_every_figure_stands_with_its_interval() -> None:
    figures = [MODEL.ece, MODEL.brier, MODEL.slices[0].accuracy, MODEL.slices[0].macro_f1]
    figures += [*MODEL.intervals.values(), PRODUCTION.class_divergence]
    figures += [each for each in (PRODUCTION.text_drift_auc, PRODUCTION.accuracy) if each]
    for written in (page.page(FACTS), markdown.markdown(FACTS)):
        for value, low, high in figures:
            assert f"{value} ({low} to {high})" in written
        assert all(f"{name} 16.1% (15.2% to 17.3%)" in written for name in WORDS)
        assert "weighted-F1" in written
