"""An epoch under the other training libraries, each written as its own documentation writes it.

Each function takes a recipe (SEED is plain SGD), a network, the two loaders and a scratch folder, trains one epoch on
the CPU and tests once; it returns the seconds of the call that trains, and the test accuracy. All else is the library's
defaults: what that means for logging, progress bars and checkpoints is printed in the report (DEFAULTS).
"""

import contextlib
import importlib.metadata
import importlib.util
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from tudui_course.recipe import Recipe

Loaders = tuple[DataLoader, DataLoader]
Outcome = tuple[float, float]  # seconds, test accuracy


def lightning_epoch(
    recipe: Recipe, model: nn.Module, loaders: Loaders, folder: Path, precision: str = "float32"
) -> Outcome:
    """PyTorch Lightning. Source: lightning.ai/docs/pytorch/stable/starter/introduction.html.

    It computes the gradients within `optimizer.step`, where a hook before the step would come too early to clip them;
    its trainer clips instead.
    """
    import lightning

    class LitTudui(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.loss_fn = recipe.loss_fn()

        def training_step(self, batch, batch_idx):
            images, targets = batch
            loss = self.loss_fn(self.model(images), targets)
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch, batch_idx):
            images, targets = batch
            logits = self.model(images)
            self.log("test_loss", self.loss_fn(logits, targets))
            self.log("test_accuracy", (logits.argmax(1) == targets).float().mean())

        def configure_optimizers(self):
            optimizer = replace(recipe, clip=0).optimizer(self)
            scheduler = recipe.scheduler(optimizer, len(loaders[0]))
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}] if scheduler else []

    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", default_root_dir=folder, gradient_clip_val=recipe.clip or None,
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )  # fmt: skip
    module = LitTudui()
    started = time.perf_counter()
    trainer.fit(module, *loaders)
    return time.perf_counter() - started, trainer.callback_metrics["test_accuracy"].item()


