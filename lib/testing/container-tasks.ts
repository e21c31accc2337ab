import { DockerConfig } from "#lib/domain/model/docker-config.ts";
import type { ResourceAmount } from "#lib/domain/model/resources.ts";
import type { Containers } from "#lib/executors/docker/containers.ts";
import { docker } from "#lib/executors/docker.ts";
import type { Outcome, Stream } from "#lib/executors/executor.ts";
import { createAddressGuard } from "#lib/executors/http-address.ts";

export type Ran = { outcome: Outcome; name: string; stdout: string; stderr: string; system: string };

type Given = {
  env?: Record<string, string>;
  signal?: AbortSignal;
  limits?: ResourceAmount;
  onOutput?: (stream: Stream, bytes: Buffer) => Promise<void>;
};

let attempts = 0;

/** Runs a task of the type docker as a worker does, with a parent that has left something. */
export async function runContainerTask(containers: Containers, config: object, given: Given = {}): Promise<Ran> {
  const { signal = new AbortController().signal, env = {}, limits, onOutput } = given;
  const attemptId = `test-${process.pid}-${++attempts}`;
  const said: Record<Stream, Buffer[]> = { stdout: [], stderr: [], system: [] };
  const outcome = await docker.run(
    {
      attempt: {
        attemptId,
        number: 2,
        taskInstanceId: "1048576",
        taskId: "t",
        runId: "1",
        dagId: "d",
        logicalDate: "2026-01-01T00:00:00.000Z",
        intervalStart: "2026-01-01T00:00:00.000Z",
        intervalEnd: "2026-01-02T00:00:00.000Z",
        conf: { "it's": "$(touch hacked)" },
        params: { day: "monday" },
        bundle: undefined,
      },
      env,
      inputs: async () => ({ outputs: { parent: { rows: 3 } }, xcoms: { parent: { file: "a.csv" } } }),
      signal,
      timeoutMs: 60_000,
      workDir: "/nowhere",
      network: createAddressGuard([]),
      sourceOf: () => Promise.reject(new Error("no program")),
      log: () => undefined,
      spawn: () => Promise.reject(new Error("no process")),
      contain: (request) =>
        containers.run(
          request,
          signal,
          async (stream, bytes) => {
            said[stream].push(bytes);
            await onOutput?.(stream, bytes);
          },
          limits,
        ),
      call: () => Promise.reject(new Error("no function")),
    },
    DockerConfig.parse(config),
  );
  const text = (stream: Stream): string => Buffer.concat(said[stream]).toString();
  const [stdout, stderr, system] = [text("stdout"), text("stderr"), text("system")];
  return { outcome, name: `sluice-${attemptId}`, stdout, stderr, system };
}
