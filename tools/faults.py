"""Break what machines break, many times, and count what survives; `make faults` writes the table into docs/promises.md.

python tools/faults.py           the whole campaign, under 15 minutes on two cores (Linux)
python tools/faults.py --quick   a twentieth of it, and no page written
    python tools/faults.py --reading   only: how long it takes to read a checkpoint with all that is checked
"""

import contextlib
import functools
import hashlib
import http.server
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fuzzing
import psutil
import torch

from tudui_course import report, run, run_folder
from tudui_course.board import open_writer
from tudui_course.checkpoint import read_checkpoint, save_checkpoint
from tudui_course.checks import base
from tudui_course.data.cifar10 import CIFAR10
from tudui_course.data.loaders import read_data
from tudui_course.errors import CourseError
from tudui_course.model import Tudui
from tudui_course.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "promises.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
KINDS = [
    Settings("pictograms", network=network, recipe=recipe, epochs=3, batch_size=10, limit=200, precision="float32")
    for network in ("Tudui", "TuduiNorm")
    for recipe in ("seed", "fast")
]
rng = random.Random(0)


# ---- children: a process each, forked, so that torch isn't imported anew ----


def child(function: Callable, *arguments: object) -> int:
    """Run a function in a process of its own, silently; its exit code says how it ended."""
    if pid := os.fork():
        return pid
    code = 99
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        function(*arguments)
        code = 0
    except CourseError as error:
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        Path(os.environ["TUDUI_HOME"], "unexpected.txt").write_text(traceback.format_exc())
    os._exit(code)


def wait(pid: int, seconds: float = 300) -> int | None:
    """The exit code of a child, minus the signal that ended it, or None (and its end) where it takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def result_of(folder: Path) -> dict:
    """What a finished run has come to, without the times of its points."""
    content = read_checkpoint(max(run_folder.epoch_checkpoints(folder).items())[1])
    content["progress"]["points"] = [point[:3] for point in content["progress"]["points"]]
    return {key: content[key] for key in ("model", "optimizer", "scheduler", "progress", "random")}


def same(one: object, other: object) -> bool:
    """Nested values equal to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def limited(size: int, function: Callable, *arguments: object) -> None:
    """Call a function that can write no file beyond `size` bytes: what it meets is what a full disk gives."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    function(*arguments)


# ---- the campaign: each function gives how often it tried, and how often all was as it should be ----

Score = tuple[int, int]


@functools.cache
def undisturbed(kind: int, home: Path) -> tuple[dict, float]:
    """The result of a run that nobody disturbs, and the seconds it takes."""
    started = time.monotonic()
    folder = home / f"undisturbed-{kind}"
    assert wait(child(run.train, KINDS[kind], folder)) == 0
    return result_of(folder), time.monotonic() - started


def go_on(kind: int, folder: Path) -> int:
    """Start the child that resumes a run, or begins it where nothing had been written yet."""
    begun = folder.is_dir() and run_folder.holds_run(folder)
    return child(functools.partial(run.train, KINDS[kind], folder, resume=begun))


def kills(home: Path, count: int) -> Score:
    """kill -9 at a random moment, three times out of ten once more while resuming; resumed, equal to the bit."""
    survived = 0
    for number in range(count):
        kind, folder = number % len(KINDS), home / f"killed-{number}"
        expected, seconds = undisturbed(kind, home)
        for _ in range(1 if rng.random() < 0.7 else 2):
            pid = go_on(kind, folder)
            time.sleep(rng.uniform(0, seconds))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        survived += wait(go_on(kind, folder)) == 0 and same(result_of(folder), expected)
    return count, survived


def stops(home: Path, count: int) -> Score:
    """Ctrl-C or SIGTERM at a random moment; exit code 130, 143 or finished; resumed, equal to the bit."""
    survived = 0
    for number in range(count):
        kind, folder = number % len(KINDS), home / f"stopped-{number}"
        sent = rng.choice((signal.SIGINT, signal.SIGTERM))
        expected, seconds = undisturbed(kind, home)
        pid = go_on(kind, folder)
        time.sleep(rng.uniform(0, seconds))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sent)
        # Before the run watches for signals, python's own answer to SIGTERM is to end (-15).
        ended = wait(pid) in (0, 128 + sent, -signal.SIGTERM)
        survived += ended and wait(go_on(kind, folder)) == 0 and same(result_of(folder), expected)
    return count, survived


def mutations(home: Path, count: int) -> Score:
    """A random change to a checkpoint's bytes: noticed, or without any effect on a value."""
    undisturbed(1, home)
    original = home / "undisturbed-1" / "tudui_2.pth"
    raw, expected = original.read_bytes(), read_checkpoint(original)
    path, survived = home / "mutated.pth", 0
    for _ in range(count):
        path.write_bytes(fuzzing.damage(raw, rng, [raw]))
        try:
            survived += same(read_checkpoint(path), expected)
        except CourseError:
            survived += 1
    return count, survived


