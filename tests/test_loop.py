import copy
import math
import time

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tudui_course.checkpoint import load_model, save_checkpoint
from tudui_course.data.loaders import make_loaders
from tudui_course.loop import DivergedError, Progress, evaluate, fit, predict_all, train_one_epoch
from tudui_course.model import Tudui, TuduiNorm


def make(network=Tudui, lr=0.01, **options):
    """A network with its loss and optimizer, always the same."""
    torch.manual_seed(0)
    model = network()
    return model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=lr, **options)


def weights_equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def with_bad_picture(dataset, number, value):
    """The data set's tensors, with one picture made of `value`."""
    images = dataset.images.float() / 255
    images[number] = value
    return TensorDataset(images, dataset.targets)


def test_an_epoch_equals_the_lessons_loop_to_the_bit(tiny):
    loader, test_loader = make_loaders(*tiny, batch_size=16, shuffle=False)
    tudui, loss_fn, optimizer = make(momentum=0.9)
    tudui.train()
    losses, right = [], 0
    for data in loader:
        imgs, targets = data
        outputs = tudui(imgs)
        loss = loss_fn(outputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        right += (outputs.argmax(1) == targets).sum().item()
    tudui.eval()
    total_test_loss = 0
    total_accuracy = 0
    with torch.no_grad():
        for data in test_loader:
            imgs, targets = data
            outputs = tudui(imgs)
            loss = loss_fn(outputs, targets)
            total_test_loss = total_test_loss + loss.item()
            total_accuracy = total_accuracy + (outputs.argmax(1) == targets).sum()

    model, loss_fn, optimizer = make(momentum=0.9)
    train = train_one_epoch(model, loader, loss_fn, optimizer)
    test = evaluate(model, test_loader, loss_fn)
    assert weights_equal(model, tudui)
    assert (train.batch_loss_sum, train.correct, train.count, train.steps) == (sum(losses), right, 70, 5)
    assert test.batch_loss_sum == total_test_loss
    assert test.accuracy == pytest.approx((total_accuracy / 37).item(), rel=1e-6)


def test_training_changes_the_weights(tiny):
    model, loss_fn, optimizer = make()
    before = copy.deepcopy(model)
    train_one_epoch(model, make_loaders(*tiny)[0], loss_fn, optimizer)
    assert not any(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))


@pytest.mark.parametrize("batch_size", [1, 16, 37, 64])
def test_evaluate_is_exact_whatever_the_batches(tiny, batch_size):
    model, loss_fn, _ = make()
    with torch.no_grad():
        logits = model(tiny[1].images.float() / 255)
    result = evaluate(model, DataLoader(tiny[1], batch_size), loss_fn)
    assert result.loss == pytest.approx(loss_fn(logits, tiny[1].targets).item(), rel=1e-5)
    assert result.correct == (logits.argmax(1) == tiny[1].targets).sum().item()
    assert (result.count, result.steps) == (37, math.ceil(37 / batch_size))


def test_evaluate_changes_nothing_and_builds_no_graph(tiny):
    model, loss_fn, _ = make(TuduiNorm)
    before = copy.deepcopy(model.state_dict())
    grad_modes = []
    model.register_forward_hook(lambda *_: grad_modes.append((torch.is_grad_enabled(), model.training)))
    first = evaluate(model, DataLoader(tiny[1], 16), loss_fn)
    assert grad_modes == [(False, False)] * 3
    assert not model.training and torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    assert evaluate(model, DataLoader(tiny[1], 16), loss_fn) == first  # no dropout left on


def test_training_switches_dropout_and_batchnorm_on(tiny):
    model, loss_fn, optimizer = make(TuduiNorm)
    model.eval()
    modes = []
    model.register_forward_hook(lambda *_: modes.append(model.training))
    train_one_epoch(model, make_loaders(*tiny, batch_size=16)[0], loss_fn, optimizer)
    assert modes == [True] * 5
    assert model.model1[1].num_batches_tracked == 5


def test_predict_all_keeps_the_order_and_agrees_with_evaluate(tiny):
    model, loss_fn, _ = make(TuduiNorm)
    logits, targets = predict_all(model, DataLoader(tiny[1], 16))
    assert torch.equal(targets, tiny[1].targets)
    assert logits.shape == (37, 10) and not logits.requires_grad
    assert evaluate(model, DataLoader(tiny[1], 16), loss_fn).correct == (logits.argmax(1) == targets).sum()


@pytest.mark.parametrize(
    ("first_step", "log_every", "steps"), [(0, 2, [2, 4]), (0, 1, [1, 2, 3, 4, 5]), (97, 100, [100]), (0, 100, [])]
)
def test_losses_are_logged_under_the_steps_they_belong_to(tiny, first_step, log_every, steps):
    loader = make_loaders(*tiny, batch_size=16, shuffle=False)[0]
    model, loss_fn, optimizer = make(lr=1e-12)  # so small that the weights stay and the losses can be foretold
    expected = [loss_fn(model(images), targets).item() for images, targets in loader]
    logged = []
    train_one_epoch(
        model,
        loader,
        loss_fn,
        optimizer,
        log=lambda *entry: logged.append(entry),
        first_step=first_step,
        log_every=log_every,
    )
    assert [(tag, step) for tag, _, step in logged] == [("train_loss", step) for step in steps]
    assert [value for _, value, _ in logged] == pytest.approx([expected[step - first_step - 1] for step in steps])


