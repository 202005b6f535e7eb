"""What is proved on a machine with a GPU: ``make gpu``, or ``python3 -m tests.scripts.gpu``.

::

    __main__     the driver: one stage after the other, each in a process of its own, within a time
    plan         which stages there are, and how much time each is given
    results      what they found, as types; JSON and Markdown
    stages       the process of one stage
    environment, repeats, speed, table     what the stages do

The driver, ``plan``, ``results`` and ``environment`` import nothing but the standard library: the packages
that a stock image lacks are installed by the first stage.
"""