def together(home: Path, count: int) -> Score:
    """Two runs into one folder at once: one trains to its end, the other is refused."""
    survived = 0
    for number in range(count):
        folder = home / f"together-{number}"
        codes = sorted(map(wait, [child(run.train, KINDS[0], folder) for _ in range(2)]))
        survived += codes == [0, 2] and same(result_of(folder), undisturbed(0, home)[0])
    return count, survived


def fuzzed(home: Path, count: int) -> Score:
    """Damaged files to each reader; in a process whose memory is bounded."""
    used = psutil.Process().memory_info().vms

    def bounded(name: str, folder: Path) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 30),) * 2)
        fuzzing.fuzz(name, count, folder)

    survived = 0
    for pair in (list(fuzzing.READERS)[:2], list(fuzzing.READERS)[2:]):
        folders = [Path(tempfile.mkdtemp(dir=home)) for _ in pair]
        children = [child(bounded, name, folder) for name, folder in zip(pair, folders, strict=True)]
        survived += sum(wait(pid, 900) == 0 for pid in children) * count
    return len(fuzzing.READERS) * count, survived


def full_disk_checkpoint(home: Path, count: int) -> Score:
    """A checkpoint that doesn't fit: what was saved is sound, exit code 2; with room again, equal to the bit."""
    survived = 0
    for number in range(count):
        kind, folder = number % len(KINDS), home / f"full-{number}"
        assert wait(child(run.train, replace(KINDS[kind]), folder)) == 0
        for path in (folder / "tudui_2.pth", folder / "tudui_1.pth"):
            path.unlink()
        train = functools.partial(run.train, KINDS[kind], folder, resume=True)
        refused = wait(child(limited, rng.randrange(2_000, 500_000), train)) == 2
        sound = read_checkpoint(folder / "tudui_0.pth")["progress"]["epoch"] == 1
        clean = not list(folder.glob("*.tmp")) and not list(folder.glob(".*.tmp"))
        wait(go_on(kind, folder))
        survived += refused and sound and clean and same(result_of(folder), undisturbed(kind, home)[0])
    return count, survived


def full_disk_elsewhere(home: Path, count: int) -> Score:
    """The cache of decoded pictures, an event file, a download and progress.json on a disk that is full."""
    pictures = home / "pictures"
    if not pictures.is_dir():
        train, test = read_data("pictograms", limit=40)
        for part, data in (("train", train), ("test", test)):
            for index in range(len(data)):
                folder = pictures / part / data.classes[data.targets[index]]
                folder.mkdir(parents=True, exist_ok=True)
        for part in ("train", "test"):
            for name in data.classes:
                fuzzing.Image.new("RGB", (32, 32)).save(make(pictures / part / name) / "a.png")
    archive = random.Random(1).randbytes(600_000)
    survived = 0
    with serve(archive) as address:
        for _ in range(count):
            size = rng.randrange(100, 9_000)
            codes = [
                wait(child(limited, size, read_data, str(pictures))),
                wait(child(limited, size, write_events, home / "events")),
                wait(child(limited, size, fetch, address, archive, home / "download")),
                wait(child(limited, 0, base.remember, "01.1")),
            ]
            fetched = wait(child(fetch, address, archive, home / "download"))
            kept = (home / "download" / CIFAR10.filename).is_file()
            survived += codes == [0, 2, 2, 0] and fetched == 2 and kept  # 2: what was fetched is no archive at all
            shutil.rmtree(home / "download")
    return count, survived


def make(folder: Path) -> Path:
    """The folder, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_events(folder: Path) -> None:
    """Write more points than fit."""
    with open_writer(folder) as writer:
        for step in range(2_000):
            writer.add_scalar("train_loss", 1.0, step)
            writer.flush()


@contextlib.contextmanager
def serve(content: bytes):
    """A server on loopback that sends `content`, from where it is asked to."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            start = int((self.headers["Range"] or "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content[start:])

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/archive"
    finally:
        server.shutdown()


def fetch(address: str, archive: bytes, folder: Path) -> None:
    """Download from the server as CIFAR-10 is downloaded."""

    class Small(CIFAR10):
        sources = (address,)
        archive_size = len(archive)
        tgz_md5 = hashlib.md5(archive).hexdigest()

    Small(folder, download=True)


