"""How bytes come: TCP, TLS, HTTP/1.1 and WebSocket on Trio streams. Knows nothing of calls.

Read in this order:

1. `streams.py`: a stream that gives back what was read, and closing so that last words arrive;
2. `sockets.py`, `tls_stream.py`, `tls.py`: one system call at a time, TLS over it, its contexts and
   its handshake under a deadline;
3. `http_messages.py`: Request and Response;
4. `http.py`: the server's half of HTTP, bounded; `connect.py`, `http_client.py`: the client's;
5. `media_socket.py`: what everybody above knows of a WebSocket;
6. `upgrade.py`, `link.py`, `manners.py`, `websocket.py`: how one is accepted and opened, and what
   its library must be protected from;
7. `simple_wire.py`: how messages are carried; `frames.py`, `frame_reader.py`, `fast_wire.py`: the
   same in a third of the time;
8. `crowd.py`, `drain.py`, `proxies.py`: how many may come in, how they leave, who they are behind a
   proxy; `front_door.py`: TLS, the first request, then HTTP or WebSocket; the fault wall.
"""
