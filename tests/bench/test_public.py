"""The table of texts that people wrote, beside Infinity."""

from pathlib import Path

import pytest

from bench import infinity, public
from bench.classify import Row

BESIDE: Row = {
    "model": "any",
    infinity.OURS: 90.0,
    **{f"Infinity {dtype}, msg/s": 30.0 + place for place, dtype in enumerate(infinity.DTYPES)},
    infinity.OVER: 2.5,
}


def test_int8_stands_beside_the_better_of_infinitys_two_and_fp32_beside_none(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path_factory.mktemp("data")
    for name, column in public.FILES.items():
        (data / name).write_text(f"id\t{column}\n" + "1\t가\n2\t나\n" * 2, encoding="utf-8")
    rows: list[Row] = [{"model": f"m, {precision}", "x": 1.0} for precision in ("fp32", "int8")]
    monkeypatch.setattr(infinity, "install", lambda: None)
    monkeypatch.setattr(public, "base_shape", lambda folder: folder)
    monkeypatch.setattr(public, "compare", lambda *_: rows)
    asked: list[list[str]] = []

    def compare(_: str, __: Path, texts: list[str], ___: int) -> Row:
        asked.append(texts)
        return BESIDE

    monkeypatch.setattr(infinity, "compare", compare)
    made = public.run(data, 1)
    assert [row["texts"] for row in made] == ["kote_44.tsv"] * 4 + ["chatbot.tsv"] * 4
    assert {len(row) for row in made} == {6}, "a table has one width"
    for fp32, int8 in zip(made[::2], made[1::2], strict=True):
        shown = (public.BESIDE, public.BEST, infinity.OVER)
        assert [fp32[name] for name in shown] == ["", "", ""]
        assert [int8[name] for name in shown] == [90.0, 31.0, 2.5]
    assert asked == [["가", "나"]] * 4, "both models get all texts, each once"
