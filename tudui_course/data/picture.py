"""One picture file, of any common kind, as the network sees it."""

import contextlib
import functools
import importlib.util
import logging
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from tudui_course.errors import InputError

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs as an error it also raises

SIZE = 32
HEIC = (".heic", ".heif", ".hif")  # phones'


def open_picture(path: Path | str, size: int = SIZE, *, crop: bool = True) -> Image.Image:
    """Read a picture of any mode and size as the network sees it: upright, RGB, size x size.

    The shorter side is scaled to `size` and the middle cut out, so nothing is squeezed; transparent parts become
    white; of several frames or pages the first is taken. With crop=False nothing is cut off, and the longer side is
    at most `size`.

    Raises:
        InputError: it isn't a picture, is damaged, or is so large that decoding it would fill the memory.
    """
    try:
        if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
            raise InputError("not a file")  # reading a pipe or a device could wait for ever
        with warnings.catch_warnings(action="ignore"):
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats()) as image:
                image.draft("RGB", (2 * size, 2 * size))  # a large JPEG is decoded at a fraction of its size
                image = ImageOps.exif_transpose(image)
                image = to_rgb(image)
                if not crop:
                    image.thumbnail((size, size), Image.Resampling.BILINEAR)
                    return image
                return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = Image.MAX_IMAGE_PIXELS // 10**6
        raise InputError(f"{path}: more than {limit} million pixels, not decoded; make it smaller first.") from None
    except Image.UnidentifiedImageError:
        hint = f" ({heic_hint()})" if str(path).lower().endswith(HEIC) and not reads_heic() else ""
        raise InputError(f"{path}: not a picture that can be read{hint}.") from None
    except FileNotFoundError:
        link = "a link to a file that isn't there" if os.path.islink(path) else "no such file"
        raise InputError(f"{path}: {link}.") from None
    except Exception as error:  # Pillow's decoders raise whatever they stumble over in a damaged file
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        reason = "a folder, not a picture" if os.path.isdir(path) else reason
        raise InputError(f"{path}: {reason}.") from None


@functools.cache
def formats() -> list[str]:
    """All formats that Pillow decodes here; for EPS it would start Ghostscript, which runs programs in the file."""
    Image.init()
    if reads_heic():
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return [name for name in Image.OPEN if name != "EPS"]


@functools.cache
def endings() -> set[str]:
    """The endings, ".jpg" and so on, of files that are taken for pictures."""
    readable = {name for name in formats() if name != "MPEG" and not is_stub(Image.OPEN[name][0])} | {"MPO"}
    return {ending for ending, name in Image.registered_extensions().items() if name in readable}


def is_stub(factory: object) -> bool:
    """Whether Pillow knows a format by name alone and leaves decoding it to others."""
    return isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)


def reads_heic() -> bool:
    """Whether the optional package for phones' pictures (HEIC) is installed."""
    with contextlib.suppress(ValueError):
        return importlib.util.find_spec("pillow_heif") is not None
    return False


def heic_hint() -> str:
    """What to do about HEIC files."""
    return "HEIC, as phones take them: pip install pillow-heif, or save it as JPEG"


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: grey of more than 8 bits is scaled, transparency is laid over white."""
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(to_8_bits(np.asarray(image), image.mode))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def to_8_bits(pixels: np.ndarray, mode: str) -> np.ndarray:
    """Scale grey values to 0 to 255; modes I and F have no header for the range, so the largest value tells it.

    Args:
        pixels: (H, W), 16-bit or 32-bit integers, or floats from 0 to 1, to 255 or to 65535.

    Raises:
        InputError: they have another range, and any scale would be a guess.
    """
    least, most = pixels.min(), pixels.max()
    floats = mode == "F"
    if not (least >= 0 and most <= 65535) or (floats and 1 < most < 16):  # NaN ends here too
        kind = "floats" if floats else "numbers"
        raise InputError(f"{kind} from {least:g} to {most:g} instead of 0 to 1, 255 or 65535; save it with 8 bits")
    if floats and most <= 1:
        return (pixels * 255).round().astype(np.uint8)
    eight_bits = mode in ("I", "F") and most <= 255
    return (pixels if eight_bits else pixels // 256).astype(np.uint8)
