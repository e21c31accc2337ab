import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { TASK_TYPES } from "#lib/domain/model/task-types.ts";
import { TypeIcon } from "./type-icon.tsx";

const drawn = (icon: string): string => renderToStaticMarkup(<TypeIcon icon={icon} title="Chat message" />);

test("every built-in type has a drawing of its own, and a plugin's is drawn as it says", () => {
  const puzzle = drawn("puzzle");
  const builtIn = Object.values(TASK_TYPES).map(({ icon }) => drawn(icon));
  expect(new Set([...builtIn, puzzle]).size).toBe(builtIn.length + 1);
  expect(drawn("M4 12h16")).toContain('<path d="M4 12h16"');
  expect(drawn("message")).not.toBe(puzzle);
  expect(puzzle).toContain('title="Chat message"');
});
