from contextlib import nullcontext

import pytest
import torch
from torch import nn

from ppi_lib.errors import InputError
from ppi_lib.loop import StopTraining, Task, fit, shuffled_batches
from ppi_lib.settings import LoopConfig, resolve_precision

CONFIG = LoopConfig(epochs=6, learning_rate=0.05, precision="float32", monitor="validation_loss")


class Regression:
    """y = 2x + 1 with dropout on x, so that the random numbers matter."""

    def __init__(self, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(64, 1, generator=generator)
        self.y = 2 * self.x + 1
        self.model = nn.Sequential(nn.Dropout(0.2), nn.Linear(1, 1))
        with torch.no_grad():
            self.model[1].weight.fill_(0)
            self.model[1].bias.fill_(0)

    @property
    def task(self) -> Task:
        return Task(4, self.batches, self.loss, self.validate, 32, "pairs")

    def batches(self, epoch):
        for rows in shuffled_batches(64, 16, 0, epoch):
            yield [(part, len(part) / len(rows)) for part in rows.split(8)]

    def loss(self, micro_batch):
        rows, share = micro_batch
        return nn.functional.mse_loss(self.model(self.x[rows]), self.y[rows]) * share

    def validate(self):
        with torch.no_grad():
            return {"validation_loss": nn.functional.mse_loss(self.model(self.x), self.y).item()}

    @property
    def weights(self) -> list[float]:
        return [p.item() for p in self.model.parameters()]


def stop_after(steps: int):
    def callback(progress):
        if (progress.epoch - 1) * progress.steps + progress.step >= steps:
            raise StopTraining

    return callback


def test_it_learns_and_the_history_says_so():
    regression = Regression()
    result = fit(
        regression.model,
        regression.task,
        LoopConfig(epochs=40, learning_rate=0.2, patience=40, monitor="validation_loss"),
    )
    assert result.history["validation_loss"].iloc[-1] < 0.3 * result.history["validation_loss"].iloc[0]
    assert list(result.history["epoch"]) == list(range(1, 41))
    assert {"train_loss", "learning_rate", "seconds"} <= set(result.history)


@pytest.mark.parametrize("steps", [1, 4, 5, 11, 23])
def test_a_stopped_training_goes_on_to_the_same_weights_bit_for_bit(tmp_path, steps):
    whole = Regression()
    fit(whole.model, whole.task, CONFIG)
    first = Regression()
    begun = steps <= first.task.steps  # nothing is kept of a first epoch that was not done
    with pytest.raises(InputError, match="stopped before its first epoch was done") if begun else nullcontext():
        result = fit(first.model, first.task, CONFIG, state_path=tmp_path / "s.pt", callbacks=[stop_after(steps)])
        assert result.stopped == "callback"
    second = Regression()
    result = fit(second.model, second.task, CONFIG, state_path=tmp_path / "s.pt")
    assert second.weights == whole.weights
    assert len(result.history) == CONFIG.epochs


def test_a_finished_training_is_not_done_again(tmp_path):
    first, second = Regression(), Regression()
    fit(first.model, first.task, CONFIG, state_path=tmp_path / "s.pt")
    steps = []
    fit(second.model, second.task, CONFIG, state_path=tmp_path / "s.pt", callbacks=[steps.append])
    assert second.weights == first.weights
    assert steps == []


def test_the_best_epoch_is_kept_and_patience_ends_it():
    regression = Regression()
    values = iter([3.0, 1.0, 2.0, 1.5, 1.0, 0.5])
    seen = []

    def validate():
        seen.append(regression.weights)
        return {"validation_loss": next(values)}

    task = regression.task._replace(validate=validate)
    config = LoopConfig(epochs=6, patience=3, monitor="validation_loss")
    result = fit(regression.model, task, config)
    assert (result.stopped, result.best_epoch, len(result.history)) == ("patience", 2, 5)
    assert regression.weights == seen[1]


def test_a_monitor_that_is_no_loss_is_to_rise():
    regression = Regression()
    values = iter([0.5, 0.7, 0.6])
    task = regression.task._replace(validate=lambda: {"validation_auroc": next(values)})
    result = fit(regression.model, task, LoopConfig(epochs=3, monitor="validation_auroc"))
    assert result.best_epoch == 2


def test_micro_batches_add_up_to_the_batch():
    halves, whole = Regression(), Regression()
    for regression in (halves, whole):
        regression.model[0].p = 0.0
    fit(halves.model, halves.task, CONFIG)

    def batches(epoch):
        return [[(rows, 1.0)] for rows in shuffled_batches(64, 16, 0, epoch)]

    fit(whole.model, whole.task._replace(batches=batches), CONFIG)
    assert halves.weights == pytest.approx(whole.weights, abs=1e-6)


def test_the_state_of_other_settings_is_refused(tmp_path):
    regression = Regression()
    fit(regression.model, regression.task, CONFIG, state_path=tmp_path / "s.pt")
    other = LoopConfig(epochs=6, learning_rate=0.01, precision="float32", monitor="validation_loss")
    with pytest.raises(InputError, match="other settings"):
        fit(regression.model, regression.task, other, state_path=tmp_path / "s.pt")
    with pytest.raises(InputError, match="other settings"):
        fit(regression.model, regression.task, CONFIG, state_path=tmp_path / "s.pt", identity="other data")


def test_a_truncated_state_is_refused(tmp_path):
    regression = Regression()
    path = tmp_path / "s.pt"
    fit(regression.model, regression.task, CONFIG, state_path=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a whole training state"):
        fit(regression.model, regression.task, CONFIG, state_path=path)


def test_a_full_disk_keeps_the_last_good_state(tmp_path, monkeypatch):
    path = tmp_path / "s.pt"
    first = Regression()
    fit(first.model, first.task, CONFIG, state_path=path, callbacks=[stop_after(9)])
    good = path.read_bytes()
    save = torch.save

    def full(content, target):
        save(content, target)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    second = Regression()
    with pytest.raises(InputError, match=r"No space left.*last whole file is kept"):
        fit(second.model, second.task, CONFIG, state_path=path)
    assert path.read_bytes() == good
    assert [p.name for p in tmp_path.iterdir()] == ["s.pt"]


def test_the_callers_random_numbers_and_mode_are_left_alone():
    regression = Regression()
    regression.model.eval()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit(regression.model, regression.task, CONFIG)
    assert torch.equal(torch.rand(1), expected)
    assert not regression.model.training


def test_a_model_with_nothing_to_train_is_refused():
    regression = Regression()
    regression.model.requires_grad_(False)
    with pytest.raises(InputError, match="No parameter"):
        fit(regression.model, regression.task, CONFIG)


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"precision": "half"},
        {"learning_rate": float("nan")},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        LoopConfig(**bad)


def test_every_epoch_sees_every_row_once_in_another_order():
    first, second = (torch.cat(list(shuffled_batches(10, 3, 7, epoch))) for epoch in (1, 2))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert not torch.equal(first, second)


def test_precision_is_taken_at_its_word():
    assert resolve_precision("float32", torch.device("cpu")) == torch.float32
    assert resolve_precision("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)


def test_a_loss_that_is_no_number_says_so():
    regression = Regression()
    task = regression.task._replace(loss=lambda batch: regression.loss(batch) * float("nan"))
    with pytest.raises(InputError, match=r"loss became nan; lower learning_rate"):
        fit(regression.model, task, CONFIG)
