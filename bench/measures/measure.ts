import type { Limits } from "../limits.ts";
import type { Figure } from "../report.ts";
import type { System } from "../system.ts";

export type MeasureContext = {
  system: System;
  limits: Limits;
  /** Runs it once to warm up, thrown away, and then as often as asked for. */
  times(run: () => Promise<number>): Promise<number[]>;
  /** Length of a measure that goes on for a time. */
  minutes: number;
};

export type Measure = (context: MeasureContext) => Promise<Figure[]>;
