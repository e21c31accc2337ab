import type { Db } from "./pool.ts";

/** The files of a bundle by relative path; undefined when there is no such bundle. */
export async function readBundle(db: Db, hash: string): Promise<Record<string, string> | undefined> {
  const { rows } = await db.query<{ files: Record<string, string> }>(
    "select files from sluice.bundle where hash = $1",
    [hash],
  );
  return rows[0]?.files;
}
