import { setImmediate as nextTurn } from "node:timers/promises";
import type { Json } from "#lib/domain/canonical.ts";
import type { Claimed } from "#lib/db/claims.ts";
import type { Finish } from "#lib/db/finishes.ts";
import { readParentXcoms } from "#lib/db/xcoms.ts";
import { NO_XCOMS, type ParentXcoms, parentXcoms, RETURN_VALUE, storedJson } from "#lib/domain/xcom.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";

/** What a task's parents may leave together; a task that needs more should be handed a place to read it from. */
export const MAX_INPUT_BYTES = 16 * 1024 * 1024;
/** What is fetched before its task starts must not fill the worker. */
const MAX_PREFETCH_BYTES = 128 * 1024;
/** Characters of JSON that are handed from a parent to its child; more is read from the database. */
const MAX_HANDED_OVER = 64 * 1024;

export class InputsTooLarge extends Error {
  constructor() {
    super(`what its parents have left is more than ${MAX_INPUT_BYTES >> 20} MiB together`);
  }
}

export type Inputs = {
  /** What the parents have left. Throws `InputsTooLarge`, and what the database throws. */
  of(claimed: Claimed): Promise<ParentXcoms>;
  /** Fetches them beforehand, together with those of others that wait. */
  prefetch(claimed: Claimed): void;
  /** Keeps what the parent left for a child that continues in its slot, so that the database is not asked for it. */
  handOver(child: Claimed, parent: Claimed, end: Finish): void;
  forget(claimed: Claimed): void;
};

export function createInputs({ pool }: EngineDeps): Inputs {
  const fetched = new Map<string, Promise<ParentXcoms | undefined>>();
  let asked: string[] = [];
  let answer: Promise<Map<string, ParentXcoms | undefined>> | undefined;

  /** All that is asked for in one turn is one question. */
  const askTogether = (taskInstanceId: string): Promise<Map<string, ParentXcoms | undefined>> => {
    asked.push(taskInstanceId);
    answer ??= nextTurn().then(() => {
      const ids = asked;
      asked = [];
      answer = undefined;
      return readParentXcoms(pool, ids, MAX_PREFETCH_BYTES);
    });
    return answer;
  };

  return {
    async of(claimed) {
      if (isRoot(claimed)) return NO_XCOMS;
      const ready = await fetched.get(claimed.attemptId);
      if (ready !== undefined) return ready;
      const id = claimed.taskInstanceId;
      const outputs = (await readParentXcoms(pool, [id], MAX_INPUT_BYTES)).get(id);
      if (outputs === undefined) throw new InputsTooLarge();
      return outputs;
    },
    prefetch(claimed) {
      if (isRoot(claimed)) return;
      const id = claimed.taskInstanceId;
      // Whatever goes wrong here is asked again when the task starts.
      const outputs = askTogether(id).then(
        (all) => all.get(id),
        () => undefined,
      );
      fetched.set(claimed.attemptId, outputs);
    },
    handOver(child, parent, end) {
      const left = isOnlyParent(parent, child) ? leftBy(end) : undefined;
      if (left !== undefined) fetched.set(child.attemptId, Promise.resolve(parentXcoms({ [parent.taskId]: left })));
    },
    forget(claimed) {
      fetched.delete(claimed.attemptId);
    },
  };
}

function parentsOf({ task }: Claimed): readonly string[] {
  return (task as { dependsOn?: readonly string[] }).dependsOn ?? [];
}

function isRoot(claimed: Claimed): boolean {
  return parentsOf(claimed).length === 0;
}

function isOnlyParent({ taskId }: Claimed, child: Claimed): boolean {
  const parents = parentsOf(child);
  return parents.length === 1 && parents[0] === taskId;
}

/** By key; undefined where it is large, or may have expired when the child asks for it. */
function leftBy({ output, pushed = {}, xcomTtlMs }: Finish): Record<string, Json> | undefined {
  const texts = Object.entries({ ...pushed, ...(output !== undefined && { [RETURN_VALUE]: output }) });
  const length = texts.reduce((sum, [, json]) => sum + json.length, 0);
  if (xcomTtlMs !== undefined || length > MAX_HANDED_OVER) return undefined;
  return Object.fromEntries(texts.map(([key, json]) => [key, storedJson(json)]));
}
