import { describe, expect, test } from "vitest";
import { answerIn } from "./protocol.ts";

const said = (answer: unknown): Buffer => Buffer.from(JSON.stringify(answer));

describe("an answer of the child that runs others' code", () => {
  test("is taken as it is when it is one", () => {
    const files = { "a.ts": "1", "lib/..b.ts": "2" };
    expect(answerIn(said({ ok: true, files }))).toEqual({ ok: true, files });
    expect(answerIn(said({ ok: false, message: "no" }))).toEqual({ ok: false, message: "no" });
  });

  test.each(["../a.ts", "/etc/x", "a/../../b", "a//b", "./a", "..", ""])(
    "names no file out of the folder: %s",
    (file) => {
      expect(answerIn(said({ ok: true, files: { [file]: "1" } }))).toEqual({
        broken: expect.stringContaining("Invalid key"),
      });
    },
  );

  test.each(["", "[", "{}", '{"ok":true,"files":{},"spec":{"id":"x"}}', '{"ok":true,"files":{},"more":1}', "null"])(
    "is none: %s",
    (text) => {
      expect(answerIn(Buffer.from(text))).toEqual({ broken: expect.any(String) });
    },
  );
});
