/**
 * Preloaded into a process: each SIGUSR2 moves its clock, two hours forward first, then four back, and the parent is told what it
 * shows. Timers go on as they were.
 */
const HOUR_MS = 3_600_000;
const STEPS_MS = [2 * HOUR_MS, -4 * HOUR_MS];
const read = Date.now.bind(Date);
let offsetMs = 0;

globalThis.Date = class extends Date {
  constructor(...args: [] | [string | number | Date]) {
    super(...((args.length === 0 ? [read() + offsetMs] : args) as [number]));
  }
  static override now(): number {
    return read() + offsetMs;
  }
} as DateConstructor;
process.on("SIGUSR2", () => {
  offsetMs += STEPS_MS.shift() ?? 0;
  process.send?.({ clock: new Date().getTime() });
});
