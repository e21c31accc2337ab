import { afterRunning } from "../after-running.ts";
import { type Guest, type GuestEnd, type GuestOptions, startGuest } from "../guests/guest.ts";
import { ANSWER, ANSWERS, READY } from "./protocol.ts";

/** A definition is data with a few imports; one that takes longer waits for something it should not. */
export const TIME_LIMIT_MS = 10_000;

/** A process of Node is there in less than a second, or in many on a machine that is very busy. */
const START_LIMIT_MS = 60_000;

/** What it answered, or why it did not. */
export type Asked = Buffer | GuestEnd | "late";

/** A guest that is asked one thing at a time. It is started when there is something to ask. */
export type AskedGuest = {
  /** A guest that is late has been ended; the next question is for another one. */
  ask(letter: string, payload: Buffer): Promise<Asked>;
  stop(): void;
};

type Child = {
  guest: Guest;
  /** Called when it can be asked; undefined when it has been. */
  onReady: (() => void) | undefined;
  isReady: boolean;
  /** Requests that it was given; the last one's number. */
  asked: number;
  /** Who waits for its answer, or for why there is none. */
  waiting: ((answer: Asked) => void) | undefined;
};

/** `idleMs`: so long it waits for another question before it is ended; without it, until `stop`. */
export function createAskedGuest(options: Omit<GuestOptions, "limits" | "take" | "over">, idleMs?: number): AskedGuest {
  let child: Child | undefined;
  let idle: NodeJS.Timeout | undefined;

  const launch = (): Child => {
    const one: Child = { guest: undefined as never, onReady: undefined, isReady: false, asked: 0, waiting: undefined };
    one.guest = startGuest({
      ...options,
      limits: ANSWERS,
      take({ letter, id, payload }) {
        if (letter === READY && !one.isReady) {
          one.isReady = true;
          return one.onReady?.();
        }
        if (letter !== ANSWER || id !== one.asked || one.waiting === undefined)
          throw new Error("it answers what it was not asked");
        one.waiting(payload);
      },
      over(end) {
        // A file may leave something behind that ends the child between two requests.
        if (child === one) child = undefined;
        one.waiting?.(end);
      },
    });
    return one;
  };

  const stop = (one: Child | undefined): void => {
    if (child === one) child = undefined;
    one?.guest.kill();
  };

  const askOne = (one: Child, letter: string, payload: Buffer): Promise<Asked> =>
    new Promise((resolve) => {
      const id = ++one.asked;
      one.waiting = (answer) => {
        one.waiting = undefined;
        onTime();
        resolve(answer);
      };
      const late = (): void => {
        one.waiting?.("late");
        stop(one);
      };
      let onTime = afterRunning(one.isReady ? TIME_LIMIT_MS : START_LIMIT_MS, late);
      one.onReady = () => {
        onTime();
        if (one.waiting !== undefined) onTime = afterRunning(TIME_LIMIT_MS, late);
      };
      one.guest.send(letter, id, payload);
    });

  return {
    async ask(letter, payload) {
      clearTimeout(idle);
      for (;;) {
        if (child?.guest.isOver()) child = undefined;
        const current = (child ??= launch());
        const isFirst = current.asked === 0;
        const answer = await askOne(current, letter, payload);
        if (idleMs !== undefined) idle = setTimeout(() => stop(current), idleMs).unref();
        if (Buffer.isBuffer(answer)) return answer;
        // It may be an earlier request whose leavings ended or held up the child: this one gets a child to itself.
        if (isFirst) return answer;
      }
    },
    stop() {
      clearTimeout(idle);
      stop(child);
    },
  };
}
