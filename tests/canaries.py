"""Values that are found nowhere else, and where they are found all the same, however they were written."""

import base64
import secrets
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

HEAD = 16
LETTERS = string.ascii_letters + string.digits


@dataclass
class Canaries:
    """Values by what they stand for; letters and digits alone, which JSON and URLs leave as they are."""

    values: dict[str, str] = field(default_factory=dict)

    def new(self, name: str) -> str:
        """Return the value for `name`, made once."""
        if name not in self.values:
            self.values[name] = "Q" + "".join(secrets.choice(LETTERS) for _ in range(31))
        return self.values[name]

    def know(self, name: str, value: str) -> None:
        """Take a value that somebody else made, such as a key."""
        assert len(value) >= HEAD, name
        self.values[name] = value

    def leaks(self, written: Mapping[str, bytes], but: Iterable[str] = ()) -> list[str]:
        """Return which value is where, by its first characters, in any of its forms."""
        folded = {place: (content, content.lower()) for place, content in written.items()}
        return [
            f"{name}, {form}, in {place}: {_around(content, found)!r}"
            for name, value in self.values.items()
            if name not in but
            for form, looked_for in forms_of(value)
            for place, (content, lower) in folded.items()
            if (found := (lower if form in {"plain", "hex"} else content).find(looked_for)) >= 0
        ]


def forms_of(value: str) -> Iterator[tuple[str, bytes]]:
    """Yield the beginning of a value as text, in hexadecimal, and in base64 at each place that it may have there."""
    head = value[:HEAD].encode()
    yield "plain", head.lower()
    yield "hex", head.hex().encode()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + head)
        # What depends on the neighbours is left out.
        whole = encoded[(before * 8 + 5) // 6 : (before + len(head)) * 8 // 6]
        yield f"base64+{before}", whole
        yield f"base64url+{before}", whole.replace(b"+", b"-").replace(b"/", b"_")


def _around(content: bytes, found: int) -> bytes:
    return content[max(0, found - 200) : found + 120]
