"""Every figure of the report stands with its interval, in HTML and in Markdown alike."""

from trainer import markdown, page
from trainer.evaluate import Evaluation, Slice
from trainer.facts import Facts, Step
from trainer.production import Production, Served

from .conftest import WORDS

PRODUCTION = Production(
    samples=60,
    prior=dict.fromkeys(WORDS, (0.161, 0.152, 0.173)),
    text_drift_auc=(0.611, 0.582, 0.643),
    class_divergence=(0.021, 0.012, 0.033),
)
SERVED = [
    Served(version="v3", samples=60, labelled=0, of_random=0, accuracy=None),
    Served(version="v2", samples=90, labelled=40, of_random=12, accuracy=(0.811, 0.702, 0.903)),
    Served(version="v1", samples=50, labelled=7, of_random=7, accuracy=None),
]
MODEL = Evaluation(
    items=120,
    table="",
    intervals=dict.fromkeys(("accuracy", "macro_f1", "weighted_f1", *WORDS), (0.712, 0.693, 0.734)),
    classes={
        "precision": dict.fromkeys(WORDS, (0.501, 0.402, 0.603)),
        "recall": dict.fromkeys(WORDS, (0.251, 0.152, 0.353)),
    },
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
    served=SERVED,
    curves={"student": [{"epoch": 1.0, "eval_macro_f1": 0.7}]},
    ablation={},
    gain={},
    before=None,
    after=MODEL,
    comparison=None,
)


def test_every_figure_stands_with_its_interval() -> None:
    figures = [MODEL.ece, MODEL.brier, MODEL.slices[0].accuracy, MODEL.slices[0].macro_f1]
    drift = (PRODUCTION.text_drift_auc, PRODUCTION.class_divergence)
    figures += [*MODEL.intervals.values(), *filter(None, (*drift, SERVED[1].accuracy))]
    for written in (page.page(FACTS), markdown.markdown(FACTS)):
        for value, low, high in figures:
            assert f"{value} ({low} to {high})" in written
        assert all(f"{name} 16.1% (15.2% to 17.3%)" in written for name in WORDS)
        assert "weighted-F1" in written


def test_each_emotion_has_its_precision_recall_f1_and_support_beside_the_averages() -> None:
    """A row a class of the seed's table, for the champion as for the student."""
    counts = [[20 if row == column else 1 for column in range(6)] for row in range(6)]
    counts[0] = [5, 15, 0, 0, 0, 0]
    model = MODEL.model_copy(update={"confusion": counts})
    both = FACTS.model_copy(update={"after": model, "before": model})
    interval = "0.712 (0.693 to 0.734)"
    first = ("분노", "0.501 (0.402 to 0.603)", "0.251 (0.152 to 0.353)", interval, "20")
    averages = [(name, "", "", interval, "145") for name in ("macro-F1", "weighted-F1", "accuracy")]
    html, card = page.page(both), markdown.markdown(both)
    for row in (("emotion", "precision", "recall", "F1", "support"), first, *averages):
        cell = "th" if row[0] == "emotion" else "td"
        cells = "".join(f"<{cell}>{each}</{cell}>" for each in row)
        assert html.count(f"<tr>{cells}</tr>") == 2
        assert card.count(f"| {' | '.join(row)} |") == 2
    for name in ("champion", "student"):
        assert f"<h3>Each emotion: {name}</h3>" in html
        assert f"### Each emotion: {name}" in card


def test_the_ablation_says_whether_pseudo_labels_helped() -> None:
    gain = {"seed": (0.021, 0.012, 0.033), "calibrated": (-0.021, -0.033, -0.012)}
    made = FACTS.model_copy(update={"ablation": {"none": MODEL}, "gain": gain})
    lines = [
        "seed: pseudo-labels helped: macro-F1 +0.021 (+0.012 to +0.033) over labels of people",
        "calibrated: pseudo-labels hurt: macro-F1 -0.021 (-0.033 to -0.012) over labels of people",
    ]
    for written in (page.page(made), markdown.markdown(made)):
        assert all(line in written for line in lines)
    unsure = made.model_copy(update={"gain": {"seed": (0.021, -0.012, 0.033)}})
    assert "seed: pseudo-labels made no difference that shows" in markdown.markdown(unsure)


def test_each_stage_stands_with_its_fingerprint_and_what_it_was_made_from() -> None:
    step = Step(
        stage="compare",
        folder="0123456789abcdef",
        fingerprint="0123456789abcdef" + "0" * 48,
        parents=("evaluate/aa", "finetune/bb/model"),
        numbers={"detectable": 0.05},
        offsets={},
    )
    cells = ["compare", "0123456789abcdef", "evaluate/aa, finetune/bb/model", "detectable 0.05"]
    made = FACTS.model_copy(update={"steps": [step]})
    assert f"| {' | '.join(cells)} |" in markdown.markdown(made)
    assert "".join(f"<td>{each}</td>" for each in cells) in page.page(made)
    before = step.model_dump(exclude={"parents"})  # as facts were kept before parents were
    assert Step.model_validate(before).parents == ()


def test_the_report_says_of_each_model_how_many_labels_its_accuracy_is_from() -> None:
    told = [
        ("the champion before this run, v3", "no human labels of its answers yet"),
        ("another model, v2", "0.811 (0.702 to 0.903) from 40 human labels (12 of the random"),
        ("another model, v1", "7 human labels (7 of the random stratum) are too few; 30 are"),
    ]
    lines = [f"accuracy of {name}, over all messages: {said}" for name, said in told]
    for written in (page.page(FACTS), markdown.markdown(FACTS)):
        assert all(line in written for line in lines)
    without = markdown.markdown(FACTS.model_copy(update={"production": None}))
    assert lines[1] in without
    assert "no new review samples" in without
