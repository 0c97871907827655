"""Corrections of test images change the score, and everything says so."""

import json

import pytest

from tests.helpers.repository import ran
from transfer.core.files import read_csv


@pytest.mark.slow
def test_scores_by_the_labels_before_and_after_corrections_are_reported(repository):
    folder = repository.folder
    before = json.loads((folder / "metrics/evaluate.json").read_text())
    assert "corrected_labels" not in before
    assert "corrections.csv" not in (folder / "plots/report.html").read_text()
    manifest = {row["path"]: row for row in read_csv(folder / "data/split/manifest.csv")}
    cats = [p for p, row in manifest.items() if (row["split"], row["label"]) == ("test", "cats")]
    relabelled, left_out, *_ = cats
    with (folder / "corrections.csv").open("a") as file:
        for path, new in ((relabelled, "dogs"), (left_out, "exclude")):
            file.write(f"{manifest[path]['sha256']},{path},cats,{new},Eva,unsure\n")
    output = repository.dvc("repro")
    assert ran(output) == ["split", "train_head", "fine_tune", "evaluate", "plot"]

    after = {row["path"]: row for row in read_csv(folder / "data/split/manifest.csv")}
    manifest[relabelled]["label"] = "dogs"
    del manifest[left_out]
    assert after == manifest
    by_path = {row["path"]: row for row in read_csv(folder / "metrics/predictions.csv")}
    assert len(by_path) == 7 and by_path[relabelled]["label"] == "dogs"
    by_path[relabelled] |= {"label": "cats"}
    given = sum(row["label"] == row["prediction"] for row in by_path.values()) / 7
    scores = json.loads((folder / "metrics/evaluate.json").read_text())
    assert (scores["corrected_labels"], scores["excluded_images"]) == (1, 1)
    assert scores["accuracy_given_labels"] == round(given, 5) != scores["accuracy"]
    assert f"accuracy by the labels as given {given:.4f}" in output
    for name in ("plots/report.html", "models/model_card.md"):
        text = " ".join((folder / name).read_text().replace("`", "").split())
        text = text.replace("<code>", "").replace("</code>", "")
        assert (
            "corrections.csv changes the labels of 1 of the test images and leaves out 1 more; by "
            f"the labels as they were given, the accuracy is {100 * given:.1f} %."
        ) in text, name
    assert "excluded by corrections.csv: unsure" in (folder / "plots/report.html").read_text()
    assert "(unreadable, excluded)" in (folder / "models/model_card.md").read_text()
