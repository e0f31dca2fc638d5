"""What passages support of an answer, and whether they tell at all; shared by who answers and who measures."""
