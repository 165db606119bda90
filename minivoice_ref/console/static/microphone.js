// The browser's microphone as the caller's voice: 20 ms at a time over the feed, 8000 samples a
// second of 16 bits.

import { send } from "./feed.js";

/** Begin to send what the microphone hears. Raises where the browser or its user says no. */
export async function openMicrophone() {
  if (!navigator.mediaDevices) throw new Error("A browser gives the microphone to https and localhost only.");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } });
  } catch (error) {
    throw new Error(`The microphone cannot be had: ${error.message}`, { cause: error });
  }
  const context = new AudioContext();
  await context.audioWorklet.addModule("/console/static/microphone-worklet.js");
  await context.resume();
  const source = context.createMediaStreamSource(stream);
  const low = context.createBiquadFilter(); // what 8000 samples a second cannot carry
  low.type = "lowpass";
  low.frequency.value = 3400;
  const taker = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 1 });
  taker.port.onmessage = ({ data }) => send(data);
  source.connect(low).connect(taker).connect(context.destination); // it puts out silence
  return {
    close() {
      stream.getTracks().forEach((track) => track.stop());
      context.close();
    },
  };
}
