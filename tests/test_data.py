import itertools
import math
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, Subset, random_split
from torchvision.datasets import CIFAR10, ImageFolder
from torchvision.transforms import ToTensor

from tudui_course.data import folder
from tudui_course.data.folder import read_folder
from tudui_course.data.loaders import InMemory, fingerprint, from_cifar10, load_data, make_loaders, read_data
from tudui_course.data.pictograms import Pictograms
from tudui_course.data.picture import open_picture
from tudui_course.errors import CourseWarning, DownloadError, InputError, StorageError


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def make_folder(path, train=("bird", "cat"), test=("bird", "cat"), count=3):
    """A small folder of pictures, all different."""
    for seed, (part, name) in enumerate([("train", name) for name in train] + [("test", name) for name in test]):
        (path / part / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.random.default_rng([seed, index]).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / part / name / f"{index}.png")
    return path


def same_batches(ours, theirs):
    """Whether two loaders give equal pictures and targets in the same batches."""
    pairs = list(itertools.zip_longest(ours, theirs))
    return all(
        a[0].dtype == b[0].dtype and a[1].dtype == b[1].dtype and torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        for a, b in pairs
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_comes_as_imagefolder_and_totensor_give_it(pictures, workers):
    ours = make_loaders(*read_data(str(pictures)), batch_size=8, seed=5, num_workers=workers)
    parts = [ImageFolder(pictures / part, ToTensor()) for part in ("train", "test")]
    generator = torch.Generator().manual_seed(5)
    theirs = DataLoader(parts[0], 8, shuffle=True, generator=generator), DataLoader(parts[1], 8)
    assert ours[0].dataset.classes == parts[0].classes
    for _ in range(2):  # and in the second epoch
        assert same_batches(ours[0], theirs[0])
    assert same_batches(ours[1], theirs[1])
    assert not same_batches(ours[0], DataLoader(parts[0], 8))  # what it is compared with can differ


def test_pictograms_come_as_torchvision_and_totensor_give_them(home):
    ours = load_data("pictograms", 500, seed=3)
    theirs = [Pictograms(home / "dataset", train, ToTensor()) for train in (True, False)]
    assert isinstance(theirs[0], CIFAR10)
    loader = DataLoader(theirs[0], 500, shuffle=True, generator=torch.Generator().manual_seed(3))
    assert same_batches(itertools.islice(ours[0], 2), itertools.islice(loader, 2))
    assert same_batches(itertools.islice(ours[1], 2), itertools.islice(DataLoader(theirs[1], 500), 2))
    assert (len(ours[0].dataset), len(ours[1].dataset)) == (10_000, 2_000)
    assert ours[0].dataset.classes == theirs[0].classes


def test_single_items_and_whole_batches_agree(tiny):
    images, targets = next(iter(DataLoader(tiny[0], 70)))
    assert len(tiny[0]) == 70
    for index in range(70):
        image, target = tiny[0][index]
        assert torch.equal(image, images[index]) and target == targets[index]
        picture = Image.fromarray(tiny[0].images[index].permute(1, 2, 0).numpy())
        assert torch.equal(image, ToTensor()(picture))


def test_subsets_and_splits_work_as_with_any_data_set(tiny):
    images, targets = next(iter(DataLoader(Subset(tiny[0], [5, 3, 60]), 3)))
    assert torch.equal(images, tiny[0].images[[5, 3, 60]].float() / 255)
    assert torch.equal(targets, tiny[0].targets[[5, 3, 60]])
    parts = random_split(tiny[0], [50, 20], torch.Generator().manual_seed(0))
    assert [len(next(iter(DataLoader(part, 64)))[1]) for part in parts] == [50, 20]


def test_every_way_into_a_loader_gives_the_same_batches(tiny):
    expected = [(tiny[0].images[i : i + 16].float() / 255, tiny[0].targets[i : i + 16]) for i in range(0, 70, 16)]
    plain = DataLoader(tiny[0], 16)
    of_ours, _ = make_loaders(*tiny, batch_size=16, shuffle=False)
    sampled = DataLoader(tiny[0], batch_sampler=BatchSampler(SequentialSampler(tiny[0]), 16, drop_last=False))
    of_parts, _ = make_loaders(Subset(tiny[0], range(70)), tiny[1], batch_size=16, shuffle=False)
    one_by_one, _ = make_loaders([tiny[0][index] for index in range(70)], tiny[1], batch_size=16, shuffle=False)
    for loader in (plain, of_ours, sampled, of_parts, one_by_one):
        assert same_batches(loader, expected)
    images, target = DataLoader(tiny[0], batch_size=None).dataset[3]
    assert torch.equal(images, expected[0][0][3]) and target == expected[0][1][3]


def test_torchs_table_of_collate_functions_is_left_alone():
    code = (
        "from torch.utils.data._utils.collate import default_collate_fn_map as table; before = dict(table)\n"
        "import tudui_course.data.loaders; assert table == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- split and fingerprint ----


def labelled(*sizes):
    """Pictures whose every pixel holds their number, sorted by class."""
    targets = torch.cat([torch.full((size,), target) for target, size in enumerate(sizes)])
    images = torch.arange(len(targets)).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).to(torch.uint8)
    return InMemory(images, targets, [f"class {index}" for index in range(len(sizes))])


def numbers(part):
    return part.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("count", [1, 3, 10, 40, 99, 197])
def test_a_split_keeps_back_as_many_as_asked_in_proportion_to_the_classes(count):
    whole = labelled(100, 50, 50)
    rest, kept = whole.split(count)
    assert len(kept) == count and sorted(numbers(rest) + numbers(kept)) == numbers(whole)
    assert numbers(rest) == sorted(numbers(rest)) and numbers(kept) == sorted(numbers(kept))
    for part in (rest, kept):
        assert part.classes == whole.classes and part.targets.tolist() == whole.targets[numbers(part)].tolist()
    for size, got in zip((100, 50, 50), kept.targets.bincount(minlength=3).tolist(), strict=True):
        assert abs(got - count * size / 200) <= 1
    assert rest.targets.unique().tolist() == [0, 1, 2]


def test_the_seed_decides_who_is_kept_back():
    first, again, other = (numbers(labelled(60, 40).split(30, seed)[1]) for seed in (0, 0, 1))
    assert first == again != other
    assert first != list(range(18)) + list(range(60, 72)), "not simply the first of each class"


def test_rare_classes_are_tested_and_trained():
    rest, kept = labelled(90, 2, 1, 0).split(5)
    assert kept.targets.bincount(minlength=4).tolist() == [4, 1, 0, 0]
    assert rest.targets.bincount(minlength=4).tolist() == [86, 1, 1, 0]


@pytest.mark.parametrize("count", [-1, 0, 91, 1000])
def test_a_split_that_leaves_nothing_to_learn_is_refused(count):
    with pytest.raises(InputError, match=rf"{count} of 93 pictures can't be kept back: give 1 to 90"):
        labelled(90, 2, 1).split(count)


def test_a_fingerprint_tells_other_data(tiny):
    same = tuple(InMemory(part.images.clone(), part.targets.clone(), list(part.classes)) for part in tiny)
    first = fingerprint(*tiny)
    assert re.fullmatch("[0-9a-f]{64}", first) and fingerprint(*same) == first
    assert fingerprint(tiny[0].transformed(torch.neg), tiny[1]) == first
    assert fingerprint(InMemory(tiny[0].images.transpose(2, 3).transpose(2, 3), *of(tiny[0])), tiny[1]) == first
    one_bit, one_target = tiny[1].images.clone(), tiny[0].targets.clone()
    one_bit[36, 2, 31, 31] ^= 1
    one_target[69] = (one_target[69] + 1) % 10
    others = [
        (tiny[0], InMemory(one_bit, *of(tiny[1]))),
        (InMemory(tiny[0].images, one_target, tiny[0].classes), tiny[1]),
        (InMemory(tiny[0].images, tiny[0].targets, [*tiny[0].classes[:9], "猫"]), tiny[1]),
        (tiny[0].mixed(0), tiny[1]),
        (tiny[0].first(69), tiny[1]),
        (tiny[1], tiny[0]),
    ]
    assert len({first, *(fingerprint(*other) for other in others)}) == 7


def of(part):
    return part.targets, part.classes


def test_a_fingerprint_is_the_same_everywhere():
    assert fingerprint(*read_data("pictograms")).startswith("c518708adcf247e20e614c8e0452cf80")


def test_options_reach_both_loaders(tiny):
    loaders = make_loaders(*tiny, batch_size=16, pin_memory=True)
    assert all(loader.pin_memory for loader in loaders)


def test_no_test_picture_is_ever_left_out(tiny):
    train_loader, test_loader = make_loaders(*tiny, batch_size=16, drop_last=True)
    assert (len(train_loader), len(test_loader)) == (70 // 16, math.ceil(len(tiny[1]) / 16))
    assert sum(len(targets) for _, targets in test_loader) == len(tiny[1])


def test_a_transform_sees_whole_batches(tiny):
    shapes = []

    def negative(images):
        shapes.append(images.shape)
        return 1 - images

    changed = tiny[0].transformed(negative)
    (images, _), (plain, _) = (next(iter(DataLoader(data, 16))) for data in (changed, tiny[0]))
    assert torch.equal(images, 1 - plain) and shapes == [(16, 3, 32, 32)]
    assert torch.equal(changed[5][0], 1 - tiny[0][5][0])
    assert torch.equal(changed.mixed(0)[0][0], 1 - tiny[0].mixed(0)[0][0])
    assert changed.images is tiny[0].images and tiny[0].transform is None


def test_only_the_training_set_is_shuffled_anew_each_epoch(tiny):
    train_loader, test_loader = make_loaders(*tiny, batch_size=70)
    first, second = next(iter(train_loader))[1], next(iter(train_loader))[1]
    assert not torch.equal(first, second) and torch.equal(first.sort()[0], second.sort()[0])
    assert torch.equal(next(iter(test_loader))[1], tiny[1].targets)
    assert torch.equal(next(iter(make_loaders(*tiny, 70, shuffle=False)[0]))[1], tiny[0].targets)


@pytest.mark.parametrize(("seed", "same"), [(0, True), (1, False)])
def test_the_seed_decides_the_order_whatever_else_was_drawn(tiny, seed, same):
    first = next(iter(make_loaders(*tiny, 70, seed=0)[0]))[1]
    torch.rand(3)
    assert torch.equal(first, next(iter(make_loaders(*tiny, 70, seed=seed)[0]))[1]) is same


def test_limit_takes_the_same_pictures_each_time_from_all_classes():
    targets = torch.arange(10).repeat_interleave(100)  # sorted by class, as a folder is
    images = torch.arange(1000).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).to(torch.uint8)
    whole = InMemory(images, targets, [str(index) for index in range(10)])
    part = whole.first(200)
    assert len(part) == 200 and part.classes == whole.classes
    assert part.targets.bincount(minlength=10).min() >= 10
    assert torch.equal(part.images, whole.first(200).images)
    assert not torch.equal(part.images, whole.images[:200])
    for limit in (0, 1000, 5000):
        assert whole.first(limit) is whole


def test_read_data_limits_both_sets():
    assert [len(part) for part in read_data("pictograms", limit=50)] == [50, 50]


UP = noise(32, 32, 3)


def save_jpeg_of_a_phone(path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn by 90 degrees clockwise to see it upright
    pixels = np.zeros((400, 600, 3), np.uint8)
    pixels[:, :300] = (255, 0, 0)
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


PICTURES = {
    "rgb.png": lambda path: Image.fromarray(UP).save(path),
    "grey.png": lambda path: Image.fromarray(UP[..., 0]).save(path),
    "rgba.png": lambda path: Image.fromarray(noise(32, 32, 4)).save(path),
    "palette.png": lambda path: Image.fromarray(UP).quantize(16).save(path),
    "one_bit.png": lambda path: Image.fromarray(UP[..., 0] > 127).save(path),
    "grey_alpha.png": lambda path: Image.fromarray(noise(32, 32, 2)).save(path),
    "sixteen_bit.png": lambda path: Image.fromarray(noise(32, 32, dtype=np.uint16)).save(path),
    "cmyk.jpg": lambda path: Image.fromarray(noise(32, 32, 4), "CMYK").save(path),
    "grey.jpg": lambda path: Image.fromarray(UP[..., 0]).save(path),
    "wide.png": lambda path: Image.fromarray(noise(40, 200, 3)).save(path),
    "tall.png": lambda path: Image.fromarray(noise(300, 33, 3)).save(path),
    "small.png": lambda path: Image.fromarray(noise(5, 7, 3)).save(path),
    "pixel.png": lambda path: Image.fromarray(noise(1, 1, 3)).save(path),
    "large.jpg": lambda path: Image.fromarray(noise(2000, 3000, 3)).save(path),
    "phone.jpg": save_jpeg_of_a_phone,
    "a.bmp": lambda path: Image.fromarray(UP).save(path),
    "a.webp": lambda path: Image.fromarray(UP).save(path),
    "a.tiff": lambda path: Image.fromarray(UP).save(path),
    "float.tiff": lambda path: Image.fromarray(UP[..., 0].astype(np.float32)).save(path),
}


def test_pictures_of_any_kind_become_32x32_rgb(tmp_path):
    make_folder(tmp_path)
    for name, save in PICTURES.items():
        save(tmp_path / "train" / "cat" / name)
        assert (
            open_picture(tmp_path / "train" / "cat" / name).size,
            open_picture(tmp_path / "train" / "cat" / name).mode,
        ) == (
            (32, 32),
            "RGB",
        )
    (images, targets, classes), _ = read_folder(tmp_path)
    assert images.shape == (6 + len(PICTURES), 3, 32, 32) and images.dtype == torch.uint8
    assert targets.bincount().tolist() == [3, 3 + len(PICTURES)] and classes == ["bird", "cat"]


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff"])
def test_a_32x32_rgb_picture_passes_unchanged(tmp_path, kind):
    Image.fromarray(UP).save(tmp_path / f"a.{kind}")
    assert np.array_equal(np.asarray(open_picture(tmp_path / f"a.{kind}")), UP)


def test_a_32x32_jpeg_passes_as_pil_decodes_it(tmp_path):
    Image.fromarray(UP).save(tmp_path / "a.jpg")
    assert np.array_equal(np.asarray(open_picture(tmp_path / "a.jpg")), np.asarray(Image.open(tmp_path / "a.jpg")))


def test_grey_comes_out_equal_in_all_channels(tmp_path):
    for name in ("grey.png", "one_bit.png"):
        PICTURES[name](tmp_path / name)
    grey = np.asarray(open_picture(tmp_path / "grey.png"))
    assert all(np.array_equal(grey[..., channel], UP[..., 0]) for channel in range(3))
    assert np.array_equal(np.asarray(open_picture(tmp_path / "one_bit.png"))[..., 0], (UP[..., 0] > 127) * 255)


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path):
    PICTURES["sixteen_bit.png"](tmp_path / "a.png")
    assert np.array_equal(np.asarray(open_picture(tmp_path / "a.png"))[..., 0], noise(32, 32, dtype=np.uint16) // 256)


def test_transparent_parts_become_white(tmp_path):
    pixels = noise(32, 32, 4)
    pixels[:16, :, 3], pixels[16:, :, 3] = 0, 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = np.asarray(open_picture(tmp_path / "a.png"))
    assert (seen[:16] == 255).all() and np.array_equal(seen[16:], pixels[16:, :, :3])
    Image.fromarray(UP[..., 0]).convert("P").save(tmp_path / "b.png", transparency=int(UP[0, 0, 0]))
    seen = np.asarray(open_picture(tmp_path / "b.png"))
    assert (seen[UP[..., 0] == UP[0, 0, 0]] == 255).all() and np.array_equal(seen[0, 1], np.repeat(UP[0, 1, 0], 3))


def test_a_phones_picture_is_turned_upright(tmp_path):
    save_jpeg_of_a_phone(tmp_path / "a.jpg")
    seen = np.asarray(open_picture(tmp_path / "a.jpg")).astype(int)
    assert seen[:12, :, 0].min() > 200 and seen[20:, :, 0].max() < 50  # the red left half has become the upper one


def test_the_middle_is_cut_out_and_nothing_squeezed(tmp_path):
    pixels = np.zeros((64, 192, 3), np.uint8)
    pixels[:, 64:128] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = np.asarray(open_picture(tmp_path / "a.png"))
    assert (seen[:, 1:-1] == 255).all()


@pytest.fixture
def decoded(monkeypatch):
    """Names of the pictures that were decoded."""
    names = []
    monkeypatch.setattr(folder, "open_picture", lambda path: names.append(os.path.basename(path)) or open_picture(path))
    return names


def equal_parts(one, other):
    return all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) and a[2] == b[2] for a, b in zip(one, other, strict=True)
    )


