import type pg from "pg";

/**
 * The plans of all statements that go over a pool, those inside of functions among them, with what each node has done:
 * `auto_explain` tells them to the client. What is judged is work and not time, so that a busy machine judges as a quiet one.
 */
export type PlanNode = {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Name"?: string;
  /** On average over its loops. */
  "Actual Rows"?: number;
  "Actual Loops"?: number;
  "Rows Removed by Join Filter"?: number;
  "Rows Removed by Filter"?: number;
  "Rows Removed by Index Recheck"?: number;
  Plans?: PlanNode[];
};

export type SeenPlan = { text: string; plan: PlanNode };

export type PlanWatch = {
  /** Statements that were cut off by their time limit since the last call: nothing tells their plans. */
  cutOff(): string[];
  /** What was run since the last call. */
  take(): SeenPlan[];
  /** The names of all named statements that were run. */
  names: ReadonlySet<string>;
};

const SETTINGS = `
  load 'auto_explain';
  set auto_explain.log_min_duration = 0;
  set auto_explain.log_analyze = on;
  set auto_explain.log_timing = off;
  set auto_explain.log_nested_statements = on;
  set auto_explain.log_format = json;
  set auto_explain.log_level = notice;
  set auto_explain.log_parameter_max_length = 0;
  set track_functions = 'all';
  set statement_timeout = '20 s';
  set idle_in_transaction_session_timeout = 0`;

/** Before the pool's first connection. */
export function watchPlans(pool: pg.Pool): PlanWatch {
  let seen: SeenPlan[] = [];
  let late: string[] = [];
  const names = new Set<string>();
  pool.on("connect", (client) => {
    client.on("notice", ({ message = "" }) => {
      const at = message.indexOf("plan:\n");
      if (at < 0) return;
      const { "Query Text": text, Plan: plan } = JSON.parse(message.slice(at + 6)) as {
        "Query Text": string;
        Plan: PlanNode;
      };
      seen.push({ text, plan });
    });
    rememberNames(client, names, (text) => late.push(text));
    void client.query(SETTINGS);
  });
  return {
    take() {
      const taken = seen;
      seen = [];
      return taken;
    },
    cutOff() {
      const taken = late;
      late = [];
      return taken;
    },
    names,
  };
}

const CUT_OFF = "57014";

function rememberNames(client: pg.PoolClient, names: Set<string>, cutOff: (text: string) => void): void {
  const query = client.query.bind(client) as (...args: unknown[]) => unknown;
  const remembering = (...args: unknown[]): unknown => {
    const config = args[0] as string | { name?: string; text: string };
    if (typeof config === "object" && config.name !== undefined) names.add(config.name);
    const told = (error: unknown): void => {
      if (!(error instanceof Error && "code" in error && error.code === CUT_OFF)) return;
      const where = "where" in error && typeof error.where === "string" ? ` (${error.where.slice(0, 150)})` : "";
      cutOff(`${headOf(typeof config === "string" ? config : (config.name ?? config.text))}${where}`);
    };
    const last = args.at(-1);
    // The pool gives its clients a callback.
    if (typeof last === "function") {
      args[args.length - 1] = (error: unknown, ...rest: unknown[]) => {
        told(error);
        (last as (...all: unknown[]) => void)(error, ...rest);
      };
    }
    const result = query(...args);
    if (result instanceof Promise) result.catch(told);
    return result;
  };
  client.query = remembering as typeof client.query;
}

export type Problem = { kind: "join filter" | "scan" | "partitions"; says: string };

/** What a call may do for each row that it is about, and what it may do in any case. */
const PER_ROW = 10;
const IN_ANY_CASE = 3_000;

/**
 * What is wrong with a plan of a call that is about so many rows: a join of two large sets row by row, a scan of more
 * than it is about, or several partitions of one table where one has its rows.
 */
export function problemsOf({ plan }: SeenPlan, rows: number): Problem[] {
  const most = PER_ROW * rows + IN_ANY_CASE;
  const problems: Problem[] = [];
  const parts = new Map<string, Set<string>>();
  for (const node of nodesOf(plan)) {
    const loops = node["Actual Loops"] ?? 0;
    const name = node["Relation Name"];
    const compared = loops * (node["Rows Removed by Join Filter"] ?? 0);
    if (compared > most)
      problems.push({ kind: "join filter", says: `${node["Node Type"]}: ${compared} rows removed by a join filter` });
    if (name === undefined || loops === 0) continue;
    const read = rowsRead(node);
    if (read > most)
      problems.push({ kind: "scan", says: `${node["Index Name"] ?? node["Node Type"]} of ${name}: ${read} rows read` });
    const table = name.replace(/_g\d+$/, "");
    if (table !== name) parts.set(table, (parts.get(table) ?? new Set()).add(name));
  }
  const several = [...parts].filter(([, names]) => names.size > 1);
  problems.push(
    ...several.map(([table, names]): Problem => ({ kind: "partitions", says: `${names.size} partitions of ${table}` })),
  );
  return problems;
}

function rowsRead(node: PlanNode): number {
  const {
    "Actual Rows": kept = 0,
    "Rows Removed by Filter": left = 0,
    "Rows Removed by Index Recheck": checked = 0,
  } = node;
  return (node["Actual Loops"] ?? 0) * (kept + left + checked);
}

function* nodesOf(node: PlanNode): Generator<PlanNode> {
  yield node;
  for (const child of node.Plans ?? []) yield* nodesOf(child);
}

/** One line of a statement, for people. */
export function headOf(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim().slice(0, 110);
}
