"""Languages, and how a model is asked for one."""

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


def in_language(language: str, *, ours: bool) -> str:
    """Return the words that ask for a language (ISO 639-1); "" for one that we cannot name.

    Our own instructions are in English, and with them (`ours`) nobody need ask for it.
    """
    if language not in LANGUAGES or (language == "en" and ours):
        return ""
    return f"\nAnswer in {LANGUAGES[language]}."
