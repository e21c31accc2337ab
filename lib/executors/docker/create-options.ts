import path from "node:path";
import type Docker from "dockerode";
import type { ResourceAmount } from "#lib/domain/model/resources.ts";
import type { ContainerRequest } from "../executor.ts";
import type { Mount } from "./mounts.ts";

const MIB = 1024 * 1024;
/** An engine takes no less. */
const MIN_MEMORY_MIB = 8;

/** The container's own limit in MiB; 0 is none. */
export function memoryLimit({ memory }: ResourceAmount): number {
  return memory === 0 ? 0 : Math.max(memory, MIN_MEMORY_MIB);
}

/** What the engine is asked to make: nothing but what the task says, and of root's powers only those it names. */
export function createOptions(
  request: ContainerRequest,
  own: { mounts: readonly Mount[]; limits: ResourceAmount; maxPids: number; labels: Record<string, string> },
): Docker.ContainerCreateOptions {
  const memory = memoryLimit(own.limits) * MIB;
  const { name, image, entrypoint, command, user, workdir } = request;
  return {
    name,
    Image: image,
    Env: Object.entries(request.env).map(([key, value]) => `${key}=${value}`),
    Labels: { ...request.labels, ...own.labels },
    ...(entrypoint && { Entrypoint: [...entrypoint] }),
    ...(command && { Cmd: [...command] }),
    ...(user !== undefined && { User: user }),
    ...(workdir !== undefined && { WorkingDir: workdir }),
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    OpenStdin: false,
    HostConfig: {
      NetworkMode: request.network,
      Mounts: own.mounts.map(({ source, target, readOnly }) => ({
        Type: "bind",
        Source: source,
        Target: path.posix.normalize(target),
        ReadOnly: readOnly,
        BindOptions: { Propagation: "rprivate" },
      })),
      ...(memory > 0 && { Memory: memory, MemorySwap: memory }),
      ...(own.limits.cpu > 0 && { NanoCpus: own.limits.cpu * 1_000_000 }),
      PidsLimit: own.maxPids,
      Privileged: false,
      CapDrop: ["ALL"],
      CapAdd: [...request.capabilities],
      SecurityOpt: ["no-new-privileges"],
      // The output goes to the attempt's log; a second copy would fill the engine's disk.
      LogConfig: { Type: "none", Config: {} },
      RestartPolicy: { Name: "no" },
    },
  };
}
