"""The console: watch and hear a call while it happens, in a browser.

    serve(app, config, annex=open_console)

`open_console` makes it, `serve` puts it behind the receiver's doors (`receiver/annex.py`). It knows
the receiver; the receiver knows only that somebody may watch.

    peaks.py       how loud 20 ms are, in one byte
    watched.py     what is computed of one stream while somebody looks at it
    memory.py      the latest calls, put together from the lines of the three logs
    cards.py       one call in the list: six steps, and what is wrong in words
    seen.py        what is taken of the streams in one round
    distant.py     a stream that is open at another process
    asking.py      what other processes tell, while somebody looks here
    telling.py     what they are told, while somebody looks there
    exchange.py    both of it, and the way
    viewers.py     one browser, and what waits for it
    feed.py        who is told what, and when
    commands.py    what a browser may ask over the feed
    test_calls.py  the seam to whoever places test calls, and the browser's microphone
    access.py      who may look
    pages.py       the files of the page
    recordings.py  a recording, piece by piece
    console.py     the site: routes in, the feed in, the watching

Read `console.py` first.
"""

from minivoice_ref.console.console import Console, open_console
from minivoice_ref.console.test_calls import Microphone, Order, TestCaller

__all__ = ["Console", "Microphone", "Order", "TestCaller", "open_console"]