def test_pictures_are_decoded_once(tmp_path, decoded):
    make_folder(tmp_path)
    first = read_folder(tmp_path)
    assert len(decoded) == 12
    decoded.clear()
    assert equal_parts(read_folder(tmp_path), first) and decoded == []


def change(path):
    Image.fromarray(UP).save(path / "train" / "cat" / "1.png")


def change_without_another_size(path):
    (path / "train" / "cat" / "0.bmp").write_bytes((path / "train" / "cat" / "1.bmp").read_bytes())


def rename_class(path):
    for part in ("train", "test"):
        os.rename(path / part / "cat", path / part / "dog")


@pytest.mark.parametrize(
    "edit",
    [
        change,
        change_without_another_size,
        rename_class,
        lambda path: (path / "test" / "bird" / "2.png").unlink(),
        lambda path: Image.fromarray(UP).save(path / "test" / "bird" / "new.png"),
        lambda path: os.rename(path / "train" / "cat" / "1.png", path / "train" / "bird" / "8.png"),
    ],
)
def test_a_changed_folder_is_read_anew(tmp_path, decoded, edit):
    make_folder(tmp_path)
    for index, pixels in enumerate((UP, 255 - UP)):
        Image.fromarray(pixels).save(tmp_path / "train" / "cat" / f"{index}.bmp")
    read_folder(tmp_path)
    decoded.clear()
    time.sleep(0.02)  # longer than a tick of the file system's clock
    edit(tmp_path)
    again = read_folder(tmp_path)
    assert decoded
    for part, (images, targets, classes) in zip(("train", "test"), again, strict=True):
        expected = ImageFolder(tmp_path / part)
        assert classes == expected.classes and targets.tolist() == expected.targets
        for image, (picture, _) in zip(images, expected, strict=True):
            assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(picture))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cache: cache.write_bytes(b""),
        lambda cache: cache.write_bytes(b"no cache"),
        lambda cache: cache.write_bytes(cache.read_bytes()[:-2000]),
        lambda cache: cache.write_bytes(flip(cache.read_bytes())),
        lambda cache: torch.save([1, 2], cache),
        lambda cache: torch.save({"fingerprint": torch.load(cache)["fingerprint"]}, cache),
        lambda cache: torch.save({}, cache),
        lambda cache: cache.unlink(),
    ],
)
def test_a_broken_cache_is_made_anew(tmp_path, decoded, monkeypatch, spoil):
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path / "home"))
    make_folder(tmp_path / "data")
    Image.fromarray(UP).save(tmp_path / "data" / "train" / "cat" / "up.png")
    first = read_folder(tmp_path / "data")
    (cache,) = (tmp_path / "home" / "dataset" / "folders").iterdir()
    spoil(cache)
    decoded.clear()
    assert equal_parts(read_folder(tmp_path / "data"), first) and len(decoded) == 13
    decoded.clear()
    assert equal_parts(read_folder(tmp_path / "data"), first) and decoded == []


