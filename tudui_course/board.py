"""TensorBoard: write curves without gaps or doubles, read them back, show them in a notebook."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter


def open_writer(log_dir: Path | str, points: list[tuple[str, float, int]] = ()) -> SummaryWriter:
    """Open a SummaryWriter whose curves hold exactly `points`, whatever an earlier, interrupted run had written.

    The points are written to a new event file, and only then the older ones removed: a run that resumes from a
    checkpoint goes on from the points that this checkpoint knows, so no step is missing and none stands twice.

    Args:
        log_dir: made if missing.
        points: (tag, value, step) of the run so far.
    """
    log_dir = Path(log_dir)
    older = list(log_dir.glob("events.out.tfevents.*"))
    # purge_step tells a TensorBoard that is open now to forget what it has already drawn.
    writer = SummaryWriter(str(log_dir), purge_step=0 if older else None)
    for tag, value, step in points:
        writer.add_scalar(tag, value, step)
    writer.flush()
    for path in older:
        path.unlink()
    return writer


def read_scalars(log_dir: Path | str) -> dict[str, list[tuple[int, float]]]:
    """Read the curves back from the event files: for each tag its (step, value), in the order of steps.

    Raises:
        FileNotFoundError: there are no event files.
    """
    if not list(Path(log_dir).glob("events.out.tfevents.*")):
        raise FileNotFoundError(f"{log_dir} holds no TensorBoard files: train first, or give the folder of a run.")
    events = EventAccumulator(str(log_dir), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
