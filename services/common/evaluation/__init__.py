"""Sets of questions, and the measures of what was found and answered: one meaning wherever quality is measured."""
