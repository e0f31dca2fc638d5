"""The gateway's faces: questions and answers, keys, assistants, and the calls that are passed on."""
