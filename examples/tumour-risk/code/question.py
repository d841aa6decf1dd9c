"""What is asked: the odds of a malignant tumour, given three measurements of cell nuclei."""

OUTCOME = ("diagnosis", "malignant")
"""A column, and what it says of those who have it; of all others it says something else."""

COVARIATES = {"mean_radius": (14, 4), "mean_texture": (19, 4), "mean_smoothness": (0.1, 0.015)}
"""Columns of numbers, each with a centre and a unit: a coefficient is for one unit more. Sizes near 1 keep the sums exact."""

LEAST_PATIENTS = 10
"""In one hospital: the sums of fewer would say too much about each of them."""
