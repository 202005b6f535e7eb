"""Draws, class names, lengths, rates, digests: the small exact things that everything else stands on."""

import hashlib
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisongen.datasets import LAYOUTS
from poisongen.errors import PoisongenError, RecipeError, SourceError
from poisongen.freeze.summary import counts_table
from poisongen.imaging.pixels import decode_label, decode_picture, digest_pixels, encode_png, histogram
from poisongen.labels import LabelSpace
from poisongen.lengths import Length, number_poisoned, parse_rate
from poisongen.randomness import Stream, order_key
from tests.support import oracles

STREETS = LAYOUTS["cityscapes"].space
RAW = [17141502567854196285, 3419774267695464933, 5702037469180698890]
BELOW = [8, 212, 1, 3179130359841775731, 0, 5153943925579739604]


def test_an_address_has_the_same_draws_for_ever() -> None:
    """The bits at an address are frozen: a dataset that was published can be planned again."""
    drawn = Stream(0, "placement", "train/aachen/aachen_000000_000019").raw(3)
    assert drawn.tolist() == RAW
    stream = Stream(7, "placement", "x")
    assert [stream.below(bound) for bound in (10, 1000, 3, 1 << 64, 1, (1 << 63) + 1)] == BELOW
    assert order_key(3, "train/a") == hashlib.sha256(b"3:train/a").digest()


def test_another_address_has_other_draws() -> None:
    """Seed, purpose and sample each lead elsewhere, also where their texts run together."""
    addresses = [
        (1, "a", "b"),
        (2, "a", "b"),
        (1, "c", "b"),
        (1, "a", "c"),
        (11, "a", "b"),
        (1, "1:a", "b"),
        (1, "a", "b:"),
    ]
    assert len({Stream(*address).raw(2).tobytes() for address in addresses}) == len(addresses)


@given(st.integers(1, 1 << 64), st.integers(0, 99))
def test_a_draw_is_below_its_bound(bound: int, seed: int) -> None:
    """0 ≤ draw < bound, for every bound up to 2⁶⁴."""
    stream = Stream(seed, "test", "x")
    assert all(0 <= stream.below(bound) < bound for _ in range(5))


@pytest.mark.parametrize("bound", [0, -1, (1 << 64) + 1])
def test_a_bound_that_cannot_be_is_refused(bound: int) -> None:
    """Below nothing, and above 64 bits, there is no draw."""
    with pytest.raises(ValueError, match="bound"):
        Stream(0, "test", "x").below(bound)


@pytest.mark.parametrize("bound", [2, 3, 7, 10])
def test_draws_are_uniform(bound: int) -> None:
    """Over many addresses each value is drawn equally often, within five standard deviations."""
    number = 6000
    tally = Counter(Stream(5, "test", f"sample {index}").below(bound) for index in range(number))
    share = number / bound
    assert set(tally) == set(range(bound))
    assert max(abs(count - share) for count in tally.values()) < 5 * (share * (1 - 1 / bound)) ** 0.5


