import math

import pytest
import yaml
from huggingface_hub import ModelCard

from transfer.reporting.front_matter import dataset_name, front_matter

SCORES = {"accuracy": "0.98", "accuracy_low": "0.95", "brier": "0.01423", "roc_auc": "nan"}
HOSTILE = [
    'a: b # c\n---\n"license": mit',
    "- '\"{[&*!|>%@`",
    "yes",
    "1e3",
    "null",
    "\x1b[31m\u2028 Katzen 猫",
]


def facts(source="https://host/pets.zip", **more):
    scores = {name: {"head": "0.5", "fine-tuned": value} for name, value in SCORES.items()}
    return {"source": source, "params": {"backbone": "MobileNetV2"}, "scores": scores} | more


def card(facts):
    return ModelCard(front_matter(facts) + "# A title\n")


def test_the_hubs_own_library_reads_the_test_results_and_writes_the_same_bytes():
    read = card(facts())
    assert (read.data.library_name, read.data.pipeline_tag) == ("keras", "image-classification")
    assert read.data.license is None  # unknown
    assert read.data.model_name == "MobileNetV2 on pets.zip"
    results = {result.metric_type: result for result in read.data.eval_results}
    assert {name: result.metric_value for name, result in results.items()} == {
        "accuracy": 0.98,
        "brier_score": 0.01423,
    }
    assert read.data.metrics == list(results)
    assert results["accuracy"].dataset_name == "pets.zip"
    assert results["accuracy"].dataset_split == "test"
    assert str(read) == front_matter(facts()) + "# A title\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_outside_are_text(name):
    read = card(facts(f"/home/{name}", params={"backbone": name}))
    assert read.text == "\n# A title\n"
    assert read.data.license is None
    assert read.data.tags == ["transfer-learning", name]
    assert {result.dataset_name for result in read.data.eval_results} == {name}


def test_a_score_that_is_no_number_is_left_out():
    block = yaml.safe_load(front_matter(facts()).strip("-\n"))
    (result,) = block["model-index"][0]["results"]
    assert all(math.isfinite(metric["value"]) for metric in result["metrics"])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("https://host/a/cats.zip?version=2", "cats.zip"),
        ("/home/somebody/pets/", "pets"),
        ("why?/really?", "really?"),
        ("sample", "sample"),
        ("/", "/"),
    ],
)
def test_a_data_set_is_called_by_the_last_part_of_its_source(source, name):
    assert dataset_name(source) == name