def flip(raw):
    """The same bytes with one bit of a pixel changed, which torch.load alone would not notice."""
    place = raw.rindex(bytes(UP[:, :, 0])) + 500  # of a picture that was decoded, red comes first
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files stands for the full disk")
def test_a_disk_that_is_full_costs_only_time_and_leaves_the_cache_that_was_there(tmp_path, monkeypatch):
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path / "home"))
    make_folder(tmp_path / "data")
    read_folder(tmp_path / "data")
    (cache,) = (tmp_path / "home" / "dataset" / "folders").iterdir()
    before = cache.read_bytes()
    Image.fromarray(UP).save(tmp_path / "data" / "train" / "cat" / "new.png")
    code = (
        "import resource, sys; from tudui_course.data.loaders import read_data\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "print(len(read_data(sys.argv[1])[0]))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "data"], capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"
    assert done.stderr.count("CourseWarning") == 1 and "Traceback" not in done.stderr
    reason = r"\((the disk may be full|File too large)\)"  # in torch, or at the last flush
    assert re.search(rf"could not be kept in {cache} {reason}: they are decoded anew next time\.", done.stderr)
    assert list(cache.parent.iterdir()) == [cache] and cache.read_bytes() == before


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dataset").write_text("in the way")
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path / "home"))
    make_folder(tmp_path / "data")
    with pytest.warns(CourseWarning, match="could not be kept"):
        (images, _, _), _ = read_folder(tmp_path / "data")
    assert len(images) == 6


