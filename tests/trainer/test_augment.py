import numpy as np
import pytest
import torch
from torch.nn import functional as F

from trainer.training.augment import Box, Cut, assemble, collate, draw_box

CPU = torch.device("cpu")
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def cut_out(rng: np.random.Generator, size: tuple[int, int], box: Box) -> tuple[Cut, np.ndarray, np.ndarray]:
    """A box of a random picture, and the whole window by copying pixel after pixel: RGB with NaN outside,
    labels with 255 outside."""
    picture, label = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 9, size, np.uint8)
    window, classes = np.full((box.height, box.width, 3), np.nan), np.full((box.height, box.width), 255)
    for row in range(box.height):
        for column in range(box.width):
            y, x = box.top + row, box.left + column
            if 0 <= y < size[0] and 0 <= x < size[1]:
                window[row, column], classes[row, column] = picture[y, x], label[y, x]
    rows, columns = box.inside(*size)
    parts = torch.from_numpy(picture[rows, columns]), torch.from_numpy(label[rows, columns])
    return Cut(*parts, box, rows.start - box.top, columns.start - box.left), window, classes


def expected(
    window: np.ndarray, classes: np.ndarray, flip: bool, crop: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """By the definitions: mean colour outside, torch's antialiased bilinear resizing, the label in which the
    centre of a pixel lies."""
    picture = torch.from_numpy(np.where(np.isnan(window), 0, (window / 255 - MEAN) / STD)).permute(2, 0, 1)[
        None
    ]
    x = F.interpolate(picture, crop, mode="bilinear", antialias=True)[0].numpy()
    (height, width), (new_height, new_width) = classes.shape, crop
    down = [int((j + 0.5) * height / new_height) for j in range(new_height)]
    right = [int((j + 0.5) * width / new_width) for j in range(new_width)]
    y = classes[np.ix_(down, right)]
    return (x[:, :, ::-1], y[:, ::-1]) if flip else (x, y)


@pytest.mark.parametrize("scale", [(0.3, 0.9), (1.0, 1.0), (0.5, 2.0), (1.5, 3.0)])
@pytest.mark.parametrize("crop", [(24, 36), (31, 17)])
def test_a_batch_is_what_the_definitions_say(crop: tuple[int, int], scale: tuple[float, float]) -> None:
    """Boxes of any size from pictures of any size, over every border, flipped or not: resized like torch does
    it, beside each other."""
    rng = np.random.default_rng(5)
    sizes = [(40, 52), (33, 70), (64, 20), (40, 52)]
    cuts = [
        cut_out(rng, size, draw_box(1, 2, i, size, (30, 44), scale, True)) for i, size in enumerate(sizes)
    ]
    x, y = assemble(collate([cut for cut, *_ in cuts], crop), 255, CPU)
    assert x.dtype == torch.float32 and y.dtype == torch.int64
    assert x.is_contiguous(memory_format=torch.channels_last)
    for place, (cut, window, classes) in enumerate(cuts):
        picture, label = expected(window, classes, cut.box.flip, crop)
        np.testing.assert_allclose(x[place].numpy(), picture, atol=2e-5)
        assert np.array_equal(y[place].numpy(), label)
    assert {cut.box.flip for cut, *_ in cuts} == {True, False}


def test_a_cut_does_not_know_its_neighbours() -> None:
    """A cut becomes the same bits alone and beside larger ones: padding, and what memory held before, never
    shows."""
    rng = np.random.default_rng(8)
    sizes = [(20, 30), (80, 90), (33, 47)]
    cuts = [
        cut_out(rng, size, draw_box(3, 0, i, size, size, (0.7, 1.6), True))[0] for i, size in enumerate(sizes)
    ]
    together = assemble(collate(cuts, (32, 32)), 255, CPU)
    for place, cut in enumerate(cuts):
        alone = assemble(collate([cut], (32, 32)), 255, CPU)
        assert all(torch.equal(whole[place], part[0]) for whole, part in zip(together, alone, strict=True))


def test_threads_change_no_bit_of_a_batch() -> None:
    """Augmentation gives the same bits with one thread and with three."""
    rng = np.random.default_rng(9)
    batch = collate([cut_out(rng, (200, 300), Box(-10, 5, 230, 250, False))[0] for _ in range(3)], (190, 211))
    threads, results = torch.get_num_threads(), []
    for count in (1, 3):
        torch.set_num_threads(count)
        results.append(assemble(batch, 255, CPU))
    torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
