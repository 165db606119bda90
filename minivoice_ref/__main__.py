"""`python -m minivoice_ref` is `minivoice-ref`."""

import sys

from minivoice_ref.cli import main

sys.exit(main())
