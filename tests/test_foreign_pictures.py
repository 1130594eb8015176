"""Folders and pictures as people have them: what is read, what is left out and counted, what is refused, and how."""

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features
from torchvision.transforms import ToTensor

from tudui_course.data.listing import list_pictures
from tudui_course.data.loaders import has_test_set, open_dataset, read_data
from tudui_course.data.picture import open_picture
from tudui_course.errors import CourseWarning, InputError


def pixels(seed, size=32):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def save(path, seed=0, size=32):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, size)).save(path)


@pytest.fixture
def folder(tmp_path):
    """A sound folder: three pictures of each of two classes to train on, two of each to test with."""
    path = tmp_path / "pictures"
    for number, (part, name, count) in enumerate(
        [("train", "ants", 3), ("train", "bees", 3), ("test", "ants", 2), ("test", "bees", 2)]
    ):
        for index in range(count):
            save(path / part / name / f"{index}.png", seed=10 * number + index)
    return path


def read(path, **options):
    """What `read_data` gives, and what it says."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        sets = read_data(str(path), **options)
    assert all(warning.category is CourseWarning for warning in told)
    return *sets, [str(warning.message) for warning in told]


def counts(part):
    return part.targets.bincount(minlength=len(part.classes)).tolist()


def refused(path, **options):
    """The sentence with which it is refused."""
    with warnings.catch_warnings(action="ignore"), pytest.raises(InputError) as raised:
        read_data(str(path), **options)
    return str(raised.value)


def test_of_a_sound_folder_nothing_is_said(folder):
    train, test, told = read(folder)
    assert (counts(train), counts(test), train.classes, told) == ([3, 3], [2, 2], ["ants", "bees"], [])
    assert read(folder)[2] == [], "nor when it comes from the cache"


# ---- how the folder is laid out ----


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_another_name_of_the_test_folder_is_taken_and_said(folder, name):
    (folder / "test").rename(folder / name)
    for _ in range(2):
        train, test, told = read(folder)
        assert (counts(train), counts(test)) == ([3, 3], [2, 2])
        assert told == [f"{folder} has no test/: {name}/ is taken for it."]
    assert has_test_set(str(folder))
    assert len(open_dataset(str(folder), train=False)) == 4


def test_test_is_taken_before_val(folder):
    shutil.copytree(folder / "train", folder / "val")
    _, test, told = read(folder)
    assert (counts(test), told) == ([2, 2], [])


def test_upper_case_counts_as_lower(folder):
    (folder / "train").rename(folder / "Train")
    (folder / "test").rename(folder / "TEST")
    train, test, told = read(folder)
    assert (counts(train), counts(test), told) == ([3, 3], [2, 2], [])


@pytest.mark.parametrize("layout", ["class folders alone", "train alone"])
def test_without_a_test_set_a_split_is_offered_and_made_on_request(folder, layout):
    shutil.rmtree(folder / "test")
    if layout == "class folders alone":
        for path in (folder / "train").iterdir():
            path.rename(folder / path.name)
        (folder / "train").rmdir()
    sentence = refused(folder)
    assert f"{folder} has no test pictures: keep some of the others back, for example --validation 2" in sentence
    assert "train/<class>/*" in sentence and not has_test_set(str(folder))

    train, test, told = read(folder, keep_back=2)
    assert (counts(train), counts(test), told) == ([2, 2], [1, 1], [])
    whole = torch.cat([train.images, test.images]).sum((1, 2, 3)).sort()[0]
    expected = [int(pixels(seed).astype(int).sum()) for seed in (0, 1, 2, 10, 11, 12)]
    assert whole.tolist() == sorted(expected), "every picture is in one of the two"
    again, other = read(folder, keep_back=2)[1], read(folder, keep_back=2, seed=3)[1]
    assert torch.equal(test.images, again.images) and not torch.equal(test.images, other.images)
    assert "5 of 6 pictures can't be kept back" in refused(folder, keep_back=5)


def test_a_test_set_that_is_there_is_used_whatever_is_kept_back(folder):
    assert counts(read(folder, keep_back=2)[1]) == [2, 2]


@pytest.mark.parametrize("kind", ["empty", "no pictures", "test alone"])
def test_a_folder_of_something_else_is_refused_with_the_layout(folder, tmp_path, kind):
    path = folder
    if kind == "test alone":
        shutil.rmtree(folder / "train")
    else:
        path = tmp_path / "other"
        path.mkdir()
        if kind == "no pictures":
            (path / "notes").mkdir()
            (path / "notes" / "a.txt").write_text("hello")
    sentence = refused(path)
    assert sentence == f"{path / 'train'} is missing: a folder of pictures holds train/<class>/* and test/<class>/*."


def test_a_single_class_is_refused(folder):
    for part in ("train", "test"):
        shutil.rmtree(folder / part / "bees")
    assert refused(folder) == f"{folder / 'train'} has one class folder, 'ants'; telling apart takes two."


def test_other_classes_in_val_than_in_train_are_named_with_their_folder(folder):
    (folder / "test").rename(folder / "val")
    (folder / "val" / "bees").rename(folder / "val" / "wasps")
    assert "(only in train: ['bees'], only in val: ['wasps'])" in refused(folder)


def test_names_in_any_script_and_bytes_that_are_no_utf8(folder):
    names = ["蚂蚁", "꿀벌", "caffè latte $5"]
    for part in ("train", "test"):
        shutil.rmtree(folder / part)
        for seed, name in enumerate(names):
            save(folder / part / name / f"图 {name}.png", seed=seed + 10 * len(part))
    if sys.platform == "linux":
        save(folder / "train" / "蚂蚁" / os.fsdecode(b"\xff\xfe.png"), seed=99)
    train, _, told = read(folder)
    assert (train.classes, told) == (sorted(names), []) and len(train) == 3 + (sys.platform == "linux")


# ---- hidden files and folders ----


def test_hidden_files_and_folders_count_for_nothing(folder):
    for path in (
        "train/.ipynb_checkpoints/a-checkpoint.png",  # JupyterLab's
        "train/ants/.ipynb_checkpoints/0-checkpoint.png",
        "test/__MACOSX/ants/0.png",  # of a zip file packed on macOS
    ):
        save(folder / path, seed=77)
    for path in ("train/ants/._0.png", "train/bees/.DS_Store", "train/.DS_Store", "test/ants/Thumbs.db", "desktop.ini"):
        (folder / path).write_bytes(b"not a picture")
    train, test, told = read(folder)
    assert (train.classes, counts(train), counts(test), told) == (["ants", "bees"], [3, 3], [2, 2], [])
    one_by_one = open_dataset(str(folder), train=True, transform=ToTensor())
    assert one_by_one.classes == ["ants", "bees"] and len(one_by_one) == 6
    assert torch.equal(one_by_one[4][0], train[4][0]) and one_by_one[4][1] == train[4][1]


# ---- kinds of files ----

KINDS = ["gif", "jfif", "jpe", "bmp", "tif", "webp", "ppm", "tga", "pcx", "jp2", "ico", "apng", "avif"]


@pytest.mark.parametrize("ending", KINDS)
def test_whatever_pillow_reads_is_read(folder, ending):
    if not features.check({"avif": "avif", "jp2": "jpg_2000"}.get(ending, "zlib")):
        pytest.skip("this Pillow lacks it")
    picture = Image.new("RGB", (48, 48), (250, 10, 200))
    formats = {"jfif": "JPEG", "jpe": "JPEG", "apng": "PNG", "tif": "TIFF", "jp2": "JPEG2000"}
    picture.save(folder / "train" / "ants" / f"a.{ending.upper()}", formats.get(ending, ending.upper()))
    train, _, told = read(folder)
    assert (counts(train), told) == ([4, 3], [])
    assert (train.images[3].float().mean((1, 2)) - torch.tensor([250.0, 10, 200])).abs().max() < 6


def test_files_that_are_no_pictures_are_counted(folder):
    for name in (
        "train/ants/a.txt",
        "train/ants/more/b.TXT",
        "test/bees/clip.mp4",
        "train/labels.csv",
        "test/bees/LICENSE",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("hello")
    for _ in range(2):  # also when the pictures come from the cache
        train, test, told = read(folder)
        assert (counts(train), counts(test)) == ([3, 3], [2, 2])
        assert told == [f"5 files left out of {folder}: .csv (1), .mp4 (1), .txt (2), without an ending (1)."]


@pytest.mark.parametrize("ending", ["eps", "h5", "mpg", "pdf", "svg"])
def test_what_pillow_knows_by_name_alone_is_left_out(folder, ending):
    """And what it would hand to another program."""
    (folder / "train" / "ants" / f"a.{ending}").write_text("hello")
    assert read(folder)[2] == [f"1 file left out of {folder}: .{ending} (1)."]


def test_a_class_whose_files_are_all_left_out_is_refused(folder):
    shutil.rmtree(folder / "test" / "bees")
    (folder / "test" / "bees").mkdir()
    (folder / "test" / "bees" / "a.txt").write_text("hello")
    assert f"{folder / 'test'} can't be used: no pictures in bees;" in refused(folder)


def test_pictures_of_phones_are_read_with_the_optional_package(folder):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.new("RGB", (64, 48), (250, 10, 200))).save(folder / "train" / "ants" / "photo.HEIC")
    train, _, told = read(folder)
    assert (counts(train), told) == ([4, 3], [])
    assert (train.images[3].float().mean((1, 2)) - torch.tensor([250.0, 10, 200])).abs().max() < 6


def test_without_the_package_they_are_counted_and_the_package_is_named(folder):
    (folder / "train" / "ants" / "photo.HEIC").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(20))
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from tudui_course.data.loaders import read_data; from tudui_course.data.picture import open_picture\n"
        "read_data(sys.argv[1])\n"
        "try: open_picture(sys.argv[2])\n"
        "except ValueError as error: print(error)"
    )
    path = folder / "train" / "ants" / "photo.HEIC"
    done = subprocess.run([sys.executable, "-c", code, folder, path], capture_output=True, text=True, check=True)
    hint = "(HEIC, as phones take them: pip install pillow-heif, or save it as JPEG)."
    assert f"1 file left out of {folder}: .heic (1) {hint}" in done.stderr
    assert done.stdout.strip() == f"{path}: not a picture that can be read {hint}"


def test_pictures_that_cannot_be_opened_are_all_named(folder, monkeypatch):
    whole = (folder / "train" / "ants" / "0.png").read_bytes()
    bad = {"empty.png": b"", "cut.png": whole[:500], "page.jpg": b"<html>", "damaged.png": whole[:1000] + whole[1100:]}
    for name, content in bad.items():
        (folder / "train" / "bees" / name).write_bytes(content)
    save(folder / "test" / "ants" / "huge.png", size=200)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    sentence = refused(folder)
    assert sentence.startswith(f"5 of 15 pictures in {folder} can't be read; mend or remove them:")
    assert all(f"{folder / 'train' / 'bees' / name}: " in sentence for name in bad)
    assert f"{folder / 'test' / 'ants' / 'huge.png'}: more than" in sentence


# ---- pixels of other kinds ----


def test_transparent_parts_become_white(folder):
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(folder / "train" / "ants" / "clear.png")
    assert (read(folder)[0].images[3] == 255).all()


def test_a_phones_picture_stands_upright(folder):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = 255  # the left half, which the note in the file turns upwards
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "train" / "ants" / "turned.png", exif=exif)
    seen = read(folder)[0].images[3]
    assert seen[:, :14].min() > 250 and seen[:, 18:].max() < 5


def grey_of(array, path, **options):
    """What the network sees of a grey picture, one channel."""
    Image.fromarray(array).save(path, **options)
    seen = np.asarray(open_picture(path))
    assert (seen == seen[..., :1]).all()
    return seen[..., 0]


GREY = pixels(5)[..., 0]


@pytest.mark.parametrize(
    ("array", "within"),
    [
        (GREY.astype(np.float32) / 255, 0),
        (GREY.astype(np.float32), 0),
        (GREY.astype(np.float32) * 257, 0),
        (GREY.astype(np.int32), 0),
        (GREY.astype(np.int32) * 257, 0),
        (GREY.astype(np.uint16) * 257, 0),
        (np.full((32, 32), 0.25, np.float32), 64 - GREY.astype(int)),
    ],
    ids=["floats to 1", "floats to 255", "floats to 65535", "32 bits to 255", "32 bits to 65535", "16 bits", "quarter"],
)
def test_grey_of_any_depth_is_scaled(tmp_path, array, within):
    """Floats from 0 to 1 used to become black."""
    assert np.array_equal(grey_of(array, tmp_path / "a.tiff").astype(int), GREY + within)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (GREY.astype(np.float32) / 255 * 3.5, "floats from 0 to 3.5 instead of 0 to 1, 255 or 65535"),
        (GREY.astype(np.float32) - 100, "floats from -100 to 155 instead of"),
        (np.full((32, 32), np.nan, np.float32), "floats from nan to nan instead of"),
        (np.full((32, 32), np.inf, np.float32), "floats from inf to inf instead of"),
        (GREY.astype(np.int32) * 1000, "numbers from 0 to 255000 instead of"),
    ],
)
def test_grey_of_an_unknown_scale_is_refused(tmp_path, array, told):
    Image.fromarray(array).save(tmp_path / "a.tiff")
    with pytest.raises(InputError, match=rf"a\.tiff: {told}.*; save it with 8 bits\.$"):
        open_picture(tmp_path / "a.tiff")


def test_an_older_cache_of_black_pictures_is_not_used(folder):
    """Decoded by a version that cut floats off; the files' names, sizes and times are the same."""
    from tudui_course.data import folder as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "VERSION", 1)
        patch.setattr(module, "open_picture", lambda path: Image.new("RGB", (32, 32)))
        with warnings.catch_warnings(action="ignore"):
            assert read_data(str(folder))[0].images.max() == 0
    assert read(folder)[0].images.max() > 0


