"""Several processes train as one: started by torchrun, stopped, killed, resumed; the oracle is the single process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
import together
import torch

from tudui_course import run
from tudui_course.checkpoint import read_checkpoint
from tudui_course.run_folder import INTERRUPTED
from tudui_course.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun is tried on Linux and macOS only")
HERE = Path(__file__).parent
EPOCHS = 11


def torchrun(count, *arguments, restarts=0, **options):
    """torchrun in a group of its own, as a terminal starts it."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}",
        f"--max-restarts={restarts}", "--monitor-interval=0.1", *map(str, arguments),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        **options,
    )  # fmt: skip


def python(*arguments, env=None):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def settings(pictures):
    return Settings(str(pictures), epochs=EPOCHS, batch_size=6, lr=0.01, order="fixed", precision="float32")


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The folder of a run that two processes train for three epochs, one for two more, and three to the end."""
    return tmp_path_factory.mktemp("chain") / "run"


@pytest.fixture(scope="module", params=[2, 3])
def several(request, chain, settings, tmp_path_factory):
    """How many processes, what they found, and what they printed."""
    path = tmp_path_factory.mktemp("several") / "results.pt"
    two = replace(settings, epochs=3)
    if request.param == 3:
        if not chain.exists():  # with -k, or where pytest gives the tests to several processes
            assert torchrun(2, *command(two, chain)).wait(timeout=120) == 0
        run.train(replace(settings, epochs=5), chain, resume=True)
    its_settings = json.dumps(asdict(two if request.param == 2 else settings))
    started = torchrun(request.param, HERE / "together.py", path, chain, its_settings)
    out, err = started.communicate(timeout=120)
    assert started.returncode == 0, err
    return request.param, torch.load(path, weights_only=True), out


@pytest.fixture(scope="module")
def alone():
    return {name: together.train(*case) for name, case in together.CASES.items()}


def largest_difference(one, other):
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


@pytest.mark.parametrize("case, bound", [("float64", 1e-6), ("fast", 1e-6), ("small", 1e-6), ("float32", 1e-5)])
def test_weights_losses_and_counts_are_those_of_one_process(several, alone, case, bound):
    _, results, _ = several
    assert largest_difference(results[case]["weights"], alone[case]["weights"]) < bound
    assert [point[0::2] for point in results[case]["points"]] == [point[0::2] for point in alone[case]["points"]]
    for (_, value, _), (_, expected, _) in zip(results[case]["points"], alone[case]["points"], strict=True):
        assert value == pytest.approx(expected, abs=bound)
    for record, expected in zip(results[case]["history"], alone[case]["history"], strict=True):
        for name in ("count", "correct", "steps"):
            assert record["train"][name] == expected["train"][name], name
            assert record["test"][name] == expected["test"][name], name
        assert record["test"]["batch_loss_sum"] == pytest.approx(expected["test"]["batch_loss_sum"], abs=10 * bound)


def test_batchnorm_normalizes_each_share_by_itself_and_keeps_the_first_process_s_statistics(several):
    count, results, _ = several
    parts = together.one_batch()
    images, _ = next(iter(parts.loaders[0]))
    first = next(layer for layer in parts.model.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    before = next(layer for layer in parts.model.modules() if isinstance(layer, torch.nn.Conv2d))
    mean = before(images.tensor_split(count)[0]).mean((0, 2, 3)) * first.momentum
    assert torch.allclose(results["running mean"], mean, atol=1e-6)
    assert not torch.allclose(results["running mean"], before(images).mean((0, 2, 3)) * first.momentum, atol=1e-6)


def test_random_states_are_the_first_process_s_after_a_save(several):
    count, results, _ = several
    _, after = results["random"]
    assert after == [after[0]] * count


def test_a_nan_in_one_share_stops_all_at_the_same_step(several):
    _, results, _ = several
    assert len(set(results["nan"])) == 1
    assert "NaN or infinite at step 3 " in results["nan"][0]


def test_other_pictures_on_one_machine_are_refused_by_all(several):
    count, results, _ = several
    refused = [bool(text) for text in results["data"]]
    assert refused == [count == 3] * count


def test_one_process_reads_for_all_and_none_writes_into_anothers(several):
    count, results, _ = several
    assert results["read"] == [(int(rank == 0), [0, 1, 2, 3, 4], ["a", "b"]) for rank in range(count)]
    assert results["written"] == list(range(count))


def test_a_signal_in_one_is_known_to_all_and_only_the_first_prints(several):
    _, results, out = several
    assert results["signal"] == 15
    assert out == '"printed once"\n'


@pytest.fixture(scope="module")
def undisturbed(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run.train(settings, folder)
    return read_checkpoint(folder / f"tudui_{EPOCHS - 1}.pth")


def command(settings, folder, *more):
    return [
        "-m", "tudui_course", "train", "--data", settings.data, "--epochs", settings.epochs, "--batch-size",
        settings.batch_size, "--lr", settings.lr, "--order", settings.order, "--precision", settings.precision,
        "--run-dir", folder, "--keep", 2, *more,
    ]  # fmt: skip


def wait_for(folder, pattern, process, seconds=60):
    """Wait until a file that matches is there."""
    deadline = time.time() + seconds
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()[1]
        assert time.time() < deadline, f"no {pattern} in time"
        time.sleep(0.01)


def workers(process):
    return [child for child in psutil.Process(process.pid).children() if "tudui_course" in child.cmdline()]


def assert_same_end(folder, undisturbed):
    end = read_checkpoint(folder / f"tudui_{EPOCHS - 1}.pth")
    assert end["progress"]["step"] == undisturbed["progress"]["step"]
    assert largest_difference(end["model"], undisturbed["model"]) < 1e-4
    counts = [record["train"]["count"] for record in end["progress"]["history"]]
    assert counts == [51] * EPOCHS


def newest_step(folder):
    return max(read_checkpoint(path)["progress"]["step"] for path in folder.glob("tudui_*.pth"))


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_a_run_stopped_within_an_epoch_goes_on_with_one_process_and_then_with_three(settings, undisturbed, tmp_path):
    folder, steps = tmp_path / "run", []
    for start, wanted, number in [
        (lambda: torchrun(2, *command(settings, folder)), "tudui_1.pth", signal.SIGTERM),
        (lambda: python(*command(settings, folder, "--resume")), "tudui_3.pth", signal.SIGINT),
    ]:
        process = start()
        wait_for(folder, wanted, process)
        (workers(process) or [process])[-1].send_signal(number)  # of one worker where there are several
        out, err = process.communicate(timeout=60)
        assert "Finishing this step and saving" in out
        assert err.count("--resume") == 1, err
        steps.append(newest_step(folder))
    assert 0 < steps[0] < steps[1] < undisturbed["progress"]["step"]
    last = torchrun(3, *command(settings, folder, "--resume"))
    assert last.wait(timeout=120) == 0, last.communicate()[1]
    assert_same_end(folder, undisturbed)


def test_a_run_that_ended_goes_on_with_one_process_and_then_with_three(several, chain, undisturbed):
    if several[0] == 2:
        assert read_checkpoint(chain / "tudui_2.pth")["progress"]["step"] == 27
    else:
        assert_same_end(chain, undisturbed)


def first_of(count, port, *arguments):
    """Run the first of so many processes, which waits a second for the others."""
    environment = {
        **os.environ, "TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0",
        "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TUDUI_TIMEOUT": "1",
    }  # fmt: skip
    process = python(*arguments, env=environment)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, [line for line in err.splitlines() if not re.match(r"\[[WE]", line)]


def test_a_killed_worker_is_replaced_a_ctrl_c_saves_and_the_run_ends_as_if_undisturbed(settings, undisturbed, tmp_path):
    folder = tmp_path / "run"
    process = torchrun(2, *command(settings, folder), restarts=1)
    wait_for(folder, "tudui_2.pth", process)
    workers(process)[-1].send_signal(signal.SIGKILL)
    wait_for(folder, "tudui_5.pth", process)
    process.send_signal(signal.SIGINT)  # a Ctrl-C
    out, err = process.communicate(timeout=60)
    assert "resumed     at step" in out
    assert "Finishing this step and saving" in out
    assert err.count("--resume") == 2, err  # once for the process that was lost, once for the Ctrl-C
    run.train(settings, folder, resume=True)
    assert_same_end(folder, undisturbed)


def test_a_worker_that_never_comes_is_named_in_one_sentence(settings, free_port, tmp_path):
    code, _, told = first_of(2, free_port, *command(settings, tmp_path / "run"))
    assert code == 1
    assert len(told) == 1 and "didn't meet the others within 1 s" in told[0], told
    assert not (tmp_path / "run" / INTERRUPTED).exists()


def test_a_taken_port_is_named_in_one_sentence(settings, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, told = first_of(2, port, *command(settings, tmp_path / "run"))
    assert code == 1
    assert len(told) == 1 and f"listens on port {port}" in told[0], told


def test_torchrun_says_at_once_that_the_port_is_taken(tmp_path):
    """As README and notebook 12 tell it: torch's own words, which may change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = "--nnodes=2", "--rdzv-backend=c10d", "--rdzv-conf=is_host=1", f"--rdzv-endpoint=127.0.0.1:{port}"
        process = python("-m", "torch.distributed.run", *flags, tmp_path / "never_run.py")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "EADDRINUSE" in err


@pytest.mark.skipif(sys.platform != "linux", reason="the names of threads are read from /proc")
def test_no_thread_of_the_group_is_left_when_the_program_ends(free_port, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from tudui_course import distributed\n"
        "def threads():\n"
        "    return [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]\n"
        "with distributed.joined():\n"
        "    from tudui_course import run\n"  # the command line imports it late, too, and much of torch with it
        "    print(*threads())\n"
        "print(*threads())\n",
        encoding="utf-8",
    )
    code, out, told = first_of(1, free_port, script)
    assert code == 0, told
    within, after = out.splitlines()
    assert "gloo" in within and "gloo" not in after
