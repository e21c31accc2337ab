import { expect, test } from "vitest";
import { ansiSpans } from "./ansi.ts";

test("colours become classes and end where the terminal would end them", () => {
  expect(ansiSpans("a \u001b[1;31mbad\u001b[0m z")).toEqual([
    { text: "a ", className: "" },
    { text: "bad", className: "ansi-1 font-semibold" },
    { text: " z", className: "" },
  ]);
});

test("colours of larger tables are no other codes, and private sequences no colours", () => {
  const styles = (line: string): string[] => ansiSpans(line).map(({ className }) => className);
  expect(styles("\u001b[38;5;1mx")).toEqual([""]);
  expect(styles("\u001b[48;2;1;31;32mx")).toEqual([""]);
  expect(styles("\u001b[38;5;196;1mx")).toEqual(["font-semibold"]);
  expect(styles("\u001b[38:2::1:31:32;32mx")).toEqual(["ansi-2"]);
  expect(styles("\u001b[31m\u001b[>4;1mx")).toEqual(["ansi-1"]);
});

test("what cannot be shown is left out", () => {
  expect(ansiSpans("a\u0000b\u0008\tc\u001b]half")).toEqual([{ text: "ab\tc]half", className: "" }]);
  expect(ansiSpans("\u001b(Bx\u001b7y\u001bPq#0\u001b\\z\uFFFD").map(({ text }) => text)).toEqual([
    "x",
    "y",
    "z\uFFFD",
  ]);
});

test("titles and cursor movements leave no rubbish, and a rewritten line shows its last form", () => {
  expect(ansiSpans("\u001b]0;title\u0007\u001b[2Kdone")).toEqual([{ text: "done", className: "" }]);
  expect(ansiSpans("10%\r50%\r100%\r")).toEqual([{ text: "100%", className: "" }]);
});
