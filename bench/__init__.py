"""How fast is it, and what does that cost? `make bench` measures; `docs/performance.md` shows what was measured.

Every figure is a ratio, or comes with one, to something that was measured in the same run: bare tools doing the same, or the
same with less behind it. Runs alternate, and medians are reported, so that a busy moment of the machine hits both alike.
"""
