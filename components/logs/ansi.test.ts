import { expect, test } from "vitest";
import { ansiSpans } from "./ansi.ts";

test("colours become classes and end where the terminal would end them", () => {
  expect(ansiSpans("a \u001b[1;31mbad\u001b[0m z")).toEqual([
    { text: "a ", className: "" },
    { text: "bad", className: "ansi-1 font-semibold" },
    { text: " z", className: "" },
  ]);
});

test("titles and cursor movements leave no rubbish, and a rewritten line shows its last form", () => {
  expect(ansiSpans("\u001b]0;title\u0007\u001b[2Kdone")).toEqual([{ text: "done", className: "" }]);
  expect(ansiSpans("10%\r50%\r100%\r")).toEqual([{ text: "100%", className: "" }]);
});
