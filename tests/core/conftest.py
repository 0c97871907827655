import pytest
import yaml

from tests.helpers.project import PROJECT
from transfer.core.params_file import load_params

DEFAULTS = yaml.safe_load((PROJECT / "params.yaml").read_text())


@pytest.fixture
def load(tmp_path):
    """Return a function that loads params.yaml with other values, or without some."""

    def load(without=(), **changes):
        values = {key: v for key, v in (DEFAULTS | changes).items() if key not in without}
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(values))
        return load_params(path)

    return load
