// The audio thread of listen.js: two queues, one for each ear, read at the sound card's rate.
//
// A queue begins to sound when 120 ms have gathered and is silent when it is empty; when more than
// 600 ms wait, the oldest are skipped: whoever listens wants to hear what is said now.

const GATHER = 0.12;
const MOST = 0.6;

class Ear {
  constructor() {
    this.rate = 8000;
    this.samples = new Float32Array(0);
    this.place = 0;
    this.sounding = false;
  }

  put(rate, chunk) {
    const left = rate === this.rate ? this.samples.subarray(Math.floor(this.place)) : new Float32Array(0);
    this.place = rate === this.rate ? this.place % 1 : 0;
    this.rate = rate;
    const skip = Math.max(0, left.length + chunk.length - MOST * rate);
    this.samples = new Float32Array(left.length + chunk.length);
    this.samples.set(left);
    this.samples.set(chunk, left.length);
    this.place += Math.floor(skip);
    if (this.behind() >= GATHER) this.sounding = true;
  }

  behind() {
    return Math.max(0, this.samples.length - this.place) / this.rate;
  }

  /** Fill a block by cubic interpolation between neighbours. */
  take(block, muted) {
    const step = this.rate / sampleRate;
    const { samples } = this;
    for (let at = 0; at < block.length; at++) {
      const whole = Math.floor(this.place);
      if (!this.sounding || whole + 2 >= samples.length) {
        this.sounding = false;
        block.fill(0, at);
        return;
      }
      const [a, b, c, d] = [samples[Math.max(0, whole - 1)], samples[whole], samples[whole + 1], samples[whole + 2]];
      const t = this.place - whole;
      block[at] = muted ? 0 : b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
      this.place += step;
    }
  }
}

class Listen extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ears = [new Ear(), new Ear()];
    this.muted = [false, false];
    this.blocks = 0;
    this.port.onmessage = ({ data }) => {
      if (data.muted) this.muted = data.muted;
      else this.ears[data.ear].put(data.rate, data.chunk);
    };
  }

  process(_, [output]) {
    this.ears.forEach((ear, at) => ear.take(output[at], this.muted[at]));
    if (++this.blocks % 200 === 0) {
      this.port.postMessage({ behind: Math.max(...this.ears.map((ear) => ear.behind())) });
    }
    return true;
  }
}

registerProcessor("listen", Listen);
