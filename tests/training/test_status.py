import json

from tests.helpers.models import make_classifier, make_split, train
from transfer.core.files import STATUS
from transfer.training import status


def test_a_status_tells_how_far_it_is_and_goes_with_the_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(status, "SECONDS", 0)
    seen, split = [], make_split()

    class Watched(status.Status):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            seen.append(json.loads(STATUS.read_text()))

    callbacks = (Watched("fine_tune", len(split.rows), 4),)
    train(make_classifier(), split, epochs=2, first_epoch=3, callbacks=callbacks)
    first, last = seen[0], seen[-1]
    assert (first["stage"], first["epoch"], first["epochs"]) == ("fine_tune", 3, 4)
    assert first["images"] == 4 and first["of"] == last["images"] == len(split.rows)
    assert first["images_per_second"] > 0 and last["epoch"] == 4
    assert first["seconds_left"] > last["seconds_left"] == 0
    assert not STATUS.exists()


def test_training_goes_on_where_no_status_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    STATUS.mkdir()
    (STATUS / "file").touch()
    split = make_split()
    callbacks = (status.Status("fine_tune", len(split.rows), 4),)
    assert len(train(make_classifier(), split, epochs=1, callbacks=callbacks)) == 1
