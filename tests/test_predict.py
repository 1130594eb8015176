"""Pictures of every kind are answered, and those that can't be read are told, one sentence each."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from tudui_course import cli
from tudui_course.checkpoint import save_checkpoint
from tudui_course.data.drawings import CLASSES
from tudui_course.model import Tudui
from tudui_course.plots import cjk_fonts
from tudui_course.predict import MADE_BY, Prediction, predict


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    model = Tudui().eval()
    with torch.no_grad():
        model.model1[8].weight.mul_(30)  # so that its answers differ from picture to picture
    return model


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("run") / "tudui_0.pth", model, classes=[*"abcdefghij"])


@pytest.fixture
def tudui(monkeypatch, capsys):
    """Run `tudui predict` in this process; gives exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tudui", "predict", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, *capsys.readouterr()

    return call


def pixels(height=32, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_hand(model, pixels):
    """Probabilities of a picture (32, 32, 3) uint8, with nothing of the package but the network."""
    images = torch.tensor(pixels / 255, dtype=torch.float32).permute(2, 0, 1).unsqueeze(0)
    logits = model(images)[0].double()
    return (logits.exp() / logits.exp().sum()).tolist()


def probabilities_of(prediction: Prediction, classes=CLASSES):
    return [prediction.probabilities[name] for name in classes]


GREY = pixels()[:, :, :1]
ROTATED = Image.Exif()
ROTATED[0x0112] = 6  # the camera was turned: show it turned clockwise by 90 degrees


def half_transparent():
    rgba = Image.fromarray(pixels()).convert("RGBA")
    rgba.putalpha(Image.fromarray(np.where(np.arange(32)[:, None] < 16, 255, 0).astype(np.uint8).repeat(32, 1)))
    return rgba


def white_below():
    array = pixels()
    array[16:] = 255
    return array


def palette():
    return Image.fromarray((pixels() > 127).astype(np.uint8) * 255).quantize(8)


def wide():
    """48 columns of which the middle 32 are the picture."""
    return np.concatenate([np.zeros((32, 8, 3), np.uint8), pixels(), np.full((32, 8, 3), 255, np.uint8)], 1)


# Name: (picture, options of save, what the network should see of it).
KINDS = {
    "rgb.png": (lambda: Image.fromarray(pixels()), {}, pixels),
    "rgb.bmp": (lambda: Image.fromarray(pixels()), {}, pixels),
    "rgb.webp": (lambda: Image.fromarray(pixels()), {"lossless": True}, pixels),
    "rgb.tiff": (lambda: Image.fromarray(pixels()), {}, pixels),
    "rgba.png": (half_transparent, {}, white_below),
    "grey.png": (lambda: Image.fromarray(GREY[:, :, 0]), {}, lambda: GREY.repeat(3, 2)),
    "grey with alpha.png": (lambda: Image.fromarray(GREY[:, :, 0]).convert("LA"), {}, lambda: GREY.repeat(3, 2)),
    "palette.png": (palette, {}, lambda: np.asarray(palette().convert("RGB"))),
    "palette.gif": (palette, {}, lambda: np.asarray(palette().convert("RGB"))),
    "1 bit.png": (
        lambda: Image.fromarray(GREY[:, :, 0] > 127),
        {},
        lambda: ((GREY > 127) * 255).astype(np.uint8).repeat(3, 2),
    ),
    "16 bit.png": (lambda: Image.fromarray(GREY[:, :, 0].astype(np.uint16) * 257), {}, lambda: GREY.repeat(3, 2)),
    "rotated.png": (lambda: Image.fromarray(np.rot90(pixels())), {"exif": ROTATED}, pixels),
    "wide.png": (lambda: Image.fromarray(wide()), {}, pixels),
    "tall.png": (lambda: Image.fromarray(wide().transpose(1, 0, 2)), {}, lambda: pixels().transpose(1, 0, 2)),
    "twice as large.png": (
        lambda: Image.fromarray(np.full((64, 64, 3), 77, np.uint8)),
        {},
        lambda: np.full((32, 32, 3), 77),
    ),
    "one pixel.png": (lambda: Image.new("RGB", (1, 1), (10, 200, 30)), {}, lambda: np.full((32, 32, 3), (10, 200, 30))),
    "a line.png": (lambda: Image.new("RGB", (1, 3000), (10, 200, 30)), {}, lambda: np.full((32, 32, 3), (10, 200, 30))),
    "named like a jpeg.jpg": (lambda: Image.fromarray(pixels()), {"format": "PNG"}, pixels),
    "$price$ 图片 \N{CAT FACE}.png": (lambda: Image.fromarray(pixels()), {}, pixels),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_of_any_kind_gives_the_probabilities_of_its_pixels(name, model, tmp_path):
    make, options, seen = KINDS[name]
    make().save(tmp_path / name, **options)
    (prediction,) = predict(model, [tmp_path / name], CLASSES)
    assert probabilities_of(prediction) == pytest.approx(by_hand(model, seen()), abs=1e-5)
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert list(prediction.probabilities.values()) == sorted(prediction.probabilities.values(), reverse=True)
    assert prediction.top() == list(prediction.probabilities.items())[:3]
    assert (prediction.label, prediction.probability) == prediction.top(1)[0]


def test_photographs_of_a_camera_are_read(model, tmp_path):
    """JPEG loses a little; turned and unturned, grey and CMYK give nearly the same."""
    picture = Image.fromarray(pixels(8, 8)).resize((320, 320), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "rgb.jpg", quality=95)
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", quality=95, exif=ROTATED)
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    straight, turned, cmyk = predict(model, [tmp_path / f"{kind}.jpg" for kind in ("rgb", "turned", "cmyk")], CLASSES)
    assert probabilities_of(turned) == pytest.approx(probabilities_of(straight), abs=0.05)
    assert probabilities_of(cmyk) == pytest.approx(probabilities_of(straight), abs=0.1)


# ------------------------------------------------------------------------------------------------ the function


def test_tensors_give_torchs_softmax_in_float32(model):
    images = torch.rand(300, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = torch.softmax(model(images), dim=1)
    for pictures in (images, list(images)):
        found = torch.tensor([probabilities_of(one) for one in predict(model, pictures, CLASSES)])
        assert torch.allclose(found, expected, atol=1e-6) and len(found) == 300
        assert torch.allclose(found.sum(1), torch.ones(300), atol=1e-6)
    assert [one.label for one in predict(model, images, CLASSES)] == [CLASSES[index] for index in expected.argmax(1)]


def test_the_network_predicts_in_eval_mode_and_without_gradients(model):
    model.train()
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    predict(model, images, CLASSES)
    assert not model.training and images.grad is None
    assert predict(model, [], CLASSES) == []


def test_names_that_do_not_fit_and_a_broken_network_are_told(model):
    images = torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match="3 names were given for a network of 10 classes"):
        predict(model, images, ["a", "b", "c"])
    with pytest.raises(ValueError, match="NaN or infinity"):
        predict(model, images * float("nan"), CLASSES)
    with pytest.raises(ValueError, match="the batch dimension is missing"):
        predict(model, images[0], CLASSES)


# ------------------------------------------------------------------------------------------------ files that fail


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def saved(kind, cut=None, size=64):
    stream = io.BytesIO()
    Image.fromarray(pixels(size, size)).save(stream, kind)
    return stream.getvalue()[:cut]


def bomb():
    """A PNG of a few bytes that says it has 400 million pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


def unknown_blp():
    stream = io.BytesIO()
    palette().save(stream, "BLP")
    return stream.getvalue()[:8] + b"\x63" + stream.getvalue()[9:]


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) (w) file\nshowpage\n%%EOF\n"
BAD = {
    "text.png": (b"hello", "not a picture that can be read"),
    "empty.png": (b"", "not a picture that can be read"),
    "photo.HEIC": (b"\x00\x00\x00\x18ftypheic" + bytes(20), "not a picture that can be read"),
    "postscript.png": (EPS, "not a picture that can be read"),  # Pillow would start Ghostscript
    "page.png": (b"%PDF-1.4\n", "not a picture that can be read"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture that can be read"),
    "cut.png": (saved("PNG", 2000), "truncated"),
    "cut.jpg": (saved("JPEG", 1500), "truncated"),
    "cut.webp": (saved("WEBP", 500), "cut.webp: "),
    "header alone.png": (saved("PNG", 33), "header alone.png: "),
    "bomb.png": (bomb(), "more than 89 million pixels"),
    "texture.blp": (unknown_blp(), "Unknown BLP encoding 99"),  # Pillow raises NotImplementedError
    "folder.png": (None, "a folder, not a picture"),
    "missing.png": (None, "no such file"),
    "pipe.png": (None, "not a file"),
    "strange \x1b[2J.png": (b"x", "not a picture"),
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    for name, (content, _) in BAD.items():
        if content is not None:
            (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    return folder


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_picture_is_told_and_the_others_are_answered(name, bad, checkpoint, tudui, tmp_path):
    Image.fromarray(pixels(seed=1)).save(tmp_path / "a.png")
    Image.fromarray(pixels(seed=2)).save(tmp_path / "b.png")
    files = tmp_path / "a.png", bad / name, tmp_path / "b.png"
    code, output, errors = tudui(checkpoint, *files)
    assert code == 2 and errors.count("\n") == 1
    assert errors.startswith("tudui: ") and BAD[name][1] in errors and "Traceback" not in errors
    assert str(files[0]) in output and str(files[2]) in output and str(files[1]) not in output

    code, output, errors = tudui(checkpoint, *files, "--json")
    first, second, third = json.loads(output)
    assert code == 2 and errors.count("\n") == 1
    assert set(second) == {"file", "error"} and second["file"] == str(files[1]) and BAD[name][1] in second["error"]
    assert set(first) == set(third) == {"file", "class", "probability", "probabilities"}


def test_when_no_file_can_be_read_nothing_is_answered(bad, checkpoint, tudui, tmp_path):
    figure = tmp_path / "figure.png"
    code, output, errors = tudui(checkpoint, bad / "text.png", bad / "missing.png", "--figure", figure)
    assert (code, output) == (2, "") and errors.count("\n") == 2 and not figure.exists()


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "first.png", tmp_path / "second $_{$.png"]
    for seed, path in enumerate(paths):
        Image.fromarray(pixels(40, 60, seed)).save(path)
    return paths


def test_the_text_has_the_top_three_and_says_once_what_a_probability_is_not(model, checkpoint, files, tudui):
    code, output, errors = tudui(checkpoint, *files)
    assert (code, errors) == (0, "")
    assert output.count("no certainty") == 1
    lines = output.splitlines()
    for path, prediction in zip(files, predict(model, files, [*"abcdefghij"]), strict=True):
        start = lines.index(str(path))
        shown = [line.split() for line in lines[start + 1 : start + 4]]
        assert shown == [[name, f"{probability:.4f}"] for name, probability in prediction.top()]
    assert "drawings" not in output


def test_json_is_one_array_of_all_probabilities(model, checkpoint, files, tudui, tmp_path):
    code, output, errors = tudui(checkpoint, files[0], files[1], files[0], "--json", "--figure", tmp_path / "f.png")
    assert (code, errors) == (0, "") and (tmp_path / "f.png").exists()
    rows = json.loads(output)
    assert [row["file"] for row in rows] == [str(files[0]), str(files[1]), str(files[0])] and rows[0] == rows[2]
    for row, prediction in zip(rows, predict(model, files, [*"abcdefghij"]), strict=False):
        assert row["probabilities"] == prediction.probabilities and row["class"] == prediction.label
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        assert row["probability"] == max(row["probabilities"].values())


def test_without_names_in_the_file_cifar10s_are_taken(model, files, tudui, tmp_path):
    for path in (save_checkpoint(tmp_path / "nameless.pth", model), tmp_path / "weights.pth"):
        torch.save(model.state_dict(), tmp_path / "weights.pth")
        code, output, _ = tudui(path, files[0], "--json")
        assert code == 0 and set(json.loads(output)[0]["probabilities"]) == set(CLASSES)


def test_class_names_of_a_foreign_file_do_not_steer_the_terminal(model, files, tudui, tmp_path):
    path = save_checkpoint(tmp_path / "x.pth", model, classes=[f"\x1b[2J{letter}" for letter in "abcdefghij"])
    code, output, errors = tudui(path, files[0])
    assert code == 0 and "?[2J" in output and "\x1b" not in output + errors


def test_a_network_of_two_classes_that_saw_drawings(files, tudui, tmp_path):
    path = save_checkpoint(tmp_path / "two.pth", Tudui(2), classes=["cat", "狗"], settings={"data": "pictograms"})
    code, output, errors = tudui(path, files[0], "--figure", tmp_path / "two.png")
    assert code == 0 and "2 classes" in output and "drawings (Pictograms)" in output
    assert errors == "" or not cjk_fonts()


def test_a_name_that_the_terminal_can_not_show_is_shown_otherwise(checkpoint, tmp_path, monkeypatch):
    path = tmp_path / "图.png"
    Image.fromarray(pixels()).save(path)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "argv", ["tudui", "predict", str(checkpoint), str(path)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    stream.flush()
    assert stop.value.code == 0 and rb"\u56fe.png" in stream.buffer.getvalue()


def test_a_checkpoint_saved_on_a_gpu_opens_here(model, files, tudui, tmp_path, monkeypatch):
    expected = predict(model, files, CLASSES)
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    path = save_checkpoint(tmp_path / "gpu.pth", model, classes=CLASSES)
    monkeypatch.undo()
    monkeypatch.setattr(sys, "argv", ["tudui", "predict", str(path), str(files[0])])
    assert b"cuda:0" in path.read_bytes()
    code, output, errors = tudui(path, *files, "--json", "--device", "cpu")
    assert (code, errors) == (0, "")
    assert [row["probabilities"] for row in json.loads(output)] == [one.probabilities for one in expected]


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_told(device, checkpoint, files, tudui):
    code, output, errors = tudui(checkpoint, files[0], "--device", device)
    assert (code, output) == (2, "") and f"device {device!r}" in errors and errors.count("\n") == 1


def test_a_checkpoint_that_can_not_be_used_is_told_in_a_sentence(model, files, tudui, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch '{tmp_path / 'canary'}'",)

    (tmp_path / "text.pth").write_text("hello")
    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    broken = {name: value * float("nan") for name, value in model.state_dict().items()}
    torch.save(broken, tmp_path / "nan.pth")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    for name, sentence in [
        ("missing.pth", "doesn't exist"),
        ("text.pth", "damaged or no checkpoint"),
        ("evil.pth", "it asks for posix.system"),
        ("nan.pth", "NaN or infinity"),
        ("other.pth", "another network"),
        ("", "is a folder"),
    ]:
        for extra in ([], ["--json"]):
            code, output, errors = tudui(tmp_path / name, *files, *extra)
            assert (code, output) == (2, "") and sentence in errors and errors.count("\n") == 1, errors
    assert not (tmp_path / "canary").exists()


def test_no_picture_is_a_mistake(checkpoint, tudui):
    code, output, errors = tudui(checkpoint)
    assert (code, output) == (2, "") and "no picture is given" in errors


# ------------------------------------------------------------------------------------------------ the figure


def test_the_figure_shows_both_pictures_and_the_bars(checkpoint, files, tudui, tmp_path):
    path = tmp_path / "figure.png"
    code, output, errors = tudui(checkpoint, *files, "--figure", path)
    assert (code, errors) == (0, "") and str(path) in output
    with Image.open(path) as figure:
        assert figure.format == "PNG" and figure.width > 700 and figure.info["Software"] == MADE_BY
        both = np.asarray(figure.convert("RGB"))
    code, *_ = tudui(checkpoint, files[0], "--figure", path)  # an earlier figure may be replaced
    with Image.open(path) as figure:
        assert code == 0 and abs(figure.height - both.shape[0] / 2) < 5
    assert len(np.unique(both.reshape(-1, 3), axis=0)) > 1000  # pictures, not a blank page


def test_what_the_network_saw_stands_in_the_figure(checkpoint, tudui, tmp_path):
    Image.new("RGB", (90, 30), (250, 10, 200)).save(tmp_path / "pink.png")
    assert tudui(checkpoint, tmp_path / "pink.png", "--figure", tmp_path / "f.png")[0] == 0
    with Image.open(tmp_path / "f.png") as figure:
        pink = (np.asarray(figure.convert("RGB")) == (250, 10, 200)).all(2)
    columns = np.flatnonzero(pink.any(0))
    assert (np.diff(columns) > 5).sum() == 1  # two areas, side by side: the original and the 32x32 one
    left, right = np.split(columns, np.flatnonzero(np.diff(columns) > 5) + 1)
    height = [pink[:, side[len(side) // 2]].sum() for side in (left, right)]
    assert len(left) / height[0] == pytest.approx(3, rel=0.1)  # nothing is cut off
    assert len(right) / height[1] == pytest.approx(1, rel=0.1)


def test_a_figure_of_more_pictures_than_fit(checkpoint, files, tudui, tmp_path, monkeypatch):
    monkeypatch.setattr("tudui_course.predict.MOST_ROWS", 1)
    code, _, errors = tudui(checkpoint, *files, "--figure", tmp_path / "f.png")
    assert (code, errors) == (0, "")
    with Image.open(tmp_path / "f.png") as figure:
        assert figure.height < 300


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files stands for the full disk")
def test_a_disk_that_is_full_leaves_the_earlier_figure(checkpoint, files, tudui, tmp_path):
    path = tmp_path / "f.png"
    assert tudui(checkpoint, files[0], "--figure", path)[0] == 0
    before = path.read_bytes()
    code = (
        "import resource, sys; from tudui_course import cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))\n"
        "sys.argv[0] = 'tudui'; cli.main()"
    )
    command = [sys.executable, "-c", code, "predict", checkpoint, *files, "--figure", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, f"tudui: figure {path} can't be written: File too large.\n")
    assert path.read_bytes() == before and not list(tmp_path.glob(".*"))


def test_a_picture_that_is_but_a_line_is_drawn(checkpoint, tudui, tmp_path):
    Image.new("RGB", (1, 3000)).save(tmp_path / "line.png")
    code, _, errors = tudui(checkpoint, tmp_path / "line.png", "--figure", tmp_path / "f.png")
    assert (code, errors) == (0, "") and (tmp_path / "f.png").exists()


def test_nothing_but_an_earlier_figure_is_ever_replaced(checkpoint, files, tudui, tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "notes.png").write_text("my notes")
    for path, sentence in [
        (files[1], "was not made by tudui predict"),  # the classic: a picture given for the figure
        (tmp_path / "notes.png", "was not made by tudui predict"),
        (tmp_path / "folder.png", "was not made by tudui predict"),
        (tmp_path / "nowhere" / "f.png", "doesn't exist; make it first"),
        (tmp_path / "f.jpg", "doesn't end in .png"),
        (tmp_path / "f", "doesn't end in .png"),
    ]:
        before = path.read_bytes() if path.is_file() else None
        code, output, errors = tudui(checkpoint, files[0], "--figure", path)
        assert (code, output) == (2, "") and sentence in errors and errors.count("\n") == 1, errors
        assert (path.read_bytes() if path.is_file() else None) == before
    assert not (tmp_path / "nowhere").exists()
