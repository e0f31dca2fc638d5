"""`tandem compare`: what retrieval, tuning and the two together are worth, on one's own questions."""
