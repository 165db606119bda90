"""The servers that are compared, each in a file of its own, each the least that its user would do.

    PYTHON -m benchmarks.peers.NAME PORT [CERT KEY]

serves WebSockets on 127.0.0.1 until it is killed, over TLS where there is a certificate. Each takes
the JSON of each message apart, decodes the base64 of its audio, and counts it (`meter.py`), nothing
more; `minivoice_server.py` is the receiver as it ships. Each is set up as its documentation begins.
"""
