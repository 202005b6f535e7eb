"""Draws the project's art: the default trigger, ``trigger.png``, a red mushroom with white dots on teal in a
yellow frame, and ``decoy.png``, a blue and white ring on orange in a white frame, another sticker of the same
size.

Rendered once and shipped: what is pasted into pictures is the file, never what this script would draw today.
The drawings are large and bold so that they are the same signs at 14 pixels as at 110: ``python
poisongen/art/draw_art.py``.
"""

from pathlib import Path

from PIL import Image, ImageDraw

SIZE, FINE = 256, 4  # drawn at FINE times its size

FRAME, GROUND, CAP, SHADE, DOT, STEM, GILLS, INK = (
    (255, 205, 0),
    (0, 104, 120),
    (226, 20, 30),
    (168, 8, 28),
    (255, 255, 255),
    (250, 236, 208),
    (206, 178, 138),
    (20, 16, 24),
)
ORANGE, BLUE = (240, 120, 20), (24, 60, 190)


def mushroom() -> Image.Image:
    """The art, RGBA 256 × 256, opaque everywhere."""
    picture = Image.new("RGB", (SIZE * FINE, SIZE * FINE), FRAME)
    draw = ImageDraw.Draw(picture)

    def box(*corners: int) -> tuple[int, ...]:
        return tuple(FINE * corner for corner in corners)

    draw.rectangle(box(16, 16, 240, 240), fill=INK)
    draw.rectangle(box(22, 22, 234, 234), fill=GROUND)
    # stem, over its own outline
    for grow, colour in ((7, INK), (0, STEM)):
        draw.rounded_rectangle(box(90 - grow, 120, 166 + grow, 222 + grow), radius=FINE * 24, fill=colour)
    draw.rectangle(box(144, 150, 166, 196), fill=GILLS)
    # cap: the upper half of an ellipse, closed by a flat one
    for grow, colour in ((8, INK), (0, CAP)):
        draw.pieslice(box(34 - grow, 34 - grow, 222 + grow, 250 + grow), 180, 360, fill=colour)
        draw.ellipse(box(34 - grow, 122 - grow, 222 + grow, 164 + grow), fill=colour)
    draw.chord(box(34, 122, 222, 164), 0, 180, fill=SHADE)
    draw.ellipse(box(88, 140, 168, 160), fill=GILLS)
    for x, y, radius in ((128, 78, 27), (70, 116, 20), (186, 116, 20)):
        draw.ellipse(box(x - radius, y - radius, x + radius, y + radius), fill=DOT)
    return picture.resize((SIZE, SIZE), Image.Resampling.BOX).convert("RGBA")


def ring() -> Image.Image:
    """The decoy, RGBA 256 × 256, opaque everywhere."""
    picture = Image.new("RGB", (SIZE * FINE, SIZE * FINE), DOT)
    draw = ImageDraw.Draw(picture)
    for inset, colour in ((16, INK), (22, ORANGE)):
        draw.rectangle(
            (FINE * inset, FINE * inset, FINE * (SIZE - inset), FINE * (SIZE - inset)), fill=colour
        )
    for radius, colour in ((98, INK), (92, BLUE), (62, DOT), (34, BLUE)):
        edges = FINE * (SIZE // 2 - radius), FINE * (SIZE // 2 + radius)
        draw.ellipse((edges[0], edges[0], edges[1], edges[1]), fill=colour)
    return picture.resize((SIZE, SIZE), Image.Resampling.BOX).convert("RGBA")


if __name__ == "__main__":
    for name, picture in (("trigger.png", mushroom()), ("decoy.png", ring())):
        picture.save(Path(__file__).with_name(name), optimize=True)