def long_run(home: Path, epochs: int) -> Score:
    """Many epochs on few pictures: memory (within 5 %), threads and open files end as they were early on."""

    def measured() -> None:
        process, seen = psutil.Process(), {}

        def note(record: object, seconds: float) -> None:
            if record.epoch in (epochs // 6, epochs - 1):
                seen[record.epoch] = (process.memory_info().rss, process.num_threads(), process.num_fds())

        report.print_epoch = note
        run.train(replace(KINDS[2], epochs=epochs, limit=20), home / "long", keep=2)
        (early, *counts), (late, *later) = seen.values()
        assert late < 1.05 * early and counts == later, seen

    return 1, int(wait(child(measured)) == 0)


def kernels(home: Path, count: int) -> Score:
    """A notebook's kernel killed while it trains, saves or shows TensorBoard; Run All again matches the stored page."""
    survived = 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for number in range(count):
        notebook = ROOT / "notebooks" / ("05_no_grad_and_tensorboard", "06_checkpoints", "08_train_eval")[number % 3]
        notebook = notebook.with_suffix(".ipynb")
        command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--stdout", str(notebook)]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
        with subprocess.Popen(command, env=environment, **silent) as process:
            time.sleep(rng.uniform(8, 20))
            for one in psutil.Process(process.pid).children(recursive=True):
                if "ipykernel" in " ".join(one.cmdline()):
                    one.kill()
        check = [sys.executable, "-m", "pytest", "--nbval", str(notebook), "-q", "-p", "no:cacheprovider"]
        survived += subprocess.run(check, env=environment, **silent).returncode == 0
    return count, survived


# What, in both languages; the function; how often.
CAMPAIGN = [
    ("训练中随机 `kill -9`，再恢复", "`kill -9` at a random moment of training, then resumed", kills, 40),
    ("训练中随机 Ctrl-C 或 SIGTERM，再恢复", "Ctrl-C or SIGTERM at a random moment, then resumed", stops, 40),
    ("检查点的字节被随机改动", "random changes to a checkpoint's bytes", mutations, 1_000),
    ("两次训练同时写一个文件夹", "two runs into one folder at once", together, 10),
    ("四种读取器，各 20,000 个损坏的文件", "damaged files, 20,000 to each of four readers", fuzzed, 20_000),
    ("写检查点时磁盘满", "the disk full while a checkpoint is written", full_disk_checkpoint, 12),
    (
        "磁盘满：图片缓存、曲线文件、下载、做题记录",
        "the disk full for the picture cache, an event file, a download, solved exercises",
        full_disk_elsewhere,
        5,
    ),
    ("连续 300 轮：内存、线程、打开的文件不增加", "300 epochs: memory, threads, open files stay flat", long_run, 300),
    ("notebook 的内核被杀，再全部运行", "a notebook's kernel killed, then Run All again", kernels, 3),
]


def table(scores: list[tuple[str, str, Score]]) -> str:
    """Markdown: what was tried how often, and how often it survived."""
    lines = ["| 什么 | what | 试了 · tried | 挺过 · survived |", "| --- | --- | ---: | ---: |"]
    lines += [f"| {chinese} | {english} | {tried:,} | {ok:,} |" for chinese, english, (tried, ok) in scores]
    return "\n".join(lines)


def reading() -> None:
    """Print the milliseconds of reading a checkpoint, the least of 50 times, taken in turn."""
    with tempfile.TemporaryDirectory() as folder:
        path, model = Path(folder, "tudui_0.pth"), Tudui()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        model(torch.rand(2, 3, 32, 32)).sum().backward()
        optimizer.step()
        save_checkpoint(path, model, optimizer)
        ways = {
            "read_checkpoint": lambda: read_checkpoint(path),
            "torch.load alone": lambda: torch.load(path, weights_only=True),
            "checksums alone": lambda: zipfile.ZipFile(path).testzip(),
        }
        least = dict.fromkeys(ways, float("inf"))
        for name, way in list(ways.items()) * 50:
            started = time.perf_counter()
            way()
            least[name] = min(least[name], 1000 * (time.perf_counter() - started))
        print(f"a checkpoint of {path.stat().st_size:,} bytes")
        print("\n".join(f"{name:16s} {value:5.1f} ms" for name, value in least.items()))


def main() -> None:
    if "--reading" in sys.argv:
        reading()
        return
    quick = "--quick" in sys.argv
    torch.set_num_threads(1)
    scores = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        home = Path(folder)
        os.environ.update(TUDUI_HOME=folder, TUDUI_PROGRESS=str(home / "progress.json"), TQDM_DISABLE="1")
        os.environ.update(TUDUI_HEADLESS="1")
        read_data("pictograms", limit=1)  # drawn before the first child needs them
        for chinese, english, function, count in CAMPAIGN:
            started = time.monotonic()
            scores.append((chinese, english, function(home, max(1, count // 20) if quick else count)))
            tried, ok = scores[-1][2]
            print(f"{ok:6,} of {tried:6,}  {english} ({time.monotonic() - started:.0f} s)", flush=True)
            if (home / "unexpected.txt").exists():
                print((home / "unexpected.txt").read_text(), flush=True)
                (home / "unexpected.txt").unlink()
    print("\n" + table(scores))
    if not quick:
        text = PAGE.read_text(encoding="utf-8")
        before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
        PAGE.write_text(f"{before}\n{table(scores)}\n{after}", encoding="utf-8")
    sys.exit(any(tried != ok for _, _, (tried, ok) in scores))


if __name__ == "__main__":
    main()
