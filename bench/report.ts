/** One measured figure, as one JSON object a line. `limit` is what the machine itself, or a peer, gave in the same run. */
export type Figure = {
  id: string;
  /** F: runs inside the worker; W: function in a warm child; P: process; "limit": not Sluice at all. */
  kind: "F" | "W" | "P" | "limit" | "cost";
  figure: number;
  unit: string;
  limit: number | null;
  /** Where the limit was measured in turn with the figure, the median of the rounds' own ratios. */
  ratio: number | null;
  /** Null where there is nothing to reach: a limit, or a figure that only tells. */
  target: string | null;
  ok: boolean | null;
  /** Every run's figure, in order; the first, thrown-away one is not among them. */
  runs: number[];
  /** What the limit gave in the rounds of `runs`; null where it was not measured in turn. */
  limitRuns: number[] | null;
};

/** What a figure has to be: a bound, and on which side of it. */
export type Target = { atLeast: number } | { atMost: number };

export type Given = {
  id: string;
  kind: Figure["kind"];
  unit: string;
  runs: readonly number[];
  target?: Target;
  /** The limit's figure in the same unit, or one for each of the runs, and what share of it has to be reached. */
  limit?: ({ figure: number } | { runs: readonly number[] }) & { target?: Target };
};

type Against = { figure: number | null; ratio: number | null; runs: readonly number[] | null };

function against(runs: readonly number[], limit: Given["limit"]): Against {
  if (limit === undefined) return { figure: null, ratio: null, runs: null };
  if ("figure" in limit) return { figure: limit.figure, ratio: percentile(runs, 50) / limit.figure, runs: null };
  return { figure: percentile(limit.runs, 50), ratio: percentile(ratiosOf(runs, limit.runs), 50), runs: limit.runs };
}

/** The median of the runs against what is wanted of it. */
export function figureOf({ id, kind, unit, runs, target, limit }: Given): Figure {
  const figure = percentile(runs, 50);
  const beside = against(runs, limit);
  const wanted = [
    ...(target === undefined ? [] : [{ text: textOf(target), met: meets(figure, target) }]),
    ...(limit?.target === undefined
      ? []
      : [{ text: `${textOf(limit.target)} × limit`, met: meets(beside.ratio!, limit.target) }]),
  ];
  return {
    id,
    kind,
    figure: rounded(figure),
    unit,
    limit: roundedOrNull(beside.figure),
    ratio: roundedOrNull(beside.ratio),
    target: wanted.length === 0 ? null : wanted.map((one) => one.text).join(", "),
    ok: wanted.length === 0 ? null : wanted.every((one) => one.met),
    runs: runs.map(rounded),
    limitRuns: beside.runs?.map(rounded) ?? null,
  };
}

const ratiosOf = (runs: readonly number[], limitRuns: readonly number[]): number[] =>
  runs.map((run, n) => run / (limitRuns[n] ?? Number.NaN));

/** The smallest and the largest; nothing where there is only one. */
export const spreadOf = (values: readonly number[]): string =>
  values.length > 1 ? `${rounded(Math.min(...values))}–${rounded(Math.max(...values))}` : "";

/** The value below which `percent` of the values lie (nearest rank). */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export function tableLine(figure: Figure): string {
  const { id, kind, unit, limit, ratio, target, ok, runs, limitRuns } = figure;
  const verdict = ok === null ? "" : ok ? "ok" : "SHORT";
  const inBrackets = (text: string): string => (text === "" ? "" : ` (${text})`);
  const limitSpread = inBrackets(spreadOf(limitRuns ?? []));
  const ratioSpread = inBrackets(spreadOf(ratiosOf(runs, limitRuns ?? []).filter(Number.isFinite)));
  return [
    id.padEnd(34),
    kind.padEnd(6),
    `${figure.figure} ${unit}`.padEnd(18),
    spreadOf(runs).padEnd(18),
    (limit === null ? "" : `limit ${limit}${limitSpread}, ratio ${ratio}${ratioSpread}`).padEnd(30),
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

const roundedOrNull = (value: number | null): number | null => (value === null ? null : rounded(value));
