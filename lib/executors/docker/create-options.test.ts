import { expect, test } from "vitest";
import { DockerConfig } from "#lib/domain/model/docker-config.ts";
import type { ResourceAmount } from "#lib/domain/model/resources.ts";
import { createOptions } from "./create-options.ts";

function optionsOf(config: object, limits: ResourceAmount = { memory: 0, cpu: 0 }) {
  const { skipOn: _, ...parsed } = DockerConfig.parse({ image: "alpine:3.22", ...config });
  const request = {
    ...parsed,
    name: "sluice-a",
    labels: { "sluice.task": "t" },
    env: { A: "1=2" },
    folder: "/sluice",
    files: {},
    outputs: [],
  };
  return createOptions(request, { mounts: [], limits, maxPids: 1_000, labels: { "sluice.worker": "w" } });
}

test("of a task that says nothing, the container has a network and none of root's powers", () => {
  expect(optionsOf({})).toEqual({
    name: "sluice-a",
    Image: "alpine:3.22",
    Env: ["A=1=2"],
    Labels: { "sluice.task": "t", "sluice.worker": "w" },
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    OpenStdin: false,
    HostConfig: {
      NetworkMode: "bridge",
      Mounts: [],
      PidsLimit: 1_000,
      Privileged: false,
      CapDrop: ["ALL"],
      CapAdd: [],
      SecurityOpt: ["no-new-privileges"],
      LogConfig: { Type: "none", Config: {} },
      RestartPolicy: { Name: "no" },
    },
  });
});

test("what a task asks for is its limit, without swap, and never less than an engine takes", () => {
  expect(optionsOf({}, { memory: 512, cpu: 1_500 }).HostConfig).toMatchObject({
    Memory: 512 * 1024 * 1024,
    MemorySwap: 512 * 1024 * 1024,
    NanoCpus: 1_500_000_000,
  });
  expect(optionsOf({}, { memory: 1, cpu: 0 }).HostConfig).toMatchObject({ Memory: 8 * 1024 * 1024 });
});