def test_scheduler_is_stepped_after_each_optimizer_step(tiny):
    model, _, optimizer = make(lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    used = []
    optimizer.register_step_pre_hook(lambda *_: used.append(optimizer.param_groups[0]["lr"]))
    train_one_epoch(model, make_loaders(*tiny, batch_size=16)[0], nn.CrossEntropyLoss(), optimizer, scheduler=scheduler)
    assert used == [1.0, 0.5, 0.25, 0.125, 0.0625]


def test_bfloat16_computes_in_it_and_keeps_weights_and_sums_in_float32(tiny):
    model, loss_fn, optimizer = make()
    dtypes = []
    model.register_forward_hook(lambda module, images, logits: dtypes.append(logits.dtype))
    train_loader, test_loader = make_loaders(*tiny, batch_size=16)
    train_one_epoch(model, train_loader, loss_fn, optimizer, precision="bfloat16")
    low = evaluate(model, test_loader, loss_fn, precision="bfloat16")
    assert set(dtypes) == {torch.bfloat16}
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    high = evaluate(model, test_loader, loss_fn)
    assert dtypes[-1] == torch.float32
    assert low.loss != high.loss and low.loss == pytest.approx(high.loss, rel=0.01)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("epoch", "position"), [(1, 0), (1, 39), (2, 69)])
def test_a_loss_that_is_no_number_stops_the_run_before_anything_is_saved(tiny, tmp_path, value, epoch, position):
    good, bad = tiny[0], with_bad_picture(tiny[0], position, value)
    model, loss_fn, optimizer = make(lr=0.02)
    progress, saved = Progress(), []

    def save(progress):
        saved.append(progress.epoch)
        save_checkpoint(tmp_path / "kept.pth", model, optimizer, progress)

    loaders = make_loaders(good, tiny[1], 16, shuffle=False)
    fit(model, loaders, loss_fn, optimizer, epochs=epoch - 1, progress=progress, save=save)
    before = (tmp_path / "kept.pth").read_bytes() if epoch > 1 else b""
    step = 5 * (epoch - 1) + position // 16 + 1
    with pytest.raises(DivergedError, match=rf"epoch {epoch}: .*at step {step} \(learning rate 0\.02\)"):
        loaders = make_loaders(bad, tiny[1], 16, shuffle=False)
        fit(model, loaders, loss_fn, optimizer, epochs=9, progress=progress, save=save)
    assert saved == list(range(1, epoch))
    if epoch > 1:
        assert (tmp_path / "kept.pth").read_bytes() == before
        assert all(tensor.isfinite().all() for tensor in load_model(tmp_path / "kept.pth")[0].parameters())


def test_a_huge_learning_rate_is_noticed_in_the_step_it_breaks(tiny):
    loaders = make_loaders(*tiny, batch_size=16, shuffle=False)
    model, loss_fn, optimizer = make(lr=1e6)
    losses = []
    for images, targets in [batch for _ in range(9) for batch in loaders[0]]:
        loss = loss_fn(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    step = next(number for number, loss in enumerate(losses, start=1) if not math.isfinite(loss))
    model, loss_fn, optimizer = make(lr=1e6)
    saved = []
    with pytest.raises(DivergedError, match=rf"epoch 1: .*at step {step} \(learning rate 1e\+06\).*100000"):
        fit(model, loaders, loss_fn, optimizer, epochs=9, save=saved.append)
    assert saved == [] and 1 < step <= 5


def test_the_learning_rate_in_the_message_is_the_one_that_was_asked_for(tiny):
    """Not what the scheduler has made of it since: at the end of one cycle that is nearly 0."""
    model, loss_fn, optimizer = make(lr=1e6)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e6, total_steps=5, final_div_factor=1e9)
    with pytest.raises(DivergedError, match=r"\(learning rate 1e\+06\): try a smaller learning rate, .* 100000,"):
        train_one_epoch(model, make_loaders(*tiny, batch_size=16)[0], loss_fn, optimizer, scheduler=scheduler)


@pytest.mark.parametrize("run", [evaluate, predict_all, train_one_epoch])
def test_a_precision_that_does_not_exist_is_no_silent_float32(tiny, run):
    model, loss_fn, optimizer = make()
    loader = make_loaders(*tiny, batch_size=16)[0]
    arguments = {evaluate: (loss_fn,), predict_all: (), train_one_epoch: (loss_fn, optimizer)}[run]
    with pytest.raises(ValueError, match="precision is 'bf16', but it must be float32 or bfloat16"):
        run(model, loader, *arguments, precision="bf16")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_the_last_step_broke_are_not_saved(tiny, value):
    model, loss_fn, optimizer = make()
    saved, steps = [], []

    def break_weights(*_):
        steps.append(1)
        if len(steps) == 5:
            model.model1[7].weight.data[3, 5] = value

    optimizer.register_step_post_hook(break_weights)
    with pytest.raises(DivergedError, match=r"epoch 1: model1\.7\.weight"):
        fit(model, make_loaders(*tiny, batch_size=16), loss_fn, optimizer, epochs=2, save=saved.append)
    assert saved == []


