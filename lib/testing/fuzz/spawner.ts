import { chmod, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createSpawner } from "#worker/spawner/client.ts";
import { fields } from "#worker/spawner/fields.ts";
import type { SpawnerProgram } from "#worker/spawner/launch.ts";
import type { Exit } from "../../executors/executor.ts";
import { plainEnv } from "../../env.ts";
import { allEnded } from "../processes.ts";
import { SILENT } from "../silent-log.ts";
import { frameLike } from "./mutate.ts";
import type { Random } from "./random.ts";
import type { Target } from "./target.ts";

const LETTERS = ["s", "o", "e", "l", "x", "n", "p"];

/** A frame of a spawner, as one is or nearly. */
export function spawnerFrame(random: Random): Buffer {
  if (random.chance(0.1)) return random.bytes(1 + random.upTo(60));
  const value = (): string | Buffer =>
    random.pick(["", "0", "-1", "9", "1e9", "x", "SIGKILL", String(2 ** 40), "NaN", random.bytes(random.upTo(20))]);
  const packed = fields(Array.from({ length: random.upTo(9) }, value));
  // A pid that is told is killed when its spawner is lost: none that anybody has.
  const payload = random.chance(0.2) ? random.bytes(random.upTo(30)) : packed;
  const letter = random.pick(LETTERS);
  return frameLike(letter, 1 + random.upTo(3), letter === "s" ? fields([String(2 ** 30)]) : payload, random);
}

/** Takes its parent's end of the pipe, which whoever may debug the parent can, and writes what it is given into it. */
const WRITES = `SPAWNER=$PPID perl -MMIME::Base64 -e 'my $process = syscall 434, $ENV{SPAWNER} + 0, 0; my $fd = syscall 438, $process, 1, 0; exit 9 if $fd < 0; open my $pipe, ">&=", $fd or exit 9; syswrite $pipe, decode_base64($ARGV[0] // "")'`;

/**
 * A task that writes into its spawner's pipe to the worker, which a task of the worker's own user can: `worker/spawner`. Its end is
 * that attempt's; the worker works on with the spawner, or with another one.
 */
function spawnerIn(program: SpawnerProgram): Target {
  return {
    name: `spawner-${program}`,
    async start() {
      const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-fuzz-spawner-"));
      await chmod(folder, 0o711);
      const spawner = createSpawner({ env: plainEnv(), program, log: SILENT, pingMs: 100 });
      let processes = 0;
      const run = async (
        command: string,
        signal = new AbortController().signal,
        onText = (_: string): void => undefined,
      ): Promise<Exit & { text: string }> => {
        let text = "";
        const request = {
          file: "bash",
          args: ["-c", command],
          env: { PATH: "/usr/bin:/bin" },
          folder: path.join(folder, String(++processes)),
          files: {},
        };
        const exit = await spawner.run(request, signal, async (_, bytes) => onText((text += bytes.toString())));
        return { ...exit, text };
      };
      /** What had begun when a spawner was lost is lost with it: that is no fault, and it is tried again. */
      const served = async (): Promise<string[]> => {
        for (let times = 0; times < 100; times++) {
          const { code, text, error } = await run("echo fine");
          if (code === 0 && text === "fine\n") return [];
          if (error === undefined) return [`a task behind it ended with ${code} and printed ${JSON.stringify(text)}`];
          await delay(50);
        }
        return ["no task is started any more"];
      };
      // Where the system lets nobody do so, what is left to see is that tasks are served.
      const mayWrite = (await run(WRITES)).code === 0;
      if (!mayWrite && process.getuid?.() === 0) throw new Error("root may not write into the spawner's pipe here");
      return {
        async one(random) {
          const bytes = Buffer.concat(Array.from({ length: 1 + random.upTo(3) }, () => spawnerFrame(random)));
          const stop = new AbortController();
          const written = Promise.withResolvers<void>();
          const command = `echo $$; ${WRITES} ${bytes.toString("base64")}; echo written; sleep 0.3; exit 3`;
          const hostile = run(command, stop.signal, (text) => void (text.includes("written") && written.resolve()));
          await Promise.race([written.promise, hostile]);
          const faults = await served();
          stop.abort();
          const pid = Number((await hostile).text.split("\n")[0]);
          const isGone = Number.isNaN(pid) || pid === 0 || (await allEnded([pid]));
          return isGone ? faults : [...faults, `the process ${pid} of a lost attempt runs on`];
        },
        async stop() {
          await spawner.stop();
          await rm(folder, { recursive: true, force: true });
          return [];
        },
      };
    },
  };
}

export const perlSpawner = spawnerIn("perl");
export const nodeSpawner = spawnerIn("node");
