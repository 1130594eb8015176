"""How Pictograms are drawn: a backdrop, some clutter, then one object of ellipses, bars and convex polygons.

All pictures of a class are painted at once, as one numpy array. Everything is whole-number arithmetic: the last bit of
sin() or exp() differs between machines, and then the pictures would too.
"""

import math
from functools import partial

import numpy as np

# Lengths are in 1/32 pixel, angles in 1/256 turn, sine and cosine in 1/1024. No sine lies near a half of
# that, so round() gives the same table on every machine.
PIXEL = 32
SIN = np.array([round(1024 * math.sin(2 * math.pi * k / 256)) for k in range(256)], dtype=np.int64)
CENTRES = np.arange(32, dtype=np.int64) * PIXEL + PIXEL // 2  # where the 32 pixel centres lie

# Colours from top to bottom: two above the horizon, two below it.
BACKDROPS = {
    "sky": [(70, 130, 215), (160, 200, 240), (175, 210, 240), (200, 222, 240)],
    "dusk": [(90, 100, 150), (225, 170, 140), (200, 150, 130), (150, 110, 110)],
    "sea": [(130, 180, 230), (205, 222, 235), (50, 105, 160), (20, 60, 110)],
    "meadow": [(120, 175, 230), (190, 215, 230), (110, 165, 70), (60, 115, 40)],
    "forest": [(40, 75, 40), (70, 105, 55), (110, 115, 60), (75, 75, 40)],
    "road": [(165, 175, 185), (205, 205, 200), (125, 125, 128), (85, 85, 90)],
    "yard": [(175, 130, 100), (190, 150, 120), (160, 150, 135), (120, 112, 100)],
    "room": [(205, 185, 160), (225, 210, 190), (150, 105, 75), (115, 75, 50)],
    "pond": [(70, 120, 80), (90, 140, 90), (60, 100, 90), (40, 75, 70)],
}
BLACK, WHITE, GREY, GLASS = (25, 25, 28), (235, 235, 232), (140, 142, 145), (150, 185, 205)
RED, BLUE, GREEN, YELLOW = (195, 40, 35), (45, 75, 165), (60, 130, 60), (225, 185, 50)
BROWN, TAN, SAND, GINGER = (110, 72, 42), (165, 115, 70), (205, 175, 125), (200, 120, 50)


