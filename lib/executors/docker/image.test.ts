import { expect, test } from "vitest";
import { registryOf, withTag } from "./image.ts";

test("an image without a tag is its latest, whatever its registry's port", () => {
  expect(withTag("alpine")).toBe("alpine:latest");
  expect(withTag("alpine:3.22")).toBe("alpine:3.22");
  expect(withTag("registry.internal:5000/team/tool")).toBe("registry.internal:5000/team/tool:latest");
  expect(withTag("registry.internal:5000/team/tool:1")).toBe("registry.internal:5000/team/tool:1");
  expect(withTag("alpine@sha256:0a4eaa0eecf5f8c050e5bba433f58c052be7587ee8af3e8b3910ef9ab5fbe9f5")).toMatch(
    /@sha256:0a/,
  );
});

test("who is asked for it is the part before the first slash, when that can be a machine", () => {
  expect(registryOf("registry.internal:5000/team/tool")).toBe("registry.internal:5000");
  expect(registryOf("localhost/tool")).toBe("localhost");
  for (const image of ["alpine:3.22", "library/alpine", "team/tool:1.2"]) expect(registryOf(image)).toBeUndefined();
});
