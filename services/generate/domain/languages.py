"""The languages that a model is asked to answer in, by name."""

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


def in_language(language: str, *, foreign: bool) -> str:
    """Return the words that ask for a language; with `foreign` the instructions are not ours, which are in English."""
    if language not in LANGUAGES or (language == "en" and not foreign):
        return ""
    return f"\nAnswer in {LANGUAGES[language]}."
