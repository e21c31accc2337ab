import type { Capacity } from "#lib/db/admission-capacity.ts";
import type { AdmissionPlan } from "#lib/db/admission.ts";
import type { Standing } from "#lib/db/task-classes.ts";
import type { Admission, Grant } from "#lib/domain/admission.ts";
import { type Demand, isParticular, type LaneRoom, type TaskClass } from "#lib/domain/demand.ts";
import { blockedOn, type Occupancy, type WaitReason, withHolders } from "#lib/domain/wait-reason.ts";

export type PlanInput = {
  /** Of the lease by which the caller leads admission; null for one that leads nothing. */
  term: number | null;
  capacity: Capacity;
  demand: Demand;
  /** Full lanes with something ready whose classes were not read, and why. */
  unread: ReadonlyMap<LaneRoom, WaitReason>;
  standing: ReadonlyMap<number, Standing>;
  decision: Admission;
  /** Classes that are said to wait and have nothing ready. */
  gone: readonly number[];
  /** Keys of runs that have more live tasks than their DAG allows; undefined in a pass that is not a regular one. */
  overRuns: readonly string[] | undefined;
};

/** Of runs, and of slots that classes in full lanes may wait for: other passes do not look. */
const OF_REGULAR_PASSES = /^(?:run|slot|worker):/;

/** The difference between what is written down and what the decision says: what a pass has to write. */
export function admissionPlan(input: PlanInput): AdmissionPlan {
  const { capacity, demand, decision } = input;
  const keys = new Map<number, string | null>();
  for (const [id, reason] of decision.waits) keys.set(id, keyOf(demand, id, reason));
  const contended = contendedKeys(input, keys.values());
  const isUnknown = (key: string): boolean => input.overRuns === undefined && OF_REGULAR_PASSES.test(key);
  return {
    term: input.term,
    apart: [...capacity.apart.tasks],
    grants: groupGrants(decision.grants),
    lanes: changedLanes(input),
    waits: changedWaits(input, keys),
    gone: decision.isPartial ? [] : [...input.gone, ...waitNoMore(input)],
    contended: [...contended].filter((key) => !capacity.contention.has(key)),
    // What nothing is known of may still wait; the pass that follows says so or frees them.
    free: decision.isPartial ? [] : [...capacity.contention].filter((key) => !contended.has(key) && !isUnknown(key)),
    counted: [...capacity.lowered].flatMap(([key, version]) => (isUnknown(key) ? [] : [{ key, version }])),
  };
}

/** Classes of which all that is ready was admitted, and which are said to wait. */
function waitNoMore({ demand, standing, decision }: PlanInput): number[] {
  const isOver = ({ id, hasMore }: Demand["ready"][number]): boolean =>
    !hasMore && !decision.waits.has(id) && (standing.get(id)?.written ?? null) !== null;
  return demand.ready.filter(isOver).map(({ id }) => id);
}

/** True when applying the plan would change nothing. */
export function isEmptyPlan(plan: AdmissionPlan): boolean {
  const { grants, lanes, waits, gone, contended, free, counted } = plan;
  return [grants, lanes, waits, gone, contended, free, counted].every((part) => part.length === 0);
}

const index = new WeakMap<Demand, { lanes: Map<number, LaneRoom>; ready: Map<number, Demand["ready"][number]> }>();

function indexOf(demand: Demand): { lanes: Map<number, LaneRoom>; ready: Map<number, Demand["ready"][number]> } {
  const found = index.get(demand) ?? {
    lanes: new Map(demand.lanes.map((lane) => [lane.id, lane])),
    ready: new Map(demand.ready.map((of) => [of.id, of])),
  };
  index.set(demand, found);
  return found;
}

function keyOf(demand: Demand, id: number, reason: WaitReason): string | null {
  const { lanes, ready } = indexOf(demand);
  const { dagId, laneId } = ready.get(id)!;
  return blockedOn({ dagId, laneId, groupId: lanes.get(laneId)!.groupId }, reason);
}

