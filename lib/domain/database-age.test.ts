import { describe, expect, test } from "vitest";
import { ageFindings, type DatabaseAge, type SnapshotHolder } from "./database-age.ts";

const YOUNG: DatabaseAge = {
  xidAge: 190_000_000,
  xidFreezeAge: 200_000_000,
  mxidAge: 399_000_000,
  mxidFreezeAge: 400_000_000,
  oldestSnapshot: null,
};

const ids = (age: Partial<DatabaseAge>): string[] => ageFindings({ ...YOUNG, ...age }).map(({ id }) => id);

describe("the age of a database", () => {
  test("is fine up to what autovacuum does by itself, and a little beyond", () => {
    expect(ids({})).toEqual([]);
    expect(ids({ xidAge: 299_000_000, mxidAge: 599_000_000 })).toEqual([]);
  });

  test("is found when autovacuum is late, of transaction ids and of multixacts", () => {
    expect(ids({ xidAge: 301_000_000 })).toEqual(["xid-age"]);
    expect(ids({ mxidAge: 601_000_000 })).toEqual(["mxid-age"]);
  });

  test("is found in time however late autovacuum was told to begin", () => {
    expect(ids({ xidAge: 1_500_000_001, xidFreezeAge: 2_000_000_000 })).toEqual(["xid-age"]);
  });
});

describe("the oldest snapshot", () => {
  const session: SnapshotHolder = { kind: "session", pid: 42, application: "pg_dump", xids: 10, seconds: 60 };

  test("is fine while it is young", () => {
    expect(ids({ oldestSnapshot: session })).toEqual([]);
  });

  test("is found after an hour, or after five million transactions, with who holds it", () => {
    expect(ageFindings({ ...YOUNG, oldestSnapshot: { ...session, seconds: 5_400 } })).toEqual([
      {
        id: "old-snapshot",
        says: 'the session "pg_dump" (pid 42) keeps Postgres from cleaning up: its snapshot is 10 transactions and 90 minutes old',
      },
    ]);
    expect(ids({ oldestSnapshot: { ...session, xids: 5_000_001 } })).toEqual(["old-snapshot"]);
  });

  test("of a replication slot is judged by its transactions, as it has no time", () => {
    const slot: SnapshotHolder = {
      kind: "replication slot",
      pid: null,
      application: "s",
      xids: 6_000_000,
      seconds: null,
    };
    expect(ageFindings({ ...YOUNG, oldestSnapshot: slot })).toEqual([
      {
        id: "old-snapshot",
        says: 'the replication slot "s" keeps Postgres from cleaning up: its snapshot is 6,000,000 transactions old',
      },
    ]);
  });
});
