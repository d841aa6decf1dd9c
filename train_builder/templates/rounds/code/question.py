"""What is asked: the odds of which outcome, given what?"""

OUTCOME = ("disease", "1")
"""A column, and what it says of those who have it; of all others it says something else."""

COVARIATES = {"age": (60, 10), "sex": (0, 1)}
"""Columns of numbers, each with a centre and a unit: a coefficient is for one unit more. Sizes near 1 keep the sums exact."""

LEAST_PATIENTS = 10
"""In one hospital: the sums of fewer would say too much about each of them."""
