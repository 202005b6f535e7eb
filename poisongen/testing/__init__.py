"""The laws of a trigger, a relabel and a placement, as functions for tests of one's own.

::

    from poisongen.testing import check_trigger

    def test_my_trigger_keeps_the_laws():
        check_trigger(Ring(size="20%"))

Each function tries a value on small made-up pictures and label maps, and raises AssertionError with the law
that it breaks and where. What is expected is computed here anew, pixel by pixel, and not by the code that
freezes datasets. The laws are necessary, not sufficient: what a trigger of your own should look like only a
test of yours can say.
"""

from poisongen.testing.placements import check_placement
from poisongen.testing.relabels import check_relabel
from poisongen.testing.triggers import check_trigger

__all__ = ["check_placement", "check_relabel", "check_trigger"]