def accelerate_epoch(
    recipe: Recipe, model: nn.Module, loaders: Loaders, folder: Path, precision: str = "float32"
) -> Outcome:
    """Hugging Face Accelerate. Source: huggingface.co/docs/accelerate/basic_tutorials/migration."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # the precision of the first Accelerator of a process holds for all others
    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if precision == "bfloat16" else "no")
    loss_fn, optimizer = recipe.loss_fn(), recipe.optimizer(model)
    scheduler = recipe.scheduler(optimizer, len(loaders[0]))
    model, optimizer, train_loader, test_loader, scheduler = accelerator.prepare(model, optimizer, *loaders, scheduler)
    started = time.perf_counter()
    model.train()
    for step, (images, targets) in enumerate(train_loader, start=1):
        optimizer.zero_grad()
        loss = loss_fn(model(images), targets)
        accelerator.backward(loss)
        optimizer.step()
        if scheduler:
            scheduler.step()
        if step % 100 == 0:
            accelerator.print(step, loss.item())
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, targets in test_loader:
            predictions, targets = accelerator.gather_for_metrics((model(images).argmax(1), targets))
            correct += (predictions == targets).sum().item()
    accelerator.print(correct / len(test_loader.dataset))
    accelerator.save(accelerator.unwrap_model(model).state_dict(), folder / "model.pth")
    return time.perf_counter() - started, correct / len(test_loader.dataset)


def fastai_epoch(recipe: Recipe, model: nn.Module, loaders: Loaders, folder: Path) -> Outcome:
    """fastai. Source: docs.fast.ai/examples/migrating_pytorch.html; plain SGD is its own, without its one cycle."""
    from fastai.vision.all import SGD, Callback, DataLoaders, Learner, OptimWrapper, accuracy

    optimizer = recipe.optimizer(model)
    scheduler = recipe.scheduler(optimizer, len(loaders[0]))

    class StepScheduler(Callback):
        def after_step(self):
            scheduler.step()

    data = DataLoaders(*loaders, device=torch.device("cpu"))
    learn = Learner(
        data, model, loss_func=recipe.loss_fn(), opt_func=OptimWrapper(opt=optimizer) if scheduler else SGD,
        metrics=accuracy, cbs=StepScheduler() if scheduler else None, path=folder,
    )  # fmt: skip
    started = time.perf_counter()
    learn.fit(1, optimizer.param_groups[0]["lr"])  # sets the rate of the first step
    learn.save("model")
    return time.perf_counter() - started, learn.recorder.values[-1][-1]


def ignite_epoch(recipe: Recipe, model: nn.Module, loaders: Loaders, folder: Path) -> Outcome:
    """PyTorch-Ignite. Source: docs.pytorch.org/ignite/quickstart.html, without its pass over the training data."""
    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.handlers import LRScheduler, ModelCheckpoint, TensorboardLogger, global_step_from_engine
    from ignite.metrics import Accuracy, Loss

    train_loader, test_loader = loaders
    loss_fn, optimizer = recipe.loss_fn(), recipe.optimizer(model)
    trainer = create_supervised_trainer(model, optimizer, loss_fn, "cpu")
    if scheduler := recipe.scheduler(optimizer, len(train_loader)):
        trainer.add_event_handler(Events.ITERATION_STARTED, LRScheduler(scheduler))
    metrics = {"accuracy": Accuracy(), "loss": Loss(loss_fn)}
    evaluator = create_supervised_evaluator(model, metrics=metrics, device="cpu")

    @trainer.on(Events.ITERATION_COMPLETED(every=100))
    def log_training_loss(engine):
        print(f"Epoch[{engine.state.epoch}], Iter[{engine.state.iteration}] Loss: {engine.state.output:.2f}")

    @trainer.on(Events.EPOCH_COMPLETED)
    def log_validation_results(engine):
        evaluator.run(test_loader)
        print(f"Validation Results - Epoch[{engine.state.epoch}] {evaluator.state.metrics}")

    checkpoint = ModelCheckpoint(
        folder, n_saved=2, filename_prefix="best", score_function=lambda engine: engine.state.metrics["accuracy"],
        score_name="accuracy", global_step_transform=global_step_from_engine(trainer), require_empty=False,
    )  # fmt: skip
    evaluator.add_event_handler(Events.COMPLETED, checkpoint, {"model": model})
    board = TensorboardLogger(log_dir=folder)
    board.attach_output_handler(
        trainer, event_name=Events.ITERATION_COMPLETED(every=100), tag="training",
        output_transform=lambda loss: {"batch_loss": loss},
    )  # fmt: skip
    board.attach_output_handler(
        evaluator, event_name=Events.EPOCH_COMPLETED, tag="validation", metric_names="all",
        global_step_transform=global_step_from_engine(trainer),
    )  # fmt: skip
    started = time.perf_counter()
    trainer.run(train_loader, max_epochs=1)
    seconds = time.perf_counter() - started
    board.close()
    return seconds, evaluator.state.metrics["accuracy"]


PEERS = {
    "lightning": ("lightning", lightning_epoch),
    "accelerate": ("accelerate", accelerate_epoch),
    "fastai": ("fastai", fastai_epoch),
    "ignite": ("pytorch-ignite", ignite_epoch),
}
MODULES = {"lightning": "lightning", "accelerate": "accelerate", "fastai": "fastai", "ignite": "ignite"}
BFLOAT16 = ("lightning", "accelerate")  # take a precision; the mixed precision of the others is for CUDA alone

# What each does beside training; the report prints it.
DEFAULTS = {
    "lightning": "progress bar, TensorBoard every 50 steps, one checkpoint, a sanity check before training",
    "accelerate": "a printed loss every 100 steps, one checkpoint; no progress bar, no TensorBoard",
    "fastai": "progress bar with a running loss, test accuracy, one checkpoint; no TensorBoard",
    "ignite": "a printed loss and TensorBoard every 100 steps, test accuracy, one checkpoint; no progress bar",
}


def installed() -> dict[str, Callable[..., Outcome]]:
    """The libraries that are there, by name."""
    return {name: train for name, (_, train) in PEERS.items() if importlib.util.find_spec(MODULES[name])}


def versions() -> dict[str, str]:
    """The versions of those that are there."""
    return {name: importlib.metadata.version(PEERS[name][0]) for name in installed()}


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Keep the libraries from advising on worker processes, loggers and the like."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric", "ignite"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        yield
