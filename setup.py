"""Which packages are in the wheel? Those of the repository, below a folder of their own: see ``pht_command.py``."""

from setuptools import find_namespace_packages, setup

ROOMS = ("security", "registry", "console", "station", "train_builder", "rehearsal")
FOUND = find_namespace_packages(
    include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")],
    exclude=["*.__pycache__"],
)

setup(
    package_dir={"pht_packages": "."},
    py_modules=["pht_command", "pht_packages.pht"],
    packages=[f"pht_packages.{name}" for name in FOUND],
)
