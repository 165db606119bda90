// The audio thread of microphone.js: takes the sound card's samples, gives 160 at 8000 a second.

const RATE = 8000;
const FRAME = 160;

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.place = 0; // of the next sample, in the sound card's samples from the block's beginning
    this.before = 0;
  }

  process([input]) {
    const block = input[0];
    if (!block) return true;
    const step = sampleRate / RATE;
    for (; this.place < block.length; this.place += step) {
      const whole = Math.floor(this.place);
      const left = whole > 0 ? block[whole - 1] : this.before;
      const sample = left + (block[whole] - left) * (this.place - whole);
      this.frame[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32767)));
      if (this.filled === FRAME) {
        this.port.postMessage(this.frame.buffer.slice(0));
        this.filled = 0;
      }
    }
    this.place -= block.length;
    this.before = block.at(-1);
    return true;
  }
}

registerProcessor("microphone", Microphone);
