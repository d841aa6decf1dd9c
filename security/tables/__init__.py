"""What is in a table of patients, and which rows of it does an analysis want?"""