/** What something waits for, and limits that are lower than what is live. */
function contendedKeys(
  { demand, unread, overRuns, decision }: PlanInput,
  waited: Iterable<string | null>,
): Set<string> {
  const keys = new Set<string>([...(overRuns ?? []), ...overLimits(demand), ...decision.slotKeys]);
  for (const key of waited) if (key !== null) keys.add(key);
  for (const [{ id: laneId, groupId }, reason] of unread) {
    const key = blockedOn({ dagId: "", laneId, groupId }, reason);
    if (key !== null) keys.add(key);
  }
  return keys;
}

/** Keys of limits below what is live: one that was lowered takes slots back as they fall free. */
function overLimits({ live, pools, dags, systemLimit }: Demand): string[] {
  const total = live.reduce((sum, each) => sum + each.live, 0);
  const ofDags = sumsBy(live, ({ dagId }) => dagId, 1);
  const ofPools = sumsBy(live, ({ pool }) => pool);
  return [
    ...[...ofPools].filter(([name, taken]) => taken > (pools.get(name) ?? 0)).map(([name]) => `pool:${name}`),
    ...[...ofDags].filter(([id, taken]) => taken > (dags.get(id)?.limit ?? taken)).map(([id]) => `dag:${id}`),
    ...(total > (systemLimit ?? total) ? ["system"] : []),
  ];
}

/** What is live, by a property of the classes; weighed by the pool slots of a task unless by `weight`. */
function sumsBy(live: Demand["live"], keyOf: (of: TaskClass) => string | null, weight?: number): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { of, live: n } of live) {
    const key = keyOf(of);
    if (key !== null) sums.set(key, (sums.get(key) ?? 0) + n * (weight ?? of.slots));
  }
  return sums;
}

/** Tasks of one class and run in one entry: the database takes as many of its oldest as there are places. */
function groupGrants(grants: readonly Grant[]): AdmissionPlan["grants"] {
  const grouped = new Map<string, AdmissionPlan["grants"][number]>();
  for (const [at, { classId, runId, workerId }] of grants.entries()) {
    const key = `${classId} ${runId ?? ""}`;
    const group = grouped.get(key) ?? { class: classId, run: runId, at: [], workers: [] };
    group.at.push(at);
    group.workers.push(workerId);
    grouped.set(key, group);
  }
  return [...grouped.values()];
}

/** Rooms only: clocks move in the database, by what is admitted. */
function changedLanes({ capacity, demand }: PlanInput): AdmissionPlan["lanes"] {
  const kept = new Map(capacity.lanes.map((lane) => [lane.id, lane]));
  const groupRooms = new Map(demand.groups.map(({ id, room }) => [id, room]));
  return demand.lanes.flatMap(({ id, slots, room, groupId, ownSlots }) => {
    const was = kept.get(id)!;
    const groupRoom = groupRooms.get(groupId)!;
    const isSame =
      was.slots === slots &&
      was.room === room &&
      was.groupId === groupId &&
      was.groupRoom === groupRoom &&
      was.ownSlots === ownSlots;
    return isSame ? [] : [{ id, slots, room, group: groupId, group_room: groupRoom, own_slots: ownSlots }];
  });
}

function changedWaits(
  { capacity, demand, standing, decision }: PlanInput,
  keys: ReadonlyMap<number, string | null>,
): AdmissionPlan["waits"] {
  let occupancy: Occupancy[] | undefined;
  const changed: AdmissionPlan["waits"] = [];
  for (const [id, reason] of decision.waits) {
    const was = standing.get(id)?.written ?? null;
    const key = keys.get(id)!;
    const isSame = was !== null && !was.isOld && was.code === reason.code && was.blockedOn === key;
    if (isSame || capacity.apart.classes.has(id)) continue;
    occupancy ??= occupancyOf(demand, decision);
    const { code, ...detail } = withHolders(reason, occupancy);
    changed.push({ id, code, detail, on: key === null ? [] : [key] });
  }
  return changed;
}

/** Who has what others wait for: what is live, and what this pass admits. */
function occupancyOf(demand: Demand, { grants }: Admission): Occupancy[] {
  const { ready } = indexOf(demand);
  const granted = grants.map(({ classId }) => ({ of: ready.get(classId)! as TaskClass, live: 1 }));
  return [...demand.live, ...granted].map(({ of, live: tasks }) => ({
    dagId: of.dagId,
    lane: of.lane,
    pool: of.pool,
    tasks,
    slots: tasks * of.slots,
    particular: isParticular(of),
  }));
}
