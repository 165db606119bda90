"""The wire formats, one file each, read and written side by side.

Adding a dialect means adding one file, and one line here. The file's class derives from `Dialect`
with a name; importing it enters it in `base.DIALECTS`, and since this module runs before any other
of the package, the order of the lines is the order in which the dialects are asked. That order only
matters between those that know a message equally well: the first wins.

Read next: `base.py`, what a dialect is; `twilio.py`, the one to copy from; `detect.py`.
"""

from minivoice_ref.protocol.dialects import raw  # noqa: F401  # first: the last resort, see `guess`
from minivoice_ref.protocol.dialects import twilio  # noqa: F401
from minivoice_ref.protocol.dialects import signalwire  # noqa: F401
from minivoice_ref.protocol.dialects import telnyx  # noqa: F401
from minivoice_ref.protocol.dialects import plivo  # noqa: F401
from minivoice_ref.protocol.dialects import wavix  # noqa: F401
from minivoice_ref.protocol.dialects import exotel  # noqa: F401
from minivoice_ref.protocol.dialects import bandwidth  # noqa: F401
from minivoice_ref.protocol.dialects import freeswitch  # noqa: F401
from minivoice_ref.protocol.dialects import jambonz  # noqa: F401
from minivoice_ref.protocol.dialects import vonage  # noqa: F401
from minivoice_ref.protocol.dialects import asterisk  # noqa: F401
from minivoice_ref.protocol.dialects import minivoice  # noqa: F401  # last: it takes what is left
