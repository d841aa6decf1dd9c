"""How do stations add up numbers of which nobody sees the parts?

Each station writes its numbers as fixed point in a ring, adds masks that cancel in the sum of all, and hands on what is
indistinguishable from noise. Nothing here knows trains or stations: there is one who stands at a place among others, and there is
what the others are agreed on. Only who imports a module of this package loads `numpy`.
"""