def test_a_test_loss_that_is_no_number_is_not_saved(tiny):
    loaders = make_loaders(tiny[0], with_bad_picture(tiny[1], 20, math.nan), batch_size=16)
    model, loss_fn, optimizer = make()
    saved, logged = [], []
    with pytest.raises(DivergedError, match=r"epoch 1: the test loss is nan"):
        fit(model, loaders, loss_fn, optimizer, epochs=2, save=saved.append, log=lambda *entry: logged.append(entry))
    assert saved == [] and logged == []


def test_fit_gives_one_record_an_epoch_and_logs_the_lessons_tags(tiny):
    loaders = make_loaders(*tiny, batch_size=16)
    model, loss_fn, optimizer = make()
    logged, saved = [], []
    progress = Progress()
    history = fit(
        model, loaders, loss_fn, optimizer, epochs=3, log=lambda *entry: logged.append(entry), log_every=5,
        progress=progress, save=lambda progress: saved.append((progress.epoch, progress.step, progress.batch)),
    )  # fmt: skip
    assert [(row.epoch, row.step, row.train.count, row.test.count) for row in history] == [
        (0, 5, 70, 37), (1, 10, 70, 37), (2, 15, 70, 37)
    ]  # fmt: skip
    assert saved == [(1, 5, 0), (2, 10, 0), (3, 15, 0)]
    assert [point[:3] for point in progress.points] == logged
    assert all(0 <= time.time() - point[3] < 600 for point in progress.points)
    assert [(tag, step) for tag, _, step in logged] == [
        ("train_loss", 5), ("test_loss", 0), ("test_accuracy", 0),
        ("train_loss", 10), ("test_loss", 1), ("test_accuracy", 1),
        ("train_loss", 15), ("test_loss", 2), ("test_accuracy", 2),
    ]  # fmt: skip
    assert [value for tag, value, _ in logged if tag == "test_loss"] == [row.test.loss for row in history]
    assert [value for tag, value, _ in logged if tag == "test_accuracy"] == [row.test.accuracy for row in history]
    assert history[-1].test == evaluate(model, loaders[1], loss_fn)


def test_fit_with_nothing_left_to_do_does_nothing(tiny):
    model, loss_fn, optimizer = make()
    before, saved = copy.deepcopy(model), []
    fit(model, make_loaders(*tiny), loss_fn, optimizer, epochs=2, progress=Progress(epoch=2), save=saved.append)
    assert weights_equal(model, before) and saved == []


def test_a_stop_in_the_middle_saves_how_far_the_run_has_come(tiny):
    model, loss_fn, optimizer = make()
    progress, saved, steps = Progress(), [], []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))

    def save(progress):
        saved.append((progress.epoch, progress.step, progress.batch, progress.partial.count, len(progress.history)))

    history = fit(
        model, make_loaders(*tiny, batch_size=16), loss_fn, optimizer, epochs=3,
        progress=progress, save=save, stop=lambda: len(steps) >= 7,
    )  # fmt: skip
    assert saved == [(1, 5, 0, 0, 1), (1, 7, 2, 32, 1)]
    assert len(history) == 1 and len(steps) == 7


@pytest.mark.parametrize("batch_size", [16, 14])  # 14 leaves no ragged batch
@pytest.mark.parametrize("stops", [[1], [5], [7], [9], [10], [15], [2, 3, 5, 6, 11, 14]])
def test_fit_can_be_stopped_and_called_again_with_the_same_progress(tiny, stops, batch_size):
    model, loss_fn, optimizer = make(momentum=0.9)
    expected = fit(model, make_loaders(*tiny, batch_size), loss_fn, optimizer, epochs=3)
    again, loss_fn, optimizer = make(momentum=0.9)
    progress, loaders, steps = Progress(), make_loaders(*tiny, batch_size), []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    for stop in stops:
        fit(again, loaders, loss_fn, optimizer, epochs=3, progress=progress, stop=lambda stop=stop: len(steps) >= stop)
        assert progress.step == stop
    assert fit(again, loaders, loss_fn, optimizer, epochs=3, progress=progress) == expected
    assert weights_equal(again, model)


def test_an_order_that_cannot_come_again_is_refused(tiny):
    loaders = DataLoader(tiny[0], 16, shuffle=True), DataLoader(tiny[1], 16)
    model, loss_fn, optimizer = make()
    with pytest.raises(ValueError, match=r"generator=torch\.Generator\(\)"):
        fit(model, loaders, loss_fn, optimizer, epochs=1, progress=Progress(step=2, batch=2))
