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
  /** How often what is compared with something else is measured, each beside the other. */
  pairs: number;
  /** Of a measure whose tables are filled first. */
  rows: number;
};

export type Measure = (context: MeasureContext) => Promise<Figure[]>;
