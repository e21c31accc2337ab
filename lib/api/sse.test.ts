import { expect, test } from "vitest";
import { eventStream } from "./sse.ts";

test("a stream beats while its caller may listen, and ends when not", async () => {
  const answers = [true, true, false];
  let stopped = false;
  const response = eventStream(
    [],
    async () => answers.shift() ?? false,
    async (send, stop) => {
      await send({ event: "hello", data: { n: 1 }, id: "7" });
      await new Promise((resolve) => stop.addEventListener("abort", resolve));
      stopped = true;
    },
    1,
  );
  expect(await response.text()).toBe(
    'retry: 1000\n\nid: 7\nevent: hello\ndata: {"n":1}\n\n: still here\n\n: still here\n\n',
  );
  expect(stopped).toBe(true);
});
