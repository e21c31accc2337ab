/**
 * How far a database is from trouble with its transaction ids. Vacuum can neither clean nor freeze
 * what an old snapshot may still see: while one is open, each read of a busy table passes over all
 * that was done since.
 */

/**
 * Who holds back the cleaning of dead rows. `seconds` is null where Postgres keeps no time, as of a
 * replication slot.
 */
export type SnapshotHolder = {
  kind: "session" | "replication slot" | "prepared transaction";
  /** The process of a session. */
  pid: number | null;
  /** The session's application name, or the name of the slot or the transaction. */
  application: string;
  /** Transactions since the snapshot. */
  xids: number;
  seconds: number | null;
};

export type DatabaseAge = {
  /**
   * Transaction ids since the oldest that is not frozen, and from how many on autovacuum freezes
   * whatever it costs.
   */
  xidAge: number;
  xidFreezeAge: number;
  /**
   * The same of multixacts, which finishers of one run make when they lock its row at the same
   * time.
   */
  mxidAge: number;
  mxidFreezeAge: number;
  oldestSnapshot: SnapshotHolder | null;
};

export type AgeFinding = { id: "xid-age" | "mxid-age" | "old-snapshot"; says: string };

/**
 * Autovacuum should have come down from its own bound by then; Postgres refuses writes at two
 * thousand million.
 */
const LATE_FACTOR = 1.5;
const MAX_AGE = 1_500_000_000;
const MAX_SNAPSHOT_SECONDS = 3_600;
const MAX_SNAPSHOT_XIDS = 5_000_000;

/** Returns what of it a person should act on. */
export function ageFindings(age: DatabaseAge): AgeFinding[] {
  const findings: AgeFinding[] = [];
  if (isLate(age.xidAge, age.xidFreezeAge))
    findings.push({
      id: "xid-age",
      says: `autovacuum is late to freeze transaction ids: the oldest is ${number(age.xidAge)} old, its bound is ${number(age.xidFreezeAge)}`,
    });
  if (isLate(age.mxidAge, age.mxidFreezeAge))
    findings.push({
      id: "mxid-age",
      says: `autovacuum is late to freeze multixacts: the oldest is ${number(age.mxidAge)} old, its bound is ${number(age.mxidFreezeAge)}`,
    });
  const snapshot = age.oldestSnapshot;
  if (snapshot !== null && isOld(snapshot))
    findings.push({
      id: "old-snapshot",
      says: `${holder(snapshot)} keeps Postgres from cleaning up: ${oldAs(snapshot)}`,
    });
  return findings;
}

function isLate(age: number, freezeAge: number): boolean {
  return age > Math.min(LATE_FACTOR * freezeAge, MAX_AGE);
}

function isOld({ xids, seconds }: SnapshotHolder): boolean {
  return xids > MAX_SNAPSHOT_XIDS || (seconds ?? 0) > MAX_SNAPSHOT_SECONDS;
}

function holder({ kind, pid, application }: SnapshotHolder): string {
  const name = application === "" ? "without a name" : `"${application}"`;
  return pid === null ? `the ${kind} ${name}` : `the ${kind} ${name} (pid ${pid})`;
}

function oldAs({ xids, seconds }: SnapshotHolder): string {
  const transactions = `its snapshot is ${number(xids)} transactions`;
  return seconds === null
    ? `${transactions} old`
    : `${transactions} and ${number(Math.round(seconds / 60))} minutes old`;
}

const number = (value: number): string => value.toLocaleString("en");
