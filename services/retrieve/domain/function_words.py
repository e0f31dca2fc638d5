"""Words that a question is built with and that tell nothing of what it asks for: passages are not searched for them."""

from collections.abc import Mapping, Sequence
from functools import cache

from services.common.analysis import stems_of

# Of a language that is not here, every word counts.
FUNCTION_WORDS: Mapping[str, str] = {
    "en": (
        "a an and are as at be but by can could did do does for from had has have how if in into is it its no not of on"
        " or should such that the their then there these they this to was were what when where which who whom whose why"
        " will with would"
    ),
    "fr": (
        "a à ai as au aux avait avaient avec ce ces cet cette combien comment d dans de des du elle en es est et"
        " étaient était été étés étée étées être eu fut il ils j je l la le les leur leurs lui m ma mais me même mes"
        " moi mon n ne nos notre nous on ont où ou par pas pour pourquoi qu quand que quel quelle quelles quels qui"
        " quoi s sa sans se ses si son sont suis sur t ta te tes toi ton tu un une vos votre vous y"
    ),
}


def telling(stems: Sequence[str], language: str) -> tuple[str, ...]:
    """Return the stems of a question in `language` (ISO 639-1) that are no function words'; all, where all are."""
    return tuple(stem for stem in stems if stem not in _function_stems(language)) or tuple(stems)


@cache
def _function_stems(language: str) -> frozenset[str]:
    return frozenset(stems_of(FUNCTION_WORDS.get(language, ""), [language]))
