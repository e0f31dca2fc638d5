"""`tandem eval`: asks a running platform the questions of a set, and says how good it was."""
