"""The download of CIFAR-10 against a local server that misbehaves on command; no internet is used."""

import gzip
import hashlib
import io
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torchvision

from tudui_course.data.cifar10 import CIFAR10, LOCK, MIRRORS
from tudui_course.errors import DownloadError, InputError, StorageError

NAME, FOLDER = "cifar-10-python.tar.gz", "cifar-10-batches-py"
PART = NAME + ".part"


def md5(content):
    return hashlib.md5(content).hexdigest()


def batches():
    """The files of a tiny CIFAR-10: ten pictures a batch of noise, which gzip cannot shrink."""
    random = np.random.default_rng(0)
    files = {"batches.meta": pickle.dumps({"label_names": list("abcdefghij")})}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        pictures = random.integers(0, 256, (10, 3072), dtype=np.uint8)
        files[name] = pickle.dumps({"data": pictures, "labels": list(range(10))})
    return files


def pack(members):
    """The bytes of a .tar.gz with these members."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


FILES = batches()
ARCHIVE = pack({f"{FOLDER}/{name}": content for name, content in FILES.items()})
SIZE, HALF = len(ARCHIVE), len(ARCHIVE) // 2
WRONG = bytes(SIZE)
ATTRIBUTES = {
    "archive_size": SIZE,
    "tgz_md5": md5(ARCHIVE),
    "train_list": [[f"data_batch_{i}", md5(FILES[f"data_batch_{i}"])] for i in range(1, 6)],
    "test_list": [["test_batch", md5(FILES["test_batch"])]],
    "meta": {"filename": "batches.meta", "key": "label_names", "md5": md5(FILES["batches.meta"])},
    "timeout": 10,
    "slow_rate": 0,
}


class Handler(BaseHTTPRequestHandler):
    """`/<mode>/...` is answered by the method of that name; the server's `log` keeps (mode, Range header)."""

    def do_GET(self):
        mode = self.path.split("/")[1]
        self.start = int((self.headers["Range"] or "bytes=0-")[len("bytes=") : -1])
        self.server.log.append((mode, self.headers["Range"]))
        getattr(self, mode)()

    def log_message(self, *args):
        pass

    def answer(self, body=None, send=None, status=None, **headers):
        """Announces `body` (or the asked part of the archive) in full and sends its first `send` bytes."""
        if body is None:
            body, status = self.server.archive[self.start :], status or (206 if self.start else 200)
        if status == 206:
            headers["Content-Range"] = f"bytes {self.start}-{SIZE - 1}/{SIZE}"
        self.send_response(status or 200)
        for name, value in ({"Content-Length": len(body)} | headers).items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body[:send])
        self.wfile.flush()

    def ok(self):
        self.answer()

    def missing(self):
        self.answer(b"no such file", status=404)

    def wrong(self):
        self.answer(WRONG[self.start :], status=206 if self.start else 200)

    def wrong_cut(self):
        self.answer(WRONG[self.start :], None if self.start else HALF, status=206 if self.start else 200)

    def short(self):
        self.answer(b"another file")

    def page(self):
        self.answer(b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")

    def cut(self):
        self.answer(send=None if self.start else HALF)

    def cut_then_gone(self):
        self.missing() if self.start else self.cut()

    def crumbs(self):
        self.answer(send=1000)

    def no_range(self):
        self.start = 0
        self.answer()

    def no_range_in_pieces(self):
        """Starts over with a piece far smaller than what was there."""
        self.start = 0
        self.answer(send=100)
        time.sleep(0.1)
        self.wfile.write(self.server.archive[100:])

    def no_range_cut(self):
        self.start = 0
        self.answer(send=HALF)

    def endless(self):
        self.send_response(200)
        self.end_headers()
        for _ in range(100):  # 18 MB: more than the sockets' buffers hold if nobody reads on
            self.wfile.write(ARCHIVE)
        self.server.log.append("all was read")

    def no_part(self):
        self.answer(b"", status=416, Content_Range=f"bytes */{SIZE}") if self.start else self.answer()

    def no_part_of_another(self):
        self.answer(b"", status=416, Content_Range="bytes */12")

    def another_range(self):
        self.answer(self.server.archive, status=206, Content_Range="bytes 0-9/10")

    def moved(self):
        self.answer(b"", status=302, Location="/ok/" + NAME)

    def moved_to_file(self):
        self.answer(b"", status=302, Location="file:///etc/hostname")

    def stall(self):
        self.answer(send=HALF)
        self.server.over.wait(120)

    def held(self):
        """The other half comes when the test says so."""
        self.answer(send=HALF)
        self.server.over.wait(120)
        self.wfile.write(ARCHIVE[HALF:])

    def silent(self):
        self.server.over.wait(30)

    def interrupt(self):
        """Half the archive, then Ctrl-C in the main thread as soon as bytes are on the disk."""
        self.answer(send=HALF)
        wait_for(lambda: self.server.part.exists() and self.server.part.stat().st_size)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        self.server.over.wait(30)

    def slow(self):
        self.answer(send=0)
        for begin in range(self.start, SIZE, 4096):
            self.wfile.write(ARCHIVE[begin : min(begin + 4096, SIZE)])
            time.sleep(0.03)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients of this file hang up on purpose


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("TUDUI_CIFAR10_URL", raising=False)
    server = Server(("127.0.0.1", 0), Handler)
    server.log, server.over, server.archive = [], threading.Event(), ARCHIVE
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def refused():
    """The address of a port that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/{NAME}"


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def url(server, mode):
    return f"http://127.0.0.1:{server.server_port}/{mode}/{NAME}"


def small(server, *modes, **attributes):
    """CIFAR10 with the small archive; `modes` are modes of the server or whole addresses."""
    sources = [mode if "://" in mode else url(server, mode) for mode in modes]
    return type("Small", (CIFAR10,), {**ATTRIBUTES, "sources": sources, **attributes})


def left(folder):
    """What is in a folder, beside the lock of the last download."""
    return sorted(path.name for path in folder.iterdir() if path.name != LOCK)


def assert_usable(data, tmp_path):
    assert left(tmp_path) == [FOLDER, NAME]  # no .part, no temporary folder
    assert len(data) == 50 and data.classes == list("abcdefghij") and data.targets[:10] == list(range(10))
    first = pickle.loads(FILES["data_batch_1"])["data"][0].reshape(3, 32, 32).transpose(1, 2, 0)
    assert np.array_equal(np.asarray(data[0][0]), first)


# ---------------------------------------------------------------- sources


def test_first_source_is_torchvisions_and_all_facts_agree_with_it():
    assert MIRRORS[0] == torchvision.datasets.CIFAR10.url and CIFAR10.sources == MIRRORS
    assert all(mirror.startswith("https://") for mirror in MIRRORS) and len(set(MIRRORS)) == len(MIRRORS) > 3
    assert (CIFAR10.archive_size, CIFAR10.tgz_md5) == (170_498_071, "c58f30108f718f92721af3b95e74349a")


def test_a_good_source_gives_a_data_set_without_a_word(server, tmp_path, capfd):
    data = small(server, "ok", "missing")(tmp_path, download=True, transform=np.asarray, target_transform=str)
    assert data[3][1] == "3" and data[3][0].shape == (32, 32, 3)
    assert len(small(server)(str(tmp_path), train=False)) == 10
    assert_usable(small(server)(tmp_path), tmp_path)
    assert server.log == [("ok", None)] and capfd.readouterr() == ("", "")


def test_second_call_fetches_and_prints_nothing(server, tmp_path, capfd):
    small(server, "ok")(tmp_path, download=True)
    server.log.clear()
    (tmp_path / NAME).unlink()
    small(server, "ok")(tmp_path, download=True)
    assert server.log == [] and capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "mode", ["missing", "wrong", "short", "page", "silent", "endless", "moved_to_file", "another_range"]
)
def test_a_bad_source_is_given_up_for_the_next(server, tmp_path, mode):
    data = small(server, mode, "ok", timeout=1)(tmp_path, download=True)
    assert_usable(data, tmp_path)
    assert server.log == [(mode, None), ("ok", None)]


def test_a_refused_port_is_given_up_for_the_next(server, tmp_path, refused):
    assert_usable(small(server, refused, "ok")(tmp_path, download=True), tmp_path)


def test_redirections_are_followed_and_keep_the_range(server, tmp_path):
    (tmp_path / PART).write_bytes(ARCHIVE[:HALF])
    assert_usable(small(server, "moved")(tmp_path, download=True), tmp_path)
    assert server.log == [("moved", f"bytes={HALF}-"), ("ok", f"bytes={HALF}-")]


def test_own_addresses_come_first(server, tmp_path, monkeypatch):
    own = f" {url(server, 'missing')}, {url(server, 'short')}\n{url(server, 'ok')} "
    monkeypatch.setenv("TUDUI_CIFAR10_URL", own)
    assert_usable(small(server, "wrong")(tmp_path, download=True), tmp_path)
    assert [mode for mode, _ in server.log] == ["missing", "short", "ok"]


@pytest.mark.parametrize("bad", ["file:///etc/passwd", "ftp://host/x", "https:///x", "just-a-name"])
def test_only_http_addresses_are_accepted(server, tmp_path, monkeypatch, bad):
    monkeypatch.setenv("TUDUI_CIFAR10_URL", bad)
    with pytest.raises(InputError, match=f"TUDUI_CIFAR10_URL.*'{bad}'.*https://"):
        small(server, "ok")(tmp_path, download=True)
    assert left(tmp_path) == [] and server.log == []


def test_a_slow_source_is_left_for_the_next_which_continues(server, tmp_path):
    data = small(server, "slow", "ok", slow_rate=10**9, timeout=0.5)(tmp_path, download=True)
    assert_usable(data, tmp_path)
    (first, nothing), (second, asked) = server.log
    assert (first, nothing, second) == ("slow", None, "ok") and int(asked[6:-1]) > 0


def test_if_every_other_source_fails_the_slow_one_is_waited_for(server, tmp_path):
    data = small(server, "slow", "missing", slow_rate=10**9, timeout=0.5)(tmp_path, download=True)
    assert_usable(data, tmp_path)
    assert [mode for mode, _ in server.log] == ["slow", "missing", "slow"]


# ---------------------------------------------------------------- continuing


def test_a_cut_download_is_continued_where_it_stopped(server, tmp_path):
    assert_usable(small(server, "cut")(tmp_path, download=True), tmp_path)
    assert server.log == [("cut", None), ("cut", f"bytes={HALF}-")]


@pytest.mark.parametrize("mode", ["cut_then_gone", "stall"])
def test_the_next_source_continues_what_the_first_began(server, tmp_path, mode):
    begin = time.monotonic()
    assert_usable(small(server, mode, "ok", timeout=1)(tmp_path, download=True), tmp_path)
    assert server.log[-1] == ("ok", f"bytes={HALF}-") and time.monotonic() - begin < 5  # timeout is 1 s
    assert len(server.log) == (3 if mode == "cut_then_gone" else 2)  # a stalled host is not asked again


def test_cuts_are_retried_a_bounded_number_of_times(server, tmp_path):
    assert_usable(small(server, "crumbs", "ok", retries=3)(tmp_path, download=True), tmp_path)
    asked = [int((range_ or "bytes=0-")[6:-1]) for _, range_ in server.log]
    assert asked == [0, 1000, 2000, 3000, 4000] and server.log[-1][0] == "ok"


def test_a_server_without_range_starts_over_and_cuts_without_progress_are_not_repeated(server, tmp_path):
    (tmp_path / PART).write_bytes(b"x" * HALF)
    assert_usable(small(server, "no_range_cut", "no_range")(tmp_path, download=True), tmp_path)
    assert server.log == [("no_range_cut", f"bytes={HALF}-"), ("no_range", f"bytes={HALF}-")]


def test_a_server_that_starts_over_in_small_pieces_is_read_once(server, tmp_path):
    (tmp_path / PART).write_bytes(ARCHIVE[:HALF])
    assert_usable(small(server, "no_range_in_pieces")(tmp_path, download=True), tmp_path)
    assert server.log == [("no_range_in_pieces", f"bytes={HALF}-")]


def test_a_server_that_starts_over_and_breaks_off_does_not_cost_the_bytes_we_have(server, tmp_path):
    (tmp_path / PART).write_bytes(ARCHIVE[: HALF + 5000])
    assert_usable(small(server, "no_range_cut", "ok")(tmp_path, download=True), tmp_path)
    assert server.log == [("no_range_cut", f"bytes={HALF + 5000}-"), ("ok", f"bytes={HALF + 5000}-")]


def test_range_refused_with_416_is_fetched_from_scratch(server, tmp_path):
    (tmp_path / PART).write_bytes(ARCHIVE[:HALF])
    assert_usable(small(server, "no_part")(tmp_path, download=True), tmp_path)
    assert server.log == [("no_part", f"bytes={HALF}-"), ("no_part", None)]


@pytest.mark.parametrize("mode", ["no_part_of_another", "short", "page", "another_range", "missing", "silent"])
def test_a_source_with_another_file_does_not_cost_the_bytes_we_have(server, tmp_path, mode):
    (tmp_path / PART).write_bytes(ARCHIVE[:HALF])
    assert_usable(small(server, mode, "ok", timeout=1)(tmp_path, download=True), tmp_path)
    assert server.log == [(mode, f"bytes={HALF}-"), ("ok", f"bytes={HALF}-")]


@pytest.mark.parametrize("length", [HALF, SIZE, SIZE + 7])
def test_a_damaged_part_is_noticed_and_fetched_from_scratch_once(server, tmp_path, length):
    (tmp_path / PART).write_bytes(b"x" * length)
    assert_usable(small(server, "ok")(tmp_path, download=True), tmp_path)
    assert server.log == [("ok", f"bytes={HALF}-")] * (length == HALF) + [("ok", None)]


def test_a_wrong_source_is_asked_only_once_more_after_a_resumed_download(server, tmp_path):
    (tmp_path / PART).write_bytes(ARCHIVE[:HALF])
    assert_usable(small(server, "wrong", "ok")(tmp_path, download=True), tmp_path)
    assert server.log == [("wrong", f"bytes={HALF}-"), ("wrong", None), ("ok", None)]


def test_a_source_whose_wrong_bytes_come_in_pieces_is_begun_only_twice(server, tmp_path):
    assert_usable(small(server, "wrong_cut", "ok")(tmp_path, download=True), tmp_path)
    assert server.log == [("wrong_cut", None), ("wrong_cut", f"bytes={HALF}-")] * 2 + [("ok", None)]


def test_a_complete_part_needs_no_source(server, tmp_path):
    (tmp_path / PART).write_bytes(ARCHIVE)
    assert_usable(small(server, "ok")(tmp_path, download=True), tmp_path)
    assert server.log == []


def test_a_killed_download_is_continued_by_the_next_process(server, tmp_path):
    attributes = json.dumps({**ATTRIBUTES, "sources": [url(server, "stall")], "timeout": 60})
    code = "import json, sys; from tudui_course.data.cifar10 import CIFAR10\n"
    code += "type('Small', (CIFAR10,), json.loads(sys.argv[1]))(sys.argv[2], download=True)"
    child = subprocess.Popen([sys.executable, "-c", code, attributes, str(tmp_path)])
    try:
        wait_for(lambda: (tmp_path / PART).exists() and (tmp_path / PART).stat().st_size)
    finally:
        child.kill()
        child.wait()
    assert left(tmp_path) == [PART]
    kept = (tmp_path / PART).stat().st_size
    assert_usable(small(server, "ok")(tmp_path, download=True), tmp_path)
    assert server.log == [("stall", None), ("ok", f"bytes={kept}-")]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_ctrl_c_leaves_the_part_and_nothing_else(server, tmp_path):
    server.part = tmp_path / PART
    with pytest.raises(KeyboardInterrupt):
        small(server, "interrupt", timeout=20)(tmp_path, download=True)
    kept = server.part.read_bytes()
    assert left(tmp_path) == [PART] and kept and ARCHIVE.startswith(kept)


# ---------------------------------------------------------------- failing in one sentence


def test_when_every_source_fails_one_sentence_names_each_and_the_ways_out(server, tmp_path, refused, capfd):
    modes = [refused, "missing", "wrong", "short", "page", "silent"]
    with pytest.raises(DownloadError) as raised:
        small(server, *modes, timeout=1)(tmp_path / "new", download=True)
    sentence = str(raised.value)
    assert f"{refused} (Connection refused)" in sentence
    reasons = {
        "missing": "HTTP 404",
        "wrong": "wrong content: MD5",
        "short": f"offers 12 bytes instead of {SIZE:,}",
        "page": "sends a web page",
        "silent": "no answer for 1 seconds",
    }
    assert all(f"{url(server, mode)} ({reason}" in sentence for mode, reason in reasons.items())
    ways = ["run it again", f"put the archive by hand at {tmp_path / 'new' / NAME}", "TUDUI_CIFAR10_URL"]
    assert all(way in sentence for way in [*ways, "--data pictograms"]) and "\n" not in sentence
    assert left(tmp_path / "new") == [] and "continues" not in sentence and capfd.readouterr() == ("", "")


def test_the_sentence_says_that_the_part_will_be_continued(server, tmp_path):
    with pytest.raises(DownloadError, match=rf"it continues after the {HALF:,} bytes in {PART}"):
        small(server, "cut_then_gone")(tmp_path, download=True)
    assert left(tmp_path) == [PART]


@pytest.mark.parametrize("folder", ["nowhere", ""])
def test_missing_data_without_download_say_what_to_do(server, tmp_path, folder):
    with pytest.raises(DownloadError, match=r"tudui download.*download=True"):
        small(server, "ok")(tmp_path / folder)
    assert left(tmp_path) == [] and server.log == []


def test_a_folder_that_cannot_be_written_is_one_sentence(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match=r"cannot be stored in .*data \(Not a directory\).*another folder"):
        small(server, "ok")(tmp_path / "file" / "data", download=True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_full_disk_is_one_sentence(server, tmp_path):
    (tmp_path / PART).symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"cannot be stored in .*No space left on device.*make room"):
        small(server, "ok", "ok")(tmp_path, download=True)
    assert len(server.log) == 1  # another source would not help


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_a_disk_that_fills_up_during_a_download_is_one_sentence_and_the_next_call_goes_on(server, tmp_path):
    """The limit on a file's size stands for the disk: the write fails, half way through."""
    child = download(server, tmp_path, "ok", limit=HALF)
    output, _ = child.communicate(timeout=120)
    assert output.strip() == (
        f"StorageError: CIFAR-10 cannot be stored in {tmp_path} (File too large): make room for 360 MB, allow writing "
        "there, or choose another folder."
    )
    assert left(tmp_path) == [PART] and (tmp_path / PART).read_bytes() == ARCHIVE[:HALF]
    server.log.clear()
    assert_usable(small(server, "ok")(tmp_path, download=True), tmp_path)
    assert server.log == [("ok", f"bytes={HALF}-")]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_a_disk_that_fills_up_while_unpacking_leaves_the_archive_and_no_half_data_set(server, tmp_path):
    (tmp_path / NAME).write_bytes(ARCHIVE)
    output, _ = download(server, tmp_path, limit=10_000).communicate(timeout=120)
    assert output.startswith("StorageError: CIFAR-10 cannot be stored in ") and output.count("\n") == 1
    assert left(tmp_path) == [NAME] and (tmp_path / NAME).read_bytes() == ARCHIVE
    assert_usable(small(server)(tmp_path, download=True), tmp_path)


# ---------------------------------------------------------------- several at once

CHILD = """
import json, sys
from tudui_course.data.cifar10 import CIFAR10
attributes, root, limit = sys.argv[1:]
if int(limit):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    type("Small", (CIFAR10,), json.loads(attributes))(root, download=True)
except OSError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def download(server, folder, *modes, limit=0, **attributes):
    """Starts another process that downloads; what it says comes through its stdout."""
    attributes = {**ATTRIBUTES, "sources": [url(server, mode) for mode in modes], **attributes}
    command = [sys.executable, "-c", CHILD, json.dumps(attributes), str(folder), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_of_two_downloads_into_one_folder_one_fetches_and_the_other_waits(server, tmp_path):
    first = download(server, tmp_path, "held", timeout=120)
    wait_for(lambda: (tmp_path / PART).exists() and (tmp_path / PART).stat().st_size)
    second = download(server, tmp_path, "ok")
    waiting = second.stdout.readline() if second.poll() is None else ""
    assert f"another process is fetching CIFAR-10 into {tmp_path}: waiting." in waiting
    server.over.set()
    assert first.communicate(timeout=120)[0] == ""
    second.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (0, 0)
    assert server.log == [("held", None)]
    assert_usable(small(server)(tmp_path), tmp_path)


def test_one_that_waits_goes_on_where_a_killed_one_stopped(server, tmp_path):
    first = download(server, tmp_path, "stall", timeout=120)
    wait_for(lambda: (tmp_path / PART).exists() and (tmp_path / PART).stat().st_size)
    second = download(server, tmp_path, "ok")
    assert "waiting" in second.stdout.readline()
    first.kill()
    first.communicate()
    second.communicate(timeout=120)
    assert second.returncode == 0
    assert server.log[1][0] == "ok" and server.log[1][1] is not None
    assert_usable(small(server)(tmp_path), tmp_path)


# ---------------------------------------------------------------- archives and what is in them


def test_an_archive_put_by_hand_is_used(server, tmp_path):
    (tmp_path / NAME).write_bytes(ARCHIVE)
    assert_usable(small(server, "ok")(tmp_path, download=True), tmp_path)
    assert server.log == []


@pytest.mark.parametrize("content, reason", [(WRONG, "wrong content: MD5"), (ARCHIVE[:-1], f"{SIZE - 1:,} bytes")])
def test_a_damaged_archive_put_by_hand_is_named_and_replaced(server, tmp_path, content, reason):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(DownloadError, match=rf"{NAME} \({reason}"), pytest.warns(UserWarning, match=reason):
        small(server, "missing")(tmp_path, download=True)
    assert (tmp_path / NAME).read_bytes() == content  # it may be all that somebody without internet has
    with pytest.warns(UserWarning, match=reason):
        assert_usable(small(server, "ok")(tmp_path, download=True), tmp_path)


@pytest.mark.parametrize("member", ["../evil", "/tmp/tudui-evil-member", f"{FOLDER}/../../evil"])
def test_a_member_that_would_land_outside_is_refused_even_with_the_right_md5(server, tmp_path, member):
    server.archive = evil = pack({f"{FOLDER}/data_batch_1": FILES["data_batch_1"], member: b"evil"})
    root = tmp_path / "root"
    with pytest.raises(DownloadError, match="cannot be unpacked"):
        small(server, "ok", archive_size=len(evil), tgz_md5=md5(evil))(root, download=True)
    assert left(tmp_path) == ["root"] and left(root) == [NAME] and not Path("/tmp/tudui-evil-member").exists()


def test_an_archive_without_all_files_leaves_no_folder(server, tmp_path):
    server.archive = lacking = pack({f"{FOLDER}/data_batch_1": FILES["data_batch_1"]})
    with pytest.raises(DownloadError, match="files missing or changed"):
        small(server, "ok", archive_size=len(lacking), tgz_md5=md5(lacking))(tmp_path, download=True)
    assert left(tmp_path) == [NAME]


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_changed_file_is_never_unpickled_and_is_replaced(server, tmp_path, name):
    small(server, "ok")(tmp_path, download=True)
    marker = tmp_path / "executed"
    (tmp_path / FOLDER / name).write_bytes(f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode())
    with pytest.raises(DownloadError, match="download=True"):
        small(server, "ok")(tmp_path)
    assert not marker.exists()
    assert_usable(small(server, "missing")(tmp_path, download=True), tmp_path)
    assert len(server.log) == 1  # it came from the archive
