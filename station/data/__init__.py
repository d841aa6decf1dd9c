"""Where data sets live, and how runs are given them."""
