"""What a camera's sensor makes of a painted canvas: fewer pixels, uneven light, tint and noise."""

import numpy as np
from numpy.typing import NDArray

from poisongen.randomness import Stream
from poisongen.streets.canvas import Canvas, Colour
from poisongen.streets.chance import between, smooth_noise

Bytes = NDArray[np.uint8]


def develop(canvas: Canvas, gains: Colour, fine: int, stream: Stream) -> tuple[Bytes, Bytes]:
    """The picture, uint8 (h, w, 3), and the label map, uint8 (h, w), of a canvas that has ``fine`` × ``fine``
    pixels, 1 or 4, to one of theirs. ``gains``: of the channels, in 256ths."""
    planes, labels = canvas.planes, canvas.labels
    if fine == 2:
        planes = halved(planes)
        labels = np.ascontiguousarray(labels[1::2, 1::2])  # ids are never mixed
    height, width = labels.shape
    uneven = (236 + (smooth_noise(stream, height, width, 3, 5) * 40 >> 8)).astype(np.int32)
    strength = between(stream, 3, 9)
    image = np.empty((height, width, 3), np.uint8)
    for channel, gain in enumerate(gains):
        grain = sensor_grain(stream, height, width) * strength >> 8
        lit = (planes[channel] * gain >> 8) * uneven >> 8
        image[..., channel] = np.clip(lit + grain, 0, 255)
    return image, labels


def halved(planes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Colour planes (3, 2h, 2w) at half the size: the mean of each 2 × 2 pixels, rounded."""
    rows_added = planes[:, ::2] + planes[:, 1::2]
    all_added = rows_added[:, :, ::2] + rows_added[:, :, 1::2]
    return (all_added + 2) >> 2


def sensor_grain(stream: Stream, height: int, width: int) -> NDArray[np.int32]:
    """Noise of -255 … 255, int32 (height, width): the sum of two bytes less 255, a triangle around 0."""
    size = height * width
    draws = stream.raw(-(-size // 4))  # rounded up: a draw of 64 bits has four pairs of bytes
    low_pair = np.uint64(0xFFFF)
    quarters = [draws >> np.uint64(shift) & low_pair for shift in (0, 16, 32, 48)]
    pairs = np.concatenate(quarters)[:size].astype(np.int32)
    low_byte, high_byte = pairs & 255, pairs >> 8
    triangle: NDArray[np.int32] = low_byte + high_byte - 255
    return triangle.reshape(height, width)