# ---- pictures that stand twice ----


def test_pictures_that_are_in_train_and_in_test_are_counted(folder):
    shutil.copy(folder / "train" / "ants" / "0.png", folder / "test" / "ants" / "copy.png")
    shutil.copy(folder / "train" / "bees" / "1.png", folder / "test" / "bees" / "renamed.png")
    Image.open(folder / "train" / "bees" / "2.png").save(folder / "test" / "ants" / "saved_anew.bmp")
    for _ in range(2):  # also from the cache
        train, test, told = read(folder)
        assert (counts(train), counts(test)) == ([3, 3], [4, 3])
        assert told == [
            f"3 of 7 test pictures in {folder} are also among those to train on: the accuracy flatters; remove them "
            "from one of the two."
        ]


def test_pictures_that_stand_twice_in_one_part_are_nobodys_business(folder):
    shutil.copy(folder / "train" / "ants" / "0.png", folder / "train" / "ants" / "copy.png")
    assert read(folder)[2] == []


# ---- what lies among the files ----


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights, or aren't there")
def test_links_are_followed_and_dangling_ones_named(folder):
    elsewhere = folder.parent / "elsewhere"
    save(elsewhere / "x.png", seed=50)
    (folder / "train" / "ants" / "linked").symlink_to(elsewhere)
    (folder / "train" / "bees" / "y.png").symlink_to(elsewhere / "x.png")
    (folder / "train" / "bees" / "back").symlink_to(folder / "train")
    assert counts(read(folder)[0]) == [4, 4]
    (folder / "test" / "bees" / "gone.png").symlink_to(folder / "nowhere.png")
    sentence = refused(folder)
    assert sentence.startswith(f"1 of 13 pictures in {folder} can't be read")
    assert f"{folder / 'test' / 'bees' / 'gone.png'}: a link to a file that isn't there." in sentence


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such pipes here")
def test_a_pipe_among_the_pictures_is_named_and_not_waited_for(folder):
    os.mkfifo(folder / "train" / "ants" / "pipe.png")
    assert f"{folder / 'train' / 'ants' / 'pipe.png'}: not a file." in refused(folder)


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.getuid() != 0, reason="takes root, to become somebody else")
def test_a_folder_that_may_not_be_read_is_named_not_passed_over(folder):
    with tempfile.TemporaryDirectory() as public:  # pytest's own folders can be entered by their owner alone
        os.chmod(public, 0o755)
        part = shutil.copytree(folder / "train", os.path.join(public, "train"))
        os.mkdir(os.path.join(part, "ants", "private"), 0o700)
        assert len(list_pictures(Path(part)).samples) == 6
        os.seteuid(65534)
        try:
            with pytest.raises(InputError, match=r"ants/private can't be read \(Permission denied\)"):
                list_pictures(Path(part))
        finally:
            os.seteuid(0)
