"""The words that put a question to the model: how much to say, and in which language."""

from services.common.prompts.lengths import BRIEF, AnswerLength

# Languages that we can name to the model, by ISO 639-1.
LANGUAGES = {
    "ar": "Arabic",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "hi": "Hindi",
    "hu": "Hungarian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "zh": "Chinese",
}


def asked(question: str, grounded: bool, length: AnswerLength = AnswerLength.UNSET) -> str:  # noqa: FBT001 - what it turns on
    """Return the words that put the question, after the passages where there are any."""
    if grounded:
        return f"\nUsing the passages above, answer {length.words}: {question}"
    return question if length in BRIEF else f"{question}\nAnswer {length.words}."


def in_language(language: str, *, foreign: bool) -> str:
    """Return the words that ask for a language, with `foreign` instructions or ours, which need none for English."""
    if language not in LANGUAGES or (language == "en" and not foreign):
        return ""
    return f"\nAnswer in {LANGUAGES[language]}."
