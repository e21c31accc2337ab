/**
 * What a task needs of its worker beside a slot, and what a worker offers: labels that people give out, and task types,
 * because workers of several versions and with several plugins may serve one queue. One goes to the other when the
 * worker offers all that the task needs.
 */

const TYPE = "type:";

/** Task types that every worker runs, whatever its version; a task of one of them needs nothing for it. */
const EVERYWHERE: ReadonlySet<string> = new Set(["bash", "python", "fn", "http", "sql", "noop"]);

export function needsOf(task: { type: string; workerLabels: readonly string[] }): string[] {
  const type = EVERYWHERE.has(task.type) ? [] : [TYPE + task.type];
  return [...new Set([...task.workerLabels, ...type])].toSorted();
}

export function offersOf(worker: { labels: readonly string[]; types: readonly string[] }): string[] {
  return [...new Set([...worker.labels, ...worker.types.map((type) => TYPE + type)])].toSorted();
}

export function isOffered(needs: readonly string[], offers: readonly string[]): boolean {
  return needs.every((need) => offers.includes(need));
}

/** As people read it: `label "gpu" and tasks of type "docker"`. */
export function needsText(needs: readonly string[]): string {
  const types = needs.filter((need) => need.startsWith(TYPE)).map((need) => need.slice(TYPE.length));
  const labels = needs.filter((need) => !need.startsWith(TYPE));
  const quoted = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(", ");
  return [
    ...(labels.length > 0 ? [`the ${labels.length === 1 ? "label" : "labels"} ${quoted(labels)}`] : []),
    ...(types.length > 0 ? [`an executor for tasks of type ${quoted(types)}`] : []),
  ].join(" and ");
}
