"""Text and numbers as people read them."""


def printable(text: str, limit: int = 300) -> str:
    """Text of a stranger: what does not print (line breaks, direction marks) is written as an escape, the
    middle of a long one cut."""
    if len(text) > limit:
        beginning = text[: limit // 2]
        end = text[-(limit - limit // 2 - 1) :]
        text = f"{beginning}…{end}"
    return "".join(character if character.isprintable() else escaped(character) for character in text)


def escaped(character: str) -> str:
    """As Python writes it: ``\\u202e``."""
    return character.encode("unicode_escape", "surrogatepass").decode()


def share(part: int, whole: int) -> str:
    """``10.02 %``; a dash where there is no whole."""
    return f"{100 * part / whole:.2f} %" if whole else "–"