class Sheet:
    """A stack of n pictures painted together; wherever a number is expected, an (n,) array will do too.

    Parts of an object are given in its own units: x to the right, y down, 100 units from middle to edge.
    `place` says where that lies in each picture. A part covers what was painted before it.
    """

    def __init__(self, seed: list[int], n: int):
        self.rs, self.n = np.random.RandomState(seed), n  # RandomState's stream is frozen for good (NEP 19)
        self.canvas = np.zeros((n, 3, 32, 32), dtype=np.int16)

    def pick(self, low: int, high: int) -> np.ndarray:
        """(n,) whole numbers from low to high, both included."""
        return self.rs.randint(low, high + 1, self.n, dtype=np.int32).astype(np.int64)

    def chance(self, percent: int) -> np.ndarray:
        """(n,) booleans, True in `percent` of the pictures."""
        return self.pick(0, 99) < percent

    def vary(self, colours: np.ndarray, by: int) -> np.ndarray:
        """(n, 3) colours, each lighter or darker by up to `by`, and each channel by half of that again."""
        hue = self.rs.randint(-by // 2, by // 2 + 1, (self.n, 3), dtype=np.int32)
        return np.clip(colours + self.pick(-by, by)[:, None] + hue, 0, 255)

    def colour(self, *choices: tuple[int, int, int]) -> np.ndarray:
        """(n, 3) colours 0..255: one of the choices for each picture, varied."""
        return self.vary(np.array(choices)[self.pick(0, len(choices) - 1)], 22)

    def place(self, x=(13, 19), y=(13, 19), size=(10, 14), tilt=6) -> None:
        """Draw the next object's pose: middle and size in pixels (low, high), tilt, mirrored or not."""
        self.x, self.y, self.size = (self.pick(low * PIXEL, high * PIXEL) for low, high in (x, y, size))
        self.angle, self.flip = self.pick(-tilt, tilt), 2 * self.pick(0, 1) - 1

    def to_image(self, x, y) -> tuple[np.ndarray, np.ndarray]:
        """Object units -> place in the image, in 1/32 pixel."""
        cos, sin, x = SIN[(self.angle + 64) & 255], SIN[self.angle & 255], x * self.flip
        right, down = (x * cos - y * sin) * self.size, (x * sin + y * cos) * self.size
        return self.x + right // (100 * 1024), self.y + down // (100 * 1024)

    def slope(self, x, y, a, b, divisor=1024) -> np.ndarray:
        """(n, 32, 32) int16: ((X - x) * a + (Y - y) * b) / divisor at every pixel centre (X, Y)."""
        across = (CENTRES - x[:, None]) * np.reshape(a, (-1, 1)) // np.reshape(divisor, (-1, 1))
        down = (CENTRES - y[:, None]) * np.reshape(b, (-1, 1)) // np.reshape(divisor, (-1, 1))
        return down.astype(np.int16)[:, :, None] + across.astype(np.int16)[:, None, :]

    def paint(self, depth: np.ndarray, colour: np.ndarray, show=None) -> None:
        """Blend `colour` in where `depth` (1/32 pixel inside the edge) is positive; edges are soft."""
        cover = np.clip(depth + PIXEL // 2, 0, PIXEL).astype(np.int16)
        if show is not None:
            cover *= show.astype(np.int16)[:, None, None]
        for c in range(3):
            plane = self.canvas[:, c]
            plane += ((colour[:, c, None, None].astype(np.int16) - plane) * cover) >> 5

    def ellipse(self, x, y, rx, ry, colour, angle=0, show=None) -> None:
        """Ellipse with half-axes rx and ry, turned by `angle` (1/256 turn)."""
        (x, y), turn = self.to_image(x, y), self.angle + self.flip * angle
        rx, ry = np.maximum(rx * self.size // 100, 8), np.maximum(ry * self.size // 100, 8)
        cos, sin = SIN[(turn + 64) & 255], SIN[turn & 255]
        u = np.clip(self.slope(x, y, cos, sin, 16 * rx), -127, 127)  # 64 on the edge
        v = np.clip(self.slope(x, y, -sin, cos, 16 * ry), -127, 127)
        inside = (4096 - u * u - v * v).astype(np.int32)
        self.paint(inside * np.minimum(rx, ry).astype(np.int32)[:, None, None] >> 13, colour, show)

    def bar(self, x1, y1, x2, y2, half, colour, show=None) -> None:
        """Straight bar from (x1, y1) to (x2, y2), `half` units to either side."""
        (x1, y1), (x2, y2) = self.to_image(x1, y1), self.to_image(x2, y2)
        dx, dy, half = x2 - x1, y2 - y1, half * self.size // 100
        length = np.maximum(np.sqrt(dx * dx + dy * dy).astype(np.int64), 1)  # IEEE 754 fixes sqrt's every bit
        x, y, cos, sin = (x1 + x2) // 2, (y1 + y2) // 2, dx * 1024 // length, dy * 1024 // length
        depth = (length // 2).astype(np.int16)[:, None, None] - np.abs(self.slope(x, y, cos, sin))
        aside = half.astype(np.int16)[:, None, None] - np.abs(self.slope(x, y, -sin, cos))
        self.paint(np.minimum(depth, aside), colour, show)

    def polygon(self, points, colour, show=None) -> None:
        """Convex polygon, corners in clockwise order as seen."""
        corners, depth = [self.to_image(x, y) for x, y in points], None
        for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
            dx, dy = (x2 - x1) * self.flip, (y2 - y1) * self.flip  # mirroring turns clockwise round
            length = np.maximum(np.sqrt(dx * dx + dy * dy).astype(np.int64), 1)
            edge = self.slope(x1, y1, -dy * 1024 // length, dx * 1024 // length)
            depth = edge if depth is None else np.minimum(depth, edge)
        self.paint(depth, colour, show)

    def backdrop(self, *names: str) -> None:
        """Fill with one of the named backdrops, horizon and colours varying, and scatter clutter over it."""
        colours = np.array([BACKDROPS[name] for name in names])[self.pick(0, len(names) - 1)]  # (n, 4, 3)
        colours = colours + self.pick(-25, 25)[:, None, None]
        colours = (colours + self.rs.randint(-18, 19, (self.n, 4, 3), dtype=np.int32))[..., None]
        rows, horizon = np.arange(32), self.pick(9, 22)[:, None]
        above = rows < horizon
        t = np.where(above, rows * 32 // horizon, (rows - horizon) * 32 // (32 - horizon))[:, None]  # 0..31
        first = np.where(above[:, None], colours[:, 0], colours[:, 2])
        last = np.where(above[:, None], colours[:, 1], colours[:, 3])
        self.canvas[:] = (first + ((last - first) * t >> 5))[..., None]
        for _ in range(3):
            self.place((0, 32), (2, 32), (2, 7), tilt=128)
            tone = self.vary((first + last)[:, :, 16] // 2, 40)
            self.ellipse(0, 0, self.pick(40, 130), self.pick(30, 90), tone, show=self.chance(60))

    def finish(self) -> np.ndarray:
        """Contrast, light and noise, different in each picture; returns (n, 3, 32, 32) uint8."""
        gain, light, grain = (
            self.pick(*limits).astype(np.int16)[:, None, None, None] for limits in ((48, 72), (-18, 18), (6, 30))
        )
        noise = self.rs.randint(0, 256, self.canvas.shape, dtype=np.uint8).astype(np.int16) - 128
        picture = ((self.canvas - 128) * gain >> 6) + 128 + light + (noise * grain >> 7)
        return np.clip(picture, 0, 255).astype(np.uint8)


def airplane(s: Sheet) -> None:
    s.backdrop("sky", "sky", "sky", "sky", "dusk", "road")
    s.place(size=(10, 15), tilt=22)
    body, wing = s.colour(WHITE, WHITE, GREY, (190, 200, 215)), s.colour(GREY, BLUE, (95, 100, 115), RED)
    s.polygon([(-10, -8), (20, -8), (-18, -70), (-32, -70)], wing)  # far wing
    s.polygon([(-98, -42), (-82, -42), (-58, 0), (-88, 0)], wing)  # fin
    s.ellipse(0, 0, 98, s.pick(13, 18), body)
    s.polygon([(-18, 4), (22, 4), (-22, 78), (-40, 78)], wing)  # near wing
    s.bar(62, -6, 82, -6, 4, s.colour(BLACK))  # cockpit


def vehicle(s: Sheet, truck: bool) -> None:
    """Automobile or truck: wheels, paint and road are the same; a truck has a tall box behind its cab."""
    s.backdrop("road", "road", "road", "yard", "meadow", "sky")
    s.place(y=(17, 21), size=(10, 15), tilt=4)
    paint, window = s.colour(RED, BLUE, WHITE, YELLOW, BLACK, GREY, GREEN), s.colour(GLASS, (75, 90, 105))
    if truck:
        top = s.pick(-90, -28)
        s.polygon([(-98, top), (38, top), (38, 28), (-98, 28)], s.colour(WHITE, GREY, SAND, RED, BLUE, GREEN))
        s.polygon([(42, -42), (78, -42), (98, -5), (98, 28), (42, 28)], paint)  # cab
        s.polygon([(56, -32), (74, -32), (86, -6), (56, -6)], window)
    else:
        roof, rear = s.pick(-68, -38), s.pick(-70, -45)
        s.polygon([(rear, roof), (25, roof), (60, -5), (rear - 28, -5)], paint)
        s.polygon([(rear + 5, roof + 9), (-8, roof + 9), (-8, -5), (rear - 10, -5)], window)
        s.polygon([(0, roof + 9), (22, roof + 9), (44, -5), (0, -5)], window)
        s.polygon([(-98, -8), (70, -8), (98, 8), (98, 28), (-98, 28)], paint)
    s.bar(90, 10, 98, 10, 6, s.colour(YELLOW, WHITE))  # headlight
    for x in (-58, 60):
        s.ellipse(x, 30, 20, 20, s.colour(BLACK))
        s.ellipse(x, 30, 9, 9, s.colour(GREY))


def bird(s: Sheet) -> None:
    s.backdrop("sky", "sky", "sky", "meadow", "yard")
    s.place(size=(9, 13), tilt=12)
    body = s.colour(BROWN, (70, 80, 100), RED, BLUE, YELLOW, BLACK, TAN)
    wing, flying = s.colour(BROWN, BLACK, GREY, WHITE), s.chance(45)
    for x in (-12, 8):
        s.bar(x, 30, x + 4, 80, 4, s.colour(GINGER), show=~flying)  # legs
    s.polygon([(-50, -10), (-35, 22), (-100, 35), (-105, 5)], wing)  # tail
    s.polygon([(-5, -10), (10, -95), (32, -5)], wing, show=flying)  # far wing
    s.ellipse(0, 0, 58, 36, body, angle=-12)
    s.ellipse(48, -38, 28, 26, body)
    s.polygon([(70, -48), (108, -34), (70, -26)], s.colour(YELLOW, GINGER))  # beak
    s.ellipse(54, -42, 7, 7, s.colour(BLACK))
    s.ellipse(-14, 2, 38, 19, wing, angle=12, show=~flying)  # folded wing
    s.polygon([(-48, -98), (20, -8), (-28, 8)], wing, show=flying)  # near wing


def pet(s: Sheet, dog: bool) -> None:
    """Cat or dog: ears, muzzle and tail differ; fur and surroundings nearly agree."""
    s.backdrop("room", "room" if not dog else "meadow", "yard", "meadow")
    s.place(size=(10, 14), tilt=8)
    fur = s.colour(GINGER, GREY, BLACK, SAND, WHITE, BROWN)
    dark, black, bend = np.clip(fur - 45, 0, 255), s.colour(BLACK), s.pick(-50, 30)
    if dog:
        s.bar(-55, 40, -95, bend // 2 + 15, 9, fur)  # short straight tail
    else:
        s.bar(-50, 75, -92, 50, 7, fur)
        s.bar(-92, 52, -80, bend, 7, fur)  # long tail that turns up
    s.ellipse(-18, 58, 52, 46, fur, angle=-10)
    s.bar(12, 50, 14, 100, 11, dark)
    s.bar(-32, 80, -10, 100, 12, dark)
    s.ellipse(20, -20, 44, 40, fur)
    if dog:
        s.ellipse(32, 6, 30, 24, s.colour(SAND, WHITE, BROWN))  # muzzle
        s.ellipse(36, -2, 12, 9, black)
        s.ellipse(-22, -14, 14, 38, dark, angle=8)  # hanging ears
        s.ellipse(62, -14, 14, 38, dark, angle=-8)
    else:
        s.polygon([(-22, -85), (8, -52), (-22, -25)], fur)  # pointed ears
        s.polygon([(62, -85), (62, -25), (32, -52)], fur)
        s.polygon([(12, -8), (28, -8), (20, 3)], s.colour((215, 130, 125)))  # nose
    iris = s.colour(BLACK) if dog else s.colour(GREEN, YELLOW)
    for x in (4, 38):
        s.ellipse(x, -26, 8, 9, iris)
        s.ellipse(x, -26, 4, 8, black)


def grazer(s: Sheet, horse: bool) -> None:
    """Deer or horse, one outline: antlers and a white rump tell the one, a mane and a long tail the other."""
    s.backdrop("forest", "meadow", "meadow", "yard" if horse else "forest")
    s.place(size=(10, 15), tilt=5)
    coat = s.colour(BROWN, TAN, (90, 50, 30), BLACK, WHITE) if horse else s.colour(BROWN, TAN, TAN, SAND)
    dark, stout, nod = np.clip(coat - 30, 0, 255), 3 * horse, s.pick(-6, 16)
    for x, shade in ((-46, dark), (30, dark), (-58, coat), (40, coat)):
        s.bar(x, 20, x + s.pick(-14, 14), 92, 7, shade)  # legs
    tail, mane = (s.colour(BLACK, BROWN), s.colour(BLACK, BROWN, SAND)) if horse else (dark, None)
    s.bar(-62, -5, s.pick(-96, -80), 60 if horse else 22, 8, tail)
    s.ellipse(-10, 5, 62, s.pick(22, 28) + stout, coat)
    s.bar(35, 5, 66, nod - 55, 14 + stout, coat)  # neck
    s.ellipse(78, nod - 56, 28, 13 + stout, coat, angle=18)
    if horse:
        s.bar(26, -10, 52, nod - 66, 6, mane)
    else:
        s.ellipse(-66, -2, 12, 16, s.colour(WHITE), show=s.chance(70))
        antlers, horn = s.chance(70), s.colour(SAND, (230, 215, 190))
        for x1, y1, x2, y2 in ((62, 0, 42, -34), (62, 0, 78, -34), (54, -14, 34, -18), (70, -14, 90, -22)):
            s.bar(x1, nod - 66 + y1, x2, nod - 66 + y2, 4, horn, show=antlers)
    s.polygon([(58, nod - 84), (68, nod - 64), (52, nod - 62)], dark)  # ear


def frog(s: Sheet) -> None:
    s.backdrop("pond", "pond", "forest", "sea", "yard")
    s.place(y=(15, 21), tilt=10)
    skin = s.colour((85, 165, 50), (110, 180, 60), GREEN, (140, 130, 50))
    dark, pupil, eye = np.clip(skin - 40, 0, 255), s.colour(BLACK), s.colour(YELLOW, WHITE)
    for side in (-1, 1):
        s.ellipse(side * 68, 32, 30, 17, dark, angle=-side * 18)  # bent hind legs
        s.bar(side * 50, 52, side * 98, 56, 7, dark)
        s.bar(side * 26, 30, side * 34, 66, 8, dark)
    s.ellipse(0, 18, 62, 40, skin)
    s.ellipse(0, -14, 50, 30, skin)
    for x in (-32, 32):
        s.ellipse(x, -42, 18, 18, skin)
        s.ellipse(x, -42, 11, 11, eye)
        s.ellipse(x, -42, 6, 7, pupil)
    s.bar(-34, -4, 34, -4, 4, dark)  # wide mouth
    s.ellipse(0, 32, 36, 18, s.colour(SAND, (190, 210, 120)))


def ship(s: Sheet) -> None:
    s.backdrop("sea", "sea", "sea", "sea", "dusk")
    s.place(y=(17, 21), size=(10, 15), tilt=5)
    deck, sails = s.colour(WHITE, WHITE, SAND, GREY), s.chance(40)
    s.bar(5, 10, 5, -98, 4, s.colour(BROWN, GREY))  # mast
    s.polygon([(10, -90), (72, -2), (10, -2)], deck, show=sails)
    s.polygon([(0, -78), (0, -2), (-52, -2)], deck, show=sails)
    s.bar(-55, -5, 42, -5, 17, deck, show=~sails)
    s.bar(-40, -35, 14, -35, 13, deck, show=~sails)
    s.bar(-22, -48, -22, -80, 10, s.colour(RED, BLACK, YELLOW), show=~sails)  # funnel
    for x in (-38, -14, 10):
        s.bar(x, -8, x + 12, -8, 6, s.colour(GLASS, BLACK), show=~sails)
    s.polygon([(-98, 8), (100, 4), (74, 46), (-80, 46)], s.colour(BLACK, RED, BLUE, WHITE, BROWN))  # hull


PAINTERS = {
    "airplane": airplane,
    "automobile": partial(vehicle, truck=False),
    "bird": bird,
    "cat": partial(pet, dog=False),
    "deer": partial(grazer, horse=False),
    "dog": partial(pet, dog=True),
    "frog": frog,
    "horse": partial(grazer, horse=True),
    "ship": ship,
    "truck": partial(vehicle, truck=True),
}
CLASSES = list(PAINTERS)  # a class's index is its place here, as in CIFAR-10


def draw(seed: int, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a balanced, shuffled set of pictures; the same arguments give the same bytes on every machine.

    Args:
        seed: 0 to 2**32 - 1.
        per_class: pictures of each of the ten classes, at least 1.

    Returns:
        images (10 * per_class, 32, 32, 3) uint8 0..255 RGB, and targets (10 * per_class,) int64 0..9.
    """
    pictures = []
    for label, painter in enumerate(PAINTERS.values()):
        sheet = Sheet([seed, label], per_class)
        painter(sheet)
        pictures.append(sheet.finish())
    keys = np.random.RandomState([seed, 10]).randint(0, 2**31 - 1, 10 * per_class, dtype=np.int32)
    order = np.argsort(keys, kind="stable")
    images = np.concatenate(pictures)[order].transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.repeat(np.arange(10, dtype=np.int64), per_class)[order]
