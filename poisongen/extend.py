"""What an attack file, and a trigger, placement or relabel of one's own, may import: the one promise.

Names here stay, and mean what they mean: the digest of an attack file stands in the manifests of the datasets
that were made with it, so such a file can never be edited. Names may be added. All else in ``poisongen`` may
move or change, and so may the text of messages. Attack files that import what has moved since by its former
name are still loaded (``poisongen.attack_file.FORMER_NAMES``).

``poisongen.testing`` holds the laws that whatever is built of these names must keep.

An attack
  ============== ===========================================================================================
  Attack         the three choices with their defaults, under a name: ``--attack FILE.py:NAME``
  Art            the pictures that a trigger is made of: name → file
  ============== ===========================================================================================

What is shown
  ============== ===========================================================================================
  Trigger        the root: ``apply`` turns a picture into a ``Triggered``, ``mask_in`` says where it is
  Painted        a trigger that is laid over the picture: a subclass has ``render``
  Triggered      a picture with a trigger, and the trigger's mask
  Patch          a picture laid over the scene
  PatchFolder    one picture for each sample
  Blend          a picture stretched over the whole scene, faintly
  Line           a line along an edge
  Frame          a frame around the picture
  Checkerboard   a square of cells in a colour and its complement
  Stripes        sinusoidal stripes over the whole picture
  Semantic       a class that is in the picture already
  footprint      where a rendered trigger is: alpha above 0
  paint          lay a rendered trigger over a picture, exactly
  mask           the trigger mask of a picture
  premultiplied  RGBA with colours multiplied by alpha, as ``Painted.render`` gives it
  fade           a rendered trigger with less opacity
  plain_colour   a rectangle of one colour, rendered
  require_fit    raise RecipeError unless the trigger fits into the picture
  ============== ===========================================================================================

Where it lies
  ============== ===========================================================================================
  Placement      the root: ``place`` gives a ``Location`` in a ``Scene``, ``prove`` the facts of one
  Fixed          the same place in every picture
  OneSurface     anywhere on one surface (IBA)
  NearVictim     next to the victim (NNI)
  Scene          one label map as placement sees it: victims, room, distances
  Location       a resolved placement: box, surface, distances
  Box            a rectangle in pixels: (top, left, rows, columns)
  Stream         the draws at one address: the only randomness there is
  ============== ===========================================================================================

What the label then claims
  ============== ===========================================================================================
  Relabel        the root: ``claims`` says which raw ids become which; ``apply`` gives the label map
  VictimToTarget victim pixels become the target
  Everything     every pixel becomes the target
  LabelSpace     what the numbers in a label map mean
  IGNORE         the training id of pixels that no class is given to: 255
  changed_pixels how many pixels of two label maps differ
  ============== ===========================================================================================

Fields, quantities, errors
  ============== ===========================================================================================
  Pixels         an array of uint8: (H, W), (H, W, 3) in RGB or (H, W, 4) in RGBA
  Length         pixels, or per cent of the picture's height
  LengthField    a Length as a field of a trigger or placement: text in JSON, read from an option
  Colour         a field: ``#rrggbb``, lower case
  Opacity        a field: a share in (0, 1] as a plain decimal
  PoisongenError the root of all errors: file, expected, found, what to do
  RecipeError    the attack cannot be what was asked
  SourceError    a file cannot be what it should be
  ============== ===========================================================================================
"""

from poisongen.attacks import Attack
from poisongen.errors import PoisongenError, RecipeError, SourceError
from poisongen.imaging.pixels import Box, Pixels
from poisongen.labels import IGNORE, LabelSpace
from poisongen.lengths import Length, LengthField
from poisongen.placement import Fixed, NearVictim, OneSurface, Placement
from poisongen.randomness import Stream
from poisongen.relabel import Everything, Relabel, VictimToTarget, changed_pixels
from poisongen.surfaces import Location, Scene
from poisongen.triggers import (
    Art,
    Blend,
    Checkerboard,
    Frame,
    Line,
    Painted,
    Patch,
    PatchFolder,
    Semantic,
    Stripes,
    Trigger,
    Triggered,
    footprint,
    mask,
    paint,
)
from poisongen.triggers.base import Colour, Opacity, fade, plain_colour, premultiplied, require_fit

__all__ = [
    "IGNORE",
    "Art",
    "Attack",
    "Blend",
    "Box",
    "Checkerboard",
    "Colour",
    "Everything",
    "Fixed",
    "Frame",
    "LabelSpace",
    "Length",
    "LengthField",
    "Line",
    "Location",
    "NearVictim",
    "OneSurface",
    "Opacity",
    "Painted",
    "Patch",
    "PatchFolder",
    "Pixels",
    "Placement",
    "PoisongenError",
    "RecipeError",
    "Relabel",
    "Scene",
    "Semantic",
    "SourceError",
    "Stream",
    "Stripes",
    "Trigger",
    "Triggered",
    "VictimToTarget",
    "changed_pixels",
    "fade",
    "footprint",
    "mask",
    "paint",
    "plain_colour",
    "premultiplied",
    "require_fit",
]