def empty(path):
    make_folder(path)
    for picture in (path / "test" / "cat").iterdir():
        picture.unlink()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), r"train is missing: .*train/<class>/\*"),
        (lambda path: (path / "train" / "cat").mkdir(parents=True), "train can't be used: .*cat"),
        (lambda path: make_folder(path, test=()), r"has no test pictures: .*--validation 2, or sort them"),
        (lambda path: (make_folder(path, test=()) / "test").mkdir(), "test can't be used"),
        (empty, "test can't be used: .*cat"),
        (
            lambda path: make_folder(path, test=("bird", "dog")),
            r"classes .* differ \(only in train: \['cat'\], only in test: \['dog'\]\)",
        ),
        (lambda path: make_folder(path, train=("bird",)), r"differ \(only in train: \[\], only in test: \['cat'\]\)"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_in_a_sentence(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(ValueError, match=message) as raised:
        read_data(str(tmp_path / "data"))
    assert "\n" not in str(raised.value) and str(tmp_path) in str(raised.value)


def test_all_unreadable_pictures_of_both_parts_are_named(tmp_path):
    make_folder(tmp_path)
    bad = [
        tmp_path / "train" / "bird" / "0.png",
        tmp_path / "train" / "cat" / "new.jpg",
        tmp_path / "test" / "cat" / "2.png",
    ]
    bad[0].write_bytes(b"")
    bad[1].write_text("no picture")
    bad[2].write_bytes(bad[2].read_bytes()[:500])
    with pytest.raises(ValueError, match="3 of 13 pictures") as raised:
        read_folder(tmp_path)
    assert all(str(path) in str(raised.value) for path in bad)
    assert str(raised.value).count(str(tmp_path / "t")) == 3
    for path in bad:
        path.unlink()
    assert len(read_folder(tmp_path)[0][0]) == 5


def test_of_many_unreadable_pictures_the_first_are_named(tmp_path):
    make_folder(tmp_path)
    for index in range(25):
        (tmp_path / "train" / "cat" / f"x{index:02d}.png").write_text("")
    with pytest.raises(ValueError, match=r"25 of 37 pictures(?s:.*)and 5 more$") as raised:
        read_folder(tmp_path)
    assert str(raised.value).count(".png") == 20


def test_a_decompression_bomb_is_not_decoded(tmp_path, monkeypatch):
    Image.fromarray(noise(100, 100, 3)).save(tmp_path / "a.png")
    for limit in (9_000, 4_000):  # PIL warns above the limit and raises above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=r"a\.png: more than .* pixels, not decoded"):
            open_picture(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    assert open_picture(tmp_path / "a.png").size == (32, 32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a folder, not a picture"),
        (lambda path: path.write_text("text"), "not a picture that can be read"),
    ],
)
def test_what_is_no_picture_is_told_in_a_sentence(tmp_path, make, message):
    make(tmp_path / "a.png")
    with pytest.raises(ValueError, match=message) as raised:
        open_picture(tmp_path / "a.png")
    assert str(tmp_path / "a.png") in str(raised.value)


@pytest.mark.parametrize("name", ["mnist", "CIFAR10", "", "/no/such/folder"])
def test_an_unknown_data_set_is_told_with_the_known_ones(name):
    with pytest.raises(ValueError, match=r"pictograms, cifar10") as raised:
        read_data(name)
    assert repr(name) in str(raised.value)


def test_cifar10_that_is_not_there_is_a_mistake_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path))
    with pytest.raises(DownloadError, match="tudui download"):
        read_data("cifar10")


def test_a_folder_where_nothing_can_be_drawn_is_told_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "dataset").write_text("in the way")
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path))
    with pytest.raises(StorageError, match=r"can't be stored in .*dataset \(.*\): make room") as raised:
        read_data("pictograms")
    assert "\n" not in str(raised.value)


def test_in_memory_keeps_the_data_sets_own_order(home):
    dataset = Pictograms(home / "dataset", train=False)
    ours = from_cifar10(dataset)
    assert ours.targets.tolist() == dataset.targets
    assert np.array_equal(ours.images[7].permute(1, 2, 0).numpy(), np.asarray(dataset[7][0]))
