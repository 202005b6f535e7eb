"""Pictures for people: a contact sheet and a report of a finished dataset folder.

``write`` makes both files. ``gallery`` chooses rows, ``views`` reads their pictures, ``rendered`` makes them
ready; ``contact_sheet`` lays them out as ``gallery.png``. ``statistics`` counts (``heat_maps``,
``distances``, ``label_counts``), ``charts`` draws the numbers, ``page`` writes ``report.html`` out of them
and of the tables of ``report_tables``.
"""

from poisongen.show.write import Shown, show

__all__ = ["Shown", "show"]
