"""The text of the table of assumptions: what is assumed, where its setting is, and why.

Nothing but text, by areas (`# wire` and so on). An entry is a name and, in brackets, where its
setting is declared; then what is assumed; then why. How it is read stands in `assumptions.py`.
"""

__all__ = ["TEXTS"]

TEXTS = """
# wire
dialect [Config.dialect]
  messages have the shape of one of the known dialects, told by its start
  why: no wire format is documented; related platforms use these
fallback_format [Config.fallback_format]
  audio has this format, or what of it is not named: its encoding, its rate
  why: the binary relatives send L16 at 8 kHz when they say nothing
l16_byte_order [Config.l16]
  audio that is only called L16 has the byte order that its dialect is known for
  why: RFC 2586 says big-endian, most platforms send little-endian, sources disagree on Telnyx
one_channel [Config.one_channel]
  one channel without a word of whose it is carries both parties mixed
  why: the track was asked for in the answer, the wire need not repeat it
stereo_order
  of two interleaved channels the first is the caller's
  why: so it is with all platforms in the field that send two
reorder [Limits.reorder]
  where order is not promised, a late message comes within this many
  why: Telnyx promises no order and names no bound
start_comes [Limits.held_messages]
  the start comes before so many messages have, else the best guess is taken
  why: the dialect must be known before audio can be read; a listener waits for it
start_comes_bytes [Limits.held_bytes]
  the same, counted in bytes
  why: bounds what a stranger can make us hold
timestamps
  milliseconds from the start of the stream, or Unix time: told by magnitude
  why: platforms differ, the two cannot be confused before 1973
clock_jump [Limits.jump]
  a leap beyond this means that the platform's clock was set anew
  why: no pause of a call is that long
numbers_as_text
  numbers may come as JSON numbers or as text, unknown fields are kept
  why: the relatives do both
binary_in_json
  binary messages on a stream of the JSON family are audio, until audio comes otherwise
  why: some modules mix JSON metadata and binary audio
subprotocol [Config.dialect]
  a subprotocol is chosen only where a dialect is known to insist on it
  why: selecting none of those proposed is allowed, and jambonz needs it
message_size [Limits.message]
  no message is larger
  why: 20 ms of audio need 400 bytes; a bound is needed
first_message [Timeouts.first_message]
  a stream says something within this time of its opening
  why: all relatives send a start at once
silence [Timeouts.silence]
  a live stream is never silent for so long, not even on hold
  why: relatives send 50 messages a second, also of silence
pings_answered [Timeouts.pong]
  pings are answered within this time
  why: RFC 6455 section 5.5.2 demands it, MiniVoice does not mention keepalive
message_rate [Limits.message_rate]
  a stream does not go on sending more messages a second
  why: 20 ms of both tracks are a hundred, 5 ms are four hundred; a bound is needed
longest_stream [Timeouts.longest_stream]
  no stream is longer
  why: what has no end leaks
asterisk_channel
  Asterisk's channel name stands for the call's id
  why: nothing else on that wire names the call
telnyx_tracks
  a Telnyx start that names no tracks has both
  why: its start has no such field
# answer
answer_method
  GET and POST are both taken
  why: not documented: so either is right
answer_body
  JSON, a form or nothing; the call's id is looked for under all names of the field
  why: not documented: neither the body nor whether the id is in it
answer_patience [Timeouts.answer]
  the platform waits at least this long for an answer
  why: its timeout is not documented
unknown_fields
  fields of an action that are not documented are ignored by the platform
  why: so they are warned of and left out, never an error
url_path_kept [Config.require_token]
  the platform keeps the path of the stream_url as it is, so a token can stand there
  why: the documentation leaves authentication open; query strings vanish on relatives
token_lifetime [Config.token_lifetime]
  the platform connects no later than this after the answer
  why: not documented; an answer is executed at once
streams_per_token [Limits.streams_per_token]
  the platform opens no more sockets at once for one start_stream
  why: one socket or one for each track is not documented
reconnect [Config.token_lifetime]
  a stream that broke may be opened again with its token, until that expires
  why: reconnects are not documented, in either direction
# webhooks
webhook_method [Config.webhook_method]
  webhooks are delivered with this method
  why: the documentation shows the body and its headers, not the method
webhook_timestamp
  Unix seconds, milliseconds or RFC 3339: told by form and magnitude
  why: its unit is not documented
webhook_tolerance [Config.webhook_tolerance]
  a signed delivery's timestamp differs from our clock by no more
  why: its tolerance is not documented
webhook_memory [Config.webhook_memory]
  the same event is not delivered again later than this after it was handled
  why: the schedule of retries is not documented
webhook_size [Limits.request_body]
  no webhook is larger
  why: variables are documented up to 4096 characters each, their number is not
secret_rotation [Config.webhook_secret]
  while the secret is being changed, deliveries are signed with the old or the new one
    (webhook_secret_previous)
  why: how a secret is changed is not documented
# calls
call_id_form
  a call's id is any printable text that a token can carry
  why: ids are documented by example only
linger [Timeouts.linger]
  a stream is closed by the platform within this time after its call's end and its last message,
    else by us
  why: who closes first is not documented
one_call_one_id
  the id in a stream's start is the call's in webhooks; where they differ, our token's counts
  why: the token is ours, the start is not documented
clocks
  the platform's clock and ours differ by no more than 5 s (explain --clock-tolerance)
  why: created_at is documented, its accuracy is not
# platform
wire [CallPlan.dialect]
  streams are spoken in this dialect
  why: it is the one that most tools in the field speak
answer_request [CallPlan.answer_method]
  the answer_url is asked with this method: POST has a JSON body with the call object and the
    variables, GET the call's id and numbers in the query
  why: not documented
answer_request_time [Timeouts.response]
  an answer, and the acceptance of a webhook, may take this long
  why: not documented
stream_close_time [Timeouts.close]
  a receiver answers the Close of its stream within this time, else the stream broke
    (--close-within)
  why: not documented
answered_first [CallPlan.answered_first]
  call.answered is sent once the answer is known to be good, not before it is asked for
  why: only the usual order of events is documented
default_track [CallPlan.default_track]
  a start_stream without a track carries both
  why: the default is not documented
retry_attempts [RetrySchedule.attempts]
  a webhook that is not accepted is tried so often in all
  why: that it is retried is documented, the schedule is not
retry_first [RetrySchedule.first]
  seconds before the second attempt
  why: not documented
retry_factor [RetrySchedule.factor]
  each pause is so many times the one before
  why: not documented
retry_longest [RetrySchedule.longest]
  seconds of the longest pause
  why: not documented
retry_jitter [RetrySchedule.jitter]
  the part of a pause that is up to chance
  why: not documented
signed_anew
  each attempt of a webhook is signed with its own time
  why: a signature as old as the event would be refused as stale
speaking_rate [CallPlan.speech_programs]
  words that no program can say take as long as at 150 words a minute
  why: the platform's voice is not documented
answer_asked_once
  the answer_url is asked once a call; an answer that cannot be had or has a fault fails the call
  why: neither retries nor what a bad reply does is documented
redirect_request
  a redirect asks in the form in which the answer_url is asked, by its own method
  why: only the method is documented
statuses
  a call's status is dialing, in_progress, completed or failed
  why: the first three are seen in examples, the last goes with call.failed
made_up_fields
  provider_call_id, route_mode and routing_target of call.created have made-up values
  why: only their names are documented
failure_data
  call.failed says why in data.reason
  why: its data is not documented
recording_data
  the events of a recording name it in data.recording_id; the last also has data.duration_seconds
  why: their data is not documented
recording_good [CallPlan.recording_fails]
  a recording completes at once when it is stopped, and fails only on demand
  why: what makes one fail is not documented
playback_good [CallPlan.say_fails]
  the playback of a say fails only on demand
  why: what makes one fail is not documented
gather_enough
  num_digits keys are enough for a gather; without it max_digits; without both 1, or min_digits if
    that is more
  why: which of the three counts ends a gather is not documented
gathered_counts
  call.gathered tells counts that were not given too: min_digits is 1, max_digits what is enough
  why: only the names of its data are documented
nothing_to_do
  hold twice, unmute of what is not muted, start_recording twice, stop_recording without one:
    accepted, and nothing happens
  why: only resume is documented to fail
end_on_exit
  end_on_exit of conference changes nothing: the call ends with its caller in any case
  why: what becomes of the others in the room is not the call's
one_socket
  a stream of both tracks is one WebSocket
  why: one socket or two is not documented
no_reconnect
  a stream that has failed is not opened again
  why: only that it fails is documented
stop_matches
  stop_stream compares URL and track as text: track inbound does not stop a stream of both
  why: that it matches by URL and by track is documented, and no more
stopped_first
  streams that are open when the caller hangs up are stopped before call.completed is sent
  why: which comes first is not documented
sent_keys
  the keys of send_digits are heard on the outbound track and told to no stream
  why: related platforms tell those of the inbound track alone
webhook_order [CallPlan.reorder_webhooks]
  an event is first tried after the one before it was
  why: no delivery order is promised
signed_in_seconds
  the timestamp of a signed webhook is in Unix seconds
  why: its unit is not documented
"""
