import { expect, test } from "vitest";
import { resourceAmount } from "./resources.ts";

test.each([
  [undefined, { cpu: 0, memory: 0 }],
  [{ cpu: 0.01 }, { cpu: 10, memory: 0 }],
  [
    { cpu: 1.5, memory: "1Ki" },
    { cpu: 1500, memory: 1 },
  ],
  [{ memory: "512Mi" }, { cpu: 0, memory: 512 }],
  [{ memory: "2Gi" }, { cpu: 0, memory: 2048 }],
  [{ memory: "1Ti" }, { cpu: 0, memory: 1024 * 1024 }],
])("%j asks for %j", (resources, amount) => {
  expect(resourceAmount(resources)).toEqual(amount);
});