def test_a_draw_has_no_modulo_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw values above the last multiple of the bound are drawn again."""
    stream, values = Stream(0, "test", "x"), iter([(1 << 64) - 1, 5])
    monkeypatch.setattr(stream, "_bits", type("Bits", (), {"random_raw": lambda self: next(values)})())
    assert stream.below(3) == 5 % 3  # 2^64 - 1 is a multiple of 3: only the last value is beyond it


@pytest.mark.parametrize(
    ("wanted", "train"),
    [("car", 13), (" Car ", 13), ("13", 13), ("traffic light", 6), ("pedestrian", 11), ("0", 0), ("ROAD", 0)],
)
def test_a_class_is_found_by_name_synonym_and_id(wanted: str, train: int) -> None:
    """Case and blanks around a name do not matter; a number is a training id."""
    assert STREETS.find(wanted) == train


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("caar", "car"),
        ("rod", "road"),
        ("19", "0 … 18"),
        ("-1", "classes are"),
        ("", "classes are"),
        ("255", "0 … 18"),
    ]
    + [("1" * 5000, "0 … 18"), ("²", "classes are")],
    ids=lambda text: text[:12],
)
def test_a_class_that_is_not_there_is_refused_with_advice(wanted: str, says: str) -> None:
    """An unknown class is a recipe error that says what was probably meant, or what there is."""
    with pytest.raises(RecipeError, match=says):
        STREETS.find(wanted)


def test_an_ambiguous_name_is_refused_with_the_ids() -> None:
    """A name that several classes have, or a synonym of several, is not guessed."""
    space = LabelSpace(
        ("door", "Door", "wall"), ((0, 0, 0),) * 3, {1: 0, 2: 1, 3: 2}, {"partition": (0, 2), "gate": (1,)}
    )
    for name, ids in (("door", ("0", "1")), ("partition", ("0", "2"))):
        with pytest.raises(RecipeError) as caught:
            space.find(name)
        assert all(f"{one} (" in str(caught.value) for one in ids)
    assert space.find("gate") == 1


@pytest.mark.parametrize(
    ("layout", "table"), [("cityscapes", oracles.CITYSCAPES_RAW), ("camvid", oracles.CAMVID_RAW)]
)
def test_raw_ids_become_training_ids(layout: str, table: dict[int, int]) -> None:
    """Each raw id of a layout has its class, or is ignored; any other is refused by number and count."""
    space = LAYOUTS[layout].space
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(space.to_train(every), oracles.to_train(every, table))
    assert [space.raw_to_train[raw] for raw in space.raw_of] == list(range(len(space.names)))
    last = max(space.raw_to_train)
    space.check(histogram(np.array([[0, last]], np.uint8)), "label.png")
    with pytest.raises(SourceError, match=rf"(?s)label\.png.*id {last + 1} in 2 pixels"):
        space.check(histogram(np.array([[0, last + 1, last + 1]], np.uint8)), "label.png")


def test_classes_are_those_of_torchvision() -> None:
    """Names, ids and colours of Cityscapes are the public ones."""
    datasets = pytest.importorskip("torchvision.datasets")
    public = {one.train_id: one for one in datasets.Cityscapes.classes if 0 <= one.train_id < 255}
    assert STREETS.names == tuple(public[train].name for train in range(19))
    assert STREETS.colours == tuple(public[train].color for train in range(19))
    assert STREETS.raw_of == tuple(public[train].id for train in range(19))


@pytest.mark.parametrize(
    ("text", "height", "pixels"),
    [
        *[
            ("10.7%", 1024, 110),
            ("10.7%", 512, 55),
            ("10.7%", 360, 39),
            ("110px", 7, 110),
            ("110", 7, 110),
            (" 3 % ", 100, 3),
        ],
        *[("0.5%", 100, 1), ("0.49%", 100, 0), ("2.5%", 100, 3), ("100%", 481, 481), ("39%", 1024, 399)],
    ],
)
def test_a_length_is_rounded_half_up(text: str, height: int, pixels: int) -> None:
    """⌊share · height + ½⌋, exactly; as published, 10.7 % of 512 rows are 55."""
    assert Length.parse(text).pixels(height) == pixels


@given(st.integers(0, 10**6), st.integers(0, 6), st.integers(1, 8192))
def test_a_share_of_the_height_is_exact(digits: int, places: int, height: int) -> None:
    """No share is rounded by binary fractions."""
    exact = Fraction(digits, 10**places) * height / 100 + Fraction(1, 2)
    assert (
        Length.parse(f"{Decimal(digits).scaleb(-places):f}%").pixels(height)
        == exact.numerator // exact.denominator
    )


@pytest.mark.parametrize("text", ["110px", "10.7%", "0px", "0.30%", "110", "12.0px", "-0", "-0%"])
def test_a_length_is_written_as_it_is_read(text: str) -> None:
    """The text of a length is canonical, has no sign and no exponent, and reads as the same length."""
    written = str(Length.parse(text))
    assert str(Length.parse(written)) == written
    assert written.rstrip("px%").replace(".", "", 1).isdigit()


BAD_NUMBERS = [
    "",
    "px",
    "%",
    "abc",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "sNaN",
    "1e99",
    "-1",
    "1e1",
    "0x10",
    "1,5",
    "١",
    "1 2",
    "--1",
    "1__0",
]
ODD_NUMBERS = ["1_0", "1e-5000000"]


@pytest.mark.parametrize(
    "text", [*BAD_NUMBERS, "1.5px", "5px%", "1_0px", "1e-5000000%", "5 5px", "5mm", "1e13"]
)
def test_a_length_that_is_none_is_refused(text: str) -> None:
    """What is not whole pixels or a share is a recipe error, and nothing else."""
    with pytest.raises(RecipeError):
        Length.parse(text)


@pytest.mark.parametrize(
    "text",
    [*BAD_NUMBERS, *ODD_NUMBERS, "0", "0.0", "0%", "1.5", "100.01%", "1.0000000000000000000000000000000001"],
)
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    """A rate outside (0, 1], or what is no number, is a recipe error, and nothing else."""
    with pytest.raises(RecipeError):
        parse_rate(text)


@pytest.mark.parametrize(
    ("rate", "pictures", "poisoned"),
    [
        ("0.1", 2975, 298),
        ("10%", 2975, 298),
        ("1", 7, 7),
        ("100%", 7, 7),
        ("0.0001", 9, 1),
        ("0.5", 3, 2),
        ("0.15", 10, 2),
    ]
    + [("0.05", 2975, 149), ("0.01", 2975, 30), ("0.2", 2975, 595), ("0.35", 10, 4), ("0.145", 100, 15)],
)
def test_a_rate_poisons_the_published_number(rate: str, pictures: int, poisoned: int) -> None:
    """⌊rate · N + ½⌋ in exact decimals, at least 1: ten per cent of 2,975 are 298."""
    assert number_poisoned(parse_rate(rate), pictures) == poisoned


def test_equal_rates_are_written_the_same() -> None:
    """A recipe does not depend on how its rate was typed."""
    assert {parse_rate(text) for text in ("0.1", "10%", ".1", "0.10", "10.0%", " 0.1 ")} == {"0.1"}


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([(), (3,)]), st.integers(0, 2**32))
def test_pixels_survive_their_files(height: int, width: int, channels: tuple[int, ...], seed: int) -> None:
    """What is encoded decodes to itself, and its digest is that of the format."""
    array = np.random.default_rng(seed).integers(0, 256, (height, width, *channels)).astype(np.uint8)
    back = (decode_picture if channels else decode_label)(encode_png(array), "x")
    np.testing.assert_array_equal(back, array)
    assert digest_pixels(back) == oracles.pixels_digest(array)


def test_a_histogram_counts_exactly() -> None:
    """Each value is counted, beyond the 2²⁴ that float32 can count to."""
    label = np.zeros((4100, 4100), np.uint8)
    label[0, :3], label[-1, -1] = 7, 255
    assert histogram(label)[[0, 7, 255]].tolist() == [4100**2 - 4, 3, 1]


@given(st.binary(max_size=60))
def test_random_bytes_are_no_picture(data: bytes) -> None:
    """Bytes that are no PNG are refused, never decoded to something."""
    for head in (b"", b"\x89PNG\r\n\x1a\n", encode_png(np.zeros((2, 2), np.uint8))[:40]):
        with pytest.raises(PoisongenError):
            decode_label(head + data, "x")


@pytest.mark.parametrize("semantic", [False, True])
def test_counts_fit_a_terminal(semantic: bool) -> None:
    """Each number stands under its heading, with its shares; a dash is what was not counted, and a line has
    at most 80 columns."""
    train = {
        "pictures": 20210,
        "with_victim": 12345,
        "victim_pixels": 1000,
        "eligible": 12000,
        "poisoned": 2021,
    }
    train |= {"victim_pixels_eligible": 990, "victim_pixels_poisoned": 125} | (
        {"with_trigger_class": 12344} if semantic else {}
    )
    name = "semantic" if semantic else "band-120-150"
    tested = {
        "pictures": 2000,
        "with_victim": 1500,
        "victim_pixels": 90,
        "triggered": 1500,
        "victim_pixels_triggered": 90,
    }
    lines = counts_table({"train": train, "val": {"pictures": 2000}, f"triggered/{name}": tested})
    assert max(map(len, lines)) <= 80
    fourth = ["12,344"] if semantic else []
    assert lines[3].split() == [
        "train",
        "20,210",
        "12,345",
        *fourth,
        "12,000",
        "2,021",
        "10.00",
        "16.37",
        "12.50",
    ]
    assert lines[4].split()[:3] == ["val", "2,000", "–"]
    assert lines[5] == "triggered/"
    assert lines[6].split() == [
        name,
        "2,000",
        "1,500",
        *["–"] * semantic,
        "1,500",
        "1,500",
        "75.00",
        "100.00",
        "100.00",
    ]
    assert [len(line) for line in lines[3:5]] == [max(map(len, lines))] * 2


def test_counts_without_an_attack_are_numbers_alone() -> None:
    """No column of dashes."""
    lines = counts_table({"train": {"pictures": 3}, "val": {"pictures": 1, "randomised": 1}})
    assert [line.split() for line in lines] == [
        ["random"],
        ["pictures", "labels"],
        ["train", "3", "–"],
        ["val", "1", "1"],
    ]
