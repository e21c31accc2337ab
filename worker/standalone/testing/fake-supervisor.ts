import path from "node:path";
import { openChildRecords } from "../leftovers.ts";
import { lockHome } from "../lock.ts";
import { superviseChild } from "../child.ts";

// A supervisor that a test can kill: one child that outlives it, recorded in the folder given.
const folder = process.argv[2] ?? "";
await lockHome(folder, folder);
const records = await openChildRecords(path.join(folder, "children"));
const child = superviseChild(
  {
    name: "worker",
    modulePath: path.join(import.meta.dirname, "fake-child.ts"),
    args: ["orphan"],
    env: { NODE_ENV: "production" },
  },
  {
    onLine: () => undefined,
    say: () => undefined,
    records: {
      ...records,
      add: async (name, pid) => {
        await records.add(name, pid);
        console.log(String(pid));
      },
    },
  },
);
await child.ready;
