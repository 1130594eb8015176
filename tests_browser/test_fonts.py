"""Chinese is drawn as a Chinese reader sees it, in the browser of these tests, and so in their screenshots."""

LETTERS = "猫狗训练测试"
DRAW = """letters => letters.map(letter => {
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 40;
    const pen = canvas.getContext('2d');
    pen.font = '32px sans-serif';
    pen.fillText(letter, 2, 34);
    return canvas.toDataURL();
})"""


def test_chinese_letters_are_drawn_and_not_boxes(open_page, picture):
    page, _ = open_page(600, 200)
    page.set_content(f"<p style='font-size: 48px'>{LETTERS}</p>")
    picture(page, "chinese")
    drawn = page.evaluate(DRAW, [*LETTERS, "\U000f0000", " "])  # the last two: a letter that no font has, and none
    assert len(set(drawn)) == len(LETTERS) + 2, "letters look alike: install a font that has them, fonts-noto-cjk"
