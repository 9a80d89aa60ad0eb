"""``python -m geneml_bio``: the command line, for where ``geneml-bio`` is not on the path."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
