"""Questions with their answers, found in documents by rule."""
