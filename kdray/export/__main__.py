"""`python -m kdray.export STUDENT` is the command of `kdray.exporting`; this package are forms."""

from kdray.command import run
from kdray.exporting import export

if __name__ == "__main__":
    run(export)
