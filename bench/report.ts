/** One measured figure, as one JSON object a line. `limit` is what the machine itself gave in the same run. */
export type Figure = {
  id: string;
  /** F: runs inside the worker; W: function in a warm child; P: process; "limit": not Sluice at all. */
  kind: "F" | "W" | "P" | "limit" | "cost";
  figure: number;
  unit: string;
  limit: number | null;
  ratio: number | null;
  /** Null where there is nothing to reach: a limit, or a figure that only tells. */
  target: string | null;
  ok: boolean | null;
  /** Every run's figure, in order; the first, thrown-away one is not among them. */
  runs: number[];
};

/** What a figure has to be: a bound, and on which side of it. */
export type Target = { atLeast: number } | { atMost: number };

export type Given = {
  id: string;
  kind: Figure["kind"];
  unit: string;
  runs: readonly number[];
  target?: Target;
  /** The machine's own figure in the same unit, and what share of it has to be reached. */
  limit?: { figure: number; target?: Target };
};

/** The median of the runs against what is wanted of it. */
export function figureOf({ id, kind, unit, runs, target, limit }: Given): Figure {
  const figure = percentile(runs, 50);
  const ratio = limit === undefined ? undefined : figure / limit.figure;
  const wanted = [
    ...(target === undefined ? [] : [{ text: textOf(target), met: meets(figure, target) }]),
    ...(limit?.target === undefined
      ? []
      : [{ text: `${textOf(limit.target)} × limit`, met: meets(ratio!, limit.target) }]),
  ];
  return {
    id,
    kind,
    figure: rounded(figure),
    unit,
    limit: limit === undefined ? null : rounded(limit.figure),
    ratio: ratio === undefined ? null : rounded(ratio),
    target: wanted.length === 0 ? null : wanted.map((one) => one.text).join(", "),
    ok: wanted.length === 0 ? null : wanted.every((one) => one.met),
    runs: runs.map(rounded),
  };
}

/** The value below which `percent` of the values lie (nearest rank). */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export function tableLine(figure: Figure): string {
  const { id, kind, unit, limit, ratio, target, ok, runs } = figure;
  const verdict = ok === null ? "" : ok ? "ok" : "SHORT";
  const spread = runs.length > 1 ? `${Math.min(...runs)}–${Math.max(...runs)}` : "";
  return [
    id.padEnd(34),
    kind.padEnd(6),
    `${figure.figure} ${unit}`.padEnd(18),
    spread.padEnd(18),
    (limit === null ? "" : `limit ${limit}, ratio ${ratio}`).padEnd(30),
    (target ?? "").padEnd(24),
    verdict,
  ]
    .join(" ")
    .trimEnd();
}

const textOf = (target: Target): string => ("atLeast" in target ? `≥ ${target.atLeast}` : `≤ ${target.atMost}`);

const meets = (figure: number, target: Target): boolean =>
  "atLeast" in target ? figure >= target.atLeast : figure <= target.atMost;

const rounded = (value: number): number => (Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3)));
