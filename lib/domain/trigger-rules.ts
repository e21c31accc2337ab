import type { TriggerRule } from "./model/task.ts";
import type { TaskState } from "./states.ts";

/**
 * When a task may start, from how its parents ended: Airflow's rules and meanings, as its scheduler
 * has them in `airflow-core/src/airflow/ti_deps/deps/trigger_rule_dep.py`. docs/trigger-rules.md
 * has the table that is made from this file, and the cases where Sluice differs on purpose.
 */

/** How many parents a task has, and how many of them ended in which way. */
export type ParentCounts = {
  total: number;
  success: number;
  /** `cancelled` parents count here as well. */
  failed: number;
  upstreamFailed: number;
  skipped: number;
};

/**
 * What becomes of a waiting task: it goes on waiting, may start, or has its end without ever
 * starting.
 */
export type RuleVerdict = "waiting" | "ready" | "skipped" | "upstream_failed";

type Facts = ParentCounts & { bad: number; done: boolean };
type Rule = (parents: Facts) => RuleVerdict;

/** `ends` is what the task becomes when every parent has ended and the rule does not hold. */
const whenDone =
  (holds: (parents: Facts) => boolean, ends: (parents: Facts) => RuleVerdict): Rule =>
  (parents) => {
    if (!parents.done) return "waiting";
    return holds(parents) ? "ready" : ends(parents);
  };

/** Starts as soon as `holds`, whatever the other parents do. */
const early =
  (holds: (parents: Facts) => boolean, ends: (parents: Facts) => RuleVerdict): Rule =>
  (parents) => {
    if (holds(parents)) return "ready";
    return parents.done ? ends(parents) : "waiting";
  };

/** Ends the task as soon as one parent makes the rule impossible. */
const unless =
  (broken: (parents: Facts) => RuleVerdict | undefined, rule: Rule): Rule =>
  (parents) =>
    broken(parents) ?? rule(parents);

const always = (): boolean => true;
const toSkipped = (): RuleVerdict => "skipped";
const toFailed = (): RuleVerdict => "upstream_failed";
const toSkippedOrFailed = ({ skipped, total }: Facts): RuleVerdict =>
  skipped === total ? "skipped" : "upstream_failed";
const failedFirst = ({ bad }: Facts): RuleVerdict | undefined => (bad > 0 ? "upstream_failed" : undefined);

const RULES: Record<TriggerRule, Rule> = {
  all_success: unless(
    (parents) => failedFirst(parents) ?? (parents.skipped > 0 ? "skipped" : undefined),
    whenDone(always, toSkipped),
  ),
  all_failed: unless(
    ({ success, skipped }) => (success + skipped > 0 ? "skipped" : undefined),
    whenDone(always, toSkipped),
  ),
  all_done: whenDone(always, toSkipped),
  all_skipped: unless(({ success, bad }) => (success + bad > 0 ? "skipped" : undefined), whenDone(always, toSkipped)),
  one_success: early(({ success }) => success > 0, toSkippedOrFailed),
  one_failed: early(({ bad }) => bad > 0, toSkipped),
  // Airflow's: an upstream_failed parent never ran, so it is not "done" here.
  one_done: early(({ success, failed }) => success + failed > 0, toSkipped),
  none_failed: unless(failedFirst, whenDone(always, toSkipped)),
  none_skipped: unless(({ skipped }) => (skipped > 0 ? "skipped" : undefined), whenDone(always, toSkipped)),
  none_failed_min_one_success: unless(
    failedFirst,
    whenDone(({ success }) => success > 0, toSkipped),
  ),
  // A skipped parent is not "done" here, whatever the release notes of Airflow 3.1 say: it skips the task at once.
  all_done_min_one_success: unless(
    ({ skipped }) => (skipped > 0 ? "skipped" : undefined),
    whenDone(({ success }) => success > 0, toFailed),
  ),
  always: () => "ready",
};

/** A task without parents is ready under every rule. */
export function decide(rule: TriggerRule, parents: ParentCounts): RuleVerdict {
  if (parents.total === 0) return "ready";
  const bad = parents.failed + parents.upstreamFailed;
  return RULES[rule]({ ...parents, bad, done: parents.success + parents.skipped + bad === parents.total });
}

/**
 * True when a task whose parents all succeed starts with the last success, and not before: then its start is
 * decided by counting successes. Other ends of parents are looked at in full.
 */
export function isDecidedBySuccesses(rule: TriggerRule): boolean {
  return !["all_failed", "all_skipped", "one_success", "one_failed", "one_done", "always"].includes(rule);
}

/** Counts parents by how they ended; one that has not ended counts in `total` only. */
export function countParents(states: readonly TaskState[]): ParentCounts {
  const counts = { total: states.length, success: 0, failed: 0, upstreamFailed: 0, skipped: 0 };
  for (const state of states) {
    if (state === "success") counts.success++;
    else if (state === "skipped") counts.skipped++;
    else if (state === "upstream_failed") counts.upstreamFailed++;
    else if (state === "failed" || state === "cancelled") counts.failed++;
  }
  return counts;
}
