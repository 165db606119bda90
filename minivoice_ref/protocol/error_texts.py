"""The text of the error catalogue: what each code means, why it happens, what to do about it.

Nothing but text, in the documented debug order: 1xx the answer, 2xx the stream's URL and its token,
3xx accepting the connection, 4xx the media, 5xx the end of the stream, 6xx webhooks and the call's
result, 7xx ourselves and our disk; and 8xx what `doctor` finds at the hosts before any of it. A
code never changes its meaning; one that is given up is not used again. How the text is read stands
in `error_catalogue.py`.
"""

__all__ = ["TEXTS"]

TEXTS = """
MV-101 on_answer did not decide in time
cause: It took longer than timeouts.answer; the platform got a 500.
mend: Look nothing up in on_answer that can be slow: decide from what the request says, do the rest
  in on_event. Raise timeouts.answer only if the platform is known to wait as long.
MV-102 on_answer raised
cause: The application failed while it decided; the platform got a 500. The line has the traceback.
mend: Mend the application where the traceback says; try it with `minivoice-ref check URL`.
MV-103 the answer has faults
cause: The application's actions break the documented rules, so they were never sent (500).
mend: Mend every fault that the line lists; `minivoice-ref check` finds them beforehand.
MV-104 on_answer returned no Answer
cause: The application returned something else, often None for a forgotten return.
mend: Return an Answer of actions on every path through on_answer.
MV-105 a request to answer_url could not be read
cause: Its body is broken, too large or of a type that is neither JSON nor a form.
mend: See what the line says was sent, and by whom; the platform's body is not documented, so if it
  was the platform, this is news: keep the request.
MV-106 answer_url was asked with a method that it does not take
cause: Something other than GET or POST came.
mend: Look whether the answer_url's route is used by a health check or a browser.
MV-107 nobody asked the answer_url about this call
cause: The log has no request for it: the number has another answer_url, the request never arrived,
  or it named no call and came at another time.
mend: Check the answer_url that is configured at the platform, its DNS and its certificate; reach it
  from outside with `minivoice-ref check URL`.
MV-108 the answer_url gives no valid answer
cause: Asked from outside, it gave none, another status than 2xx, or actions that have faults.
mend: Do what the line beside the code says; `minivoice-ref check URL` lists every fault.
MV-109 the answer is slow
cause: It took longer than the doctor allows (--fast); the caller hears nothing in the meantime.
mend: Decide from memory: no database and no other service before the answer.
MV-110 two calls fare differently at the answer_url
cause: One of two requests, a moment apart, got a valid answer and the other did not: one of several
  instances is ill, or the answer depends on something that fails now and then.
mend: Ask each instance by itself; have all of them answer every call, at once and alike.
MV-201 the stream_url cannot be used
cause: It is not a wss URL; the platform opens no other.
mend: Give wss://host/path; AnswerRequest.stream_url() makes a good one, below public_url if set.
MV-202 a stream came without a token of ours
cause: The URL's last segment is missing or none of ours: it was typed by hand, cut off, or a proxy
  rewrote the path; or a stranger knocked.
mend: Use AnswerRequest.stream_url() as it is; let proxies pass /stream/ on unchanged. In a
  laboratory, require_token can be off.
MV-203 a stream's token was made with another key
cause: The receiver was started anew with a key of its own, or another machine gave the answer; or
  somebody forged it.
mend: Set token_key to the same secret on every machine and for every start.
MV-204 a stream's token has expired
cause: The platform connected later than token_lifetime after the answer, or an old answer was used
  again.
mend: Give a new URL in each answer. If the platform really connects that late, raise
  token_lifetime; see that the clocks of several machines agree.
MV-205 nothing is served at the path that was asked for
cause: The URL leads to this receiver, but to none of /answer, /webhooks, /stream/ and /health, or
  to the wrong one of its two doors.
mend: Compare the path in the line with the URLs that `minivoice-ref serve` prints; look what a
  proxy does to paths.
MV-206 the answer starts no stream
cause: Its actions are valid, but there is no start_stream among them.
mend: Add start_stream(request.stream_url(), track=...) before any action that ends the list.
MV-207 the stream URLs of our answers may lead nowhere
cause: They name an address that the platform cannot reach by wss, or a proxy that may not know of
  /stream; the line names the setting.
mend: Set public_url to the https URL under which the platform reaches us, and let what stands there
  pass /stream/ on to the door of the streams.
MV-208 a wrong token is let in
cause: A stream with a token that nobody made was accepted, or broke the receiver, instead of being
  refused before the upgrade. Whoever finds the URL can send audio into it.
mend: Check the token before the upgrade and answer 403; our own receiver does (require_token).
MV-301 the TLS handshake failed
cause: The peer did not trust our certificate, gave up, or spoke no TLS at all.
mend: Serve the whole chain of a certificate that the public trusts, for the very name in the URL;
  `minivoice-ref doctor` looks at it from outside. A port scan looks the same: note the peer.
MV-302 somebody connected and said nothing
cause: A load balancer's probe, a port scan, or a client that waits for us to speak.
mend: Nothing, as long as calls arrive. Let probes ask /health.
MV-303 a request could not be understood
cause: It is not HTTP/1.1 as it should be, or ambiguous in a way that is used for attacks.
mend: Look at the peer and the reason in the line: often a client that speaks TLS to a plain port,
  or the other way round.
MV-304 a request came too slowly
cause: Its head or body was not whole within timeouts.request_head or timeouts.request_body.
mend: Look at the network between; raise the timeout only for a peer that is known to be slow.
MV-305 a request was too large
cause: Its head or body is beyond limits.request_head or limits.request_body.
mend: If it is the platform's, raise the limit; else leave it.
MV-306 an upgrade to a WebSocket was faulty
cause: A header of the handshake is missing or wrong; mostly a proxy in front dropped Connection and
  Upgrade, or speaks HTTP/1.0 or HTTP/2 to us.
mend: Tell the proxy to pass WebSockets on, by HTTP/1.1, with both headers.
MV-307 a stream came while no more were taken
cause: The receiver was about to stop; or there were as many streams as it takes, in all, of one
  call or with one token; the line names the limit.
mend: Let the load balancer take it out of service before it is stopped. If calls are turned away,
  raise the limit, or share the load; a third stream with one token may be somebody else's.
MV-308 a connection was lost while it was being served
cause: The peer went away, or a network between did.
mend: Nothing, where it is rare. If often, look at proxies' idle and total time limits.
MV-309 a stream's URL was asked without an upgrade
cause: A plain HTTP request came: a browser, a probe, or a proxy that dropped the Upgrade header.
mend: As for MV-306, if it was the platform.
MV-310 a path was asked with a method that it does not take
cause: The path is right, the method is not.
mend: See who asked: /health takes GET, and nothing else of the streams' log takes a method.
MV-311 the answer started a stream, and nobody connected
cause: The platform could not reach the stream_url: name, port, firewall, certificate; or it found
  fault with the action; or the call ended before.
mend: Check from outside that the URL's host and port answer (`minivoice-ref doctor`); set
  public_url to the name that the platform can reach.
MV-312 the stream_url accepts no stream
cause: Asked from outside, the URL that the answer gave did not answer 101: the path leads
  elsewhere, a proxy drops the upgrade, or the token of one instance is refused by another.
mend: Do what the line beside the code says; look into the receiver's log for the same moment.
MV-313 somebody came who may not
cause: The address is in none of the networks of `allow`, or answer_auth or stream_auth was not
  shown. Behind a proxy that trusted_proxies does not name, everybody has the proxy's address.
mend: If it was the platform, compare the peer in the line with `allow`, and see what it sends.
MV-314 there were too many connections
cause: limits.connections, limits.connections_per_address or limits.handshakes was reached: by a
  flood, by a client that never closes, or by more calls than the limit was made for.
mend: See with /health how many were refused. If it was the platform, raise the limit and the number
  of files that the process may have open; else keep the address out at the firewall.
MV-401 a stream was opened and nothing was sent
cause: No message came within timeouts.first_message; the stream was closed with 1008.
mend: See with a capture whether the platform waits for something from us, as a subprotocol or a
  greeting; raise the timeout if it only takes its time.
MV-402 a stream ended without any audio
cause: It was open, but no message of it was audio that we understood.
mend: Read the stream's first messages in the log; if they are audio in a shape unknown to us, set
  dialect or fallback_format, or add the dialect.
MV-403 audio is missing
cause: The platform's timestamps jump over time for which nothing came: lost before it reached us,
  or not sent because of silence suppression or hold.
mend: Compare the gaps with what the call did at those times. The recording has silence there, so
  nothing is displaced.
MV-404 a message was not understood
cause: It has a shape, a track or an encoding that the stream's dialect does not know.
mend: Read it in the log: it is quoted with the reason. Nothing else of the stream is affected.
MV-405 the audio's format is a guess
cause: No start message named it, or not all of it; what lacked was taken from fallback_format.
mend: Listen to the recording. If it is noise, set fallback_format, l16 or dialect;
  `minivoice-ref show` on a capture tells what the audio looks like.
MV-406 the platform's clock jumped
cause: A timestamp lay further from the others than limits.jump, or more would be missing than time
  has passed, and limits.jump; so it was taken as a new beginning.
mend: Nothing is lost, but positions count on from there. If such leaps are real pauses, raise
  limits.jump.
MV-407 the start message names another call than the token
cause: The platform's id in the stream is not the one that it asked the answer_url with, or a
  stream_url was used for a second call.
mend: Nothing, where the platform has two kinds of ids; the token's is used. Else give a new URL in
  each answer.
MV-408 on_stream was too slow
cause: More audio waited for it than limits.hand_over, so the oldest was dropped; the recording and
  the account still have it.
mend: Move slow work out of the loop over frames, into a task or a thread of its own.
MV-409 a track that was asked for was not heard
cause: The answer asked for it, but no audio of it came.
mend: See in the log's first messages which tracks the platform announced; a call with one party
  silent from its start may send nothing for it.
MV-410 the audio is in a codec that cannot be read here
cause: The platform named its codec, and it is none of mu-law, A-law and L16. The bytes are counted
  and handed to the application as they came; there are no samples to count or to record.
mend: Ask the platform for mu-law, A-law or L16, or decode frame.payload in the application. If the
  name is only another spelling of one of these, the dialect should learn it.
MV-501 the platform vanished
cause: The connection broke without a goodbye (1006): a crash, a network, a proxy's time limit.
mend: Look whether it always happens after the same time: that is a proxy. Lower
  timeouts.ping_every below its idle limit.
MV-502 the platform closed the stream as failed
cause: Its close code says that something went wrong on its side, or that it found fault with us.
mend: Look the code and the reason up in its documentation; RFC 6455 section 7.4.1 has the rest.
MV-503 the platform broke the protocol
cause: It sent what a WebSocket or a stream cannot have: a bad frame, text that is not UTF-8, a
  second start that contradicts the first.
mend: Keep the line and, if on, the capture: it is the sender's fault, or a dialect of ours is
  wrong.
MV-504 a message was too large
cause: It was beyond limits.message; the stream was closed with 1009.
mend: If it is a real one of the platform's, raise limits.message.
MV-505 a stream fell silent
cause: No message came for timeouts.silence; it was closed with 1008.
mend: If the platform sends nothing on hold, raise timeouts.silence above the longest hold.
MV-506 a ping was not answered
cause: The platform is gone, or the network is stuck; no pong came within timeouts.pong.
mend: As for MV-501.
MV-507 a stream was as long as one may be
cause: timeouts.longest_stream has passed.
mend: Raise it, if calls are really that long.
MV-508 a stream was cut because the receiver stopped
cause: It was still going when timeouts.grace was over after the signal to stop.
mend: Give a longer grace, or wait until /health counts no streams before stopping.
MV-509 on_stream raised
cause: The application failed while it listened; the stream was closed with 1011. The log has the
  traceback, in the line application_failed.
mend: Mend the application where the traceback says.
MV-510 the application broke the stream off
cause: It called stream.abort(): no goodbye, the platform sees 1006.
mend: Use stream.close() to end a stream on purpose.
MV-511 on_stream did not return in time
cause: timeouts.finish passed after its stream had ended, so it was cancelled.
mend: Return when the loop over the frames ends; do slow work for a finished stream elsewhere.
MV-512 the end of the stream is not in the log
cause: The stream is still going; or the receiver was killed, or the machine stopped.
mend: Ask again when the call is over. If it is, look for what killed the process.
MV-513 a stream sent too many messages
cause: More than limits.message_rate a second, for longer than a burst; it was closed with 1008.
mend: If it is the platform's way, raise the limit; a hundred a second is usual.
MV-601 a webhook came without a signature
cause: No webhook_secret is set at the platform, or a proxy dropped its two headers; or a stranger
  knocked.
mend: Set the same secret at the platform and here; let proxies pass the headers on.
MV-602 a webhook's signature is malformed
cause: Its headers are not in the documented form.
mend: If it is the platform's, its form has changed: keep the request's headers.
MV-603 a webhook's timestamp is too old or too new
cause: It is further from our clock than webhook_tolerance: a delivery that was repeated by somebody
  else, a retry with its first signature, or clocks that differ.
mend: Set this machine's clock by NTP. If the platform signs only once for all its retries, raise
  webhook_tolerance.
MV-604 a webhook's signature is wrong
cause: It was made with another secret, or the body was changed on its way.
mend: Compare the secrets on both sides, also for a line's end in the file; let no proxy rewrite
  bodies.
MV-605 a webhook could not be understood
cause: It is not JSON, or not the documented envelope; the line lists every fault.
mend: If it is the platform's, its form has changed: keep the body. Its retries will fail likewise.
MV-606 a delivery was refused for its form
cause: Its method, its type or its size is not that of a webhook.
mend: See who asked, and what for. webhook_method is an assumption of ours.
MV-607 a webhook could not be stored
cause: The disk or the database failed, so 503 was answered; the platform should send it again.
mend: Make room on the disk of the data folder; see MV-704.
MV-608 on_event raised
cause: The application failed while it handled an event; it is tried again, later and later.
mend: Mend the application where the line's traceback says; the event waits.
MV-609 an event was set aside
cause: on_event failed for it as often as event_attempts allows.
mend: Mend the application, then look at the event in inbox.sqlite3 (state set_aside); set its state
  to waiting to have it handled.
MV-610 no webhook came for this call
cause: No webhook_url is set at the platform, it cannot reach it, or every delivery was refused.
mend: Check the webhook_url, its DNS and its certificate; look for refused deliveries in the log.
MV-611 the call's end was not told
cause: Webhooks came, but neither call.completed nor call.failed did.
mend: If the call is over, wait for the platform's retries; then look for deliveries that were
  refused or could not be stored.
MV-612 the times of the streams and of the webhooks do not agree
cause: The platform's clock and ours differ, its events come late, or the stream lived outside its
  call.
mend: Set this machine's clock by NTP. If the clocks agree, see which of the times in the line is
  odd: a stream that outlives its call was not closed by the platform.
MV-613 the call failed
cause: The platform sent call.failed; what it knows of the reason is in the event's data.
mend: Read the event's status and data; if the answer was good, the reason is the phone network's.
MV-614 a good webhook is not accepted
cause: Asked from outside, the webhook_url did not answer 2xx to an event as MiniVoice sends it: the
  secrets differ, the path is wrong, or the application fails.
mend: Use one secret here and there, over the timestamp, a full stop and the raw body; see the
  application's log.
MV-615 a webhook without a signature is not refused
cause: The application took it, or failed at it, though it has a secret: anybody can tell it that a
  call has ended.
mend: Answer 401 to what has no signature, before anything is done with it.
MV-616 a webhook with a wrong signature is not refused
cause: The application took it, or failed at it: the signature is not compared, or not over the raw
  body.
mend: Compute the HMAC over the raw body, compare it in constant time, and answer 401.
MV-617 an old webhook is not refused
cause: It was signed long ago and taken all the same: whoever once saw it can send it again.
mend: Answer 401 to timestamps more than some minutes from the clock.
MV-701 a connection ran into a fault of ours
cause: Our code raised where it must not; or on_stream did, then MV-509 stands just before it.
  Nothing else was affected.
mend: Where it is ours, report it with the line's traceback.
MV-702 a stream ran into a fault of ours
cause: Our code raised where it must not; the stream was closed with 1011.
mend: Report it, with the traceback of the line connection (kind failed) next to it.
MV-703 a recording ended before its stream
cause: The disk or the memory would not take it; the file keeps what was written before.
mend: Make room on the disk; see that the recordings' folder can be written to.
MV-704 events cannot be stored or marked
cause: The inbox failed: a full or read-only disk, a lock held by another program, or its file was
  moved away; in a cluster, Redis is away or full.
mend: Make room; let no other program hold inbox.sqlite3 open for writing; bring it back, or begin a
  new one by a restart. In a cluster, see how Redis is.
MV-705 lines of a log were lost
cause: The disk took no lines for so long that the newest no longer fitted into memory.
mend: Make room; look how fast the disk is. What is missing can no longer be explained.
MV-706 a capture ended before its stream
cause: The disk would not take it, or its file reached limits.capture; what was written is good.
mend: Make room on the disk of the data folder, or raise limits.capture.
MV-707 part of the audio is not in the recording
cause: It came when 30 seconds of its track already waited for the disk, has another sample rate
  than the stream, or lies over ten seconds before its first timestamp. The account has it.
mend: If the disk is slow, see how fast it is. Else keep a capture and look at it with
  `minivoice-ref show`.
MV-708 a task blocked the event loop
cause: The function in the line computed, or waited without `await`, for so long; no stream
  was read and nobody was answered. `before` is the place it reached next.
mend: Do long work in a thread (trio.to_thread.run_sync) or in another process.
MV-709 a new certificate could not be used
cause: It was to be read anew (SIGHUP), and its files do not fit together or cannot be read.
mend: Mend the files that the line names, then send SIGHUP again; the one before is still in use.
MV-710 others on this machine may look into the data folder
cause: It was there before, and its mode lets others in. The files in it are ours alone.
mend: chmod 700 the folder.
MV-711 the process may open too few files
cause: `ulimit -n` allows fewer than limits.connections need, so fewer connections are let in.
mend: Raise the limit on open files (LimitNOFILE in systemd), or lower limits.connections.
MV-712 what Redis accepts may get lost
cause: It keeps no append-only file, or may evict keys; a 2xx promised more.
mend: Set appendonly yes and maxmemory-policy noeviction in Redis's settings.
MV-713 audio was not handed on to other machines
cause: Redis is away or slow: more waited than limits.hand_over, so the oldest was dropped.
mend: See how Redis is. The recording and on_stream have what came; the account says what lacks.
MV-801 the host has no address
cause: DNS knows no address for the name, or its servers did not answer in time.
mend: Make an A or AAAA record, or correct the name in the URL.
MV-802 nobody answers at the port
cause: The connection was refused, or a firewall drops it.
mend: Start what should listen there, correct the port, or let the port pass from everywhere.
MV-803 there is no TLS
cause: The URL is not https or wss, what listens there speaks no TLS, or no version of today.
mend: Let TLS of version 1.2 or newer end at this port: MiniVoice comes by https and wss only.
MV-804 the certificate is not trusted
cause: It is self-signed, of an authority that the public does not know, or its chain lacks a part.
mend: Use a certificate of a public authority, and have the server send the whole chain.
MV-805 the certificate is for another name
cause: The name in the URL is none of those that the certificate has.
mend: Get a certificate for this name, or use a name that it has.
MV-806 the certificate is out of date, or soon will be
cause: It is not good yet or no longer, or fewer days are left than the doctor wants.
mend: Renew it, and see why that did not happen by itself.
MV-807 the clocks do not agree
cause: Its clock (the Date header) is too far from ours, and signatures and tokens carry times.
mend: Have both machines set by NTP.
"""
