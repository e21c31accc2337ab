import { defineExecutor, type Outcome } from "sluice";
import { z } from "zod";

/** Posts to the incoming webhook of a chat. `chat: …` in YAML, `chat({ … })` in TypeScript. */
export const chat = defineExecutor({
  type: "chat",
  displayName: "Chat message",
  icon: "message",
  about: "Posts a message to the incoming webhook of a chat.",
  config: z.strictObject({
    webhook: z.url().describe("The webhook's address, a secret: whoever has it can post."),
    text: z.string().min(1).max(4_000),
    channel: z
      .string()
      .regex(/^#[a-z0-9_-]+$/, "a channel is written like #ops")
      .default("#general"),
  }),

  async run(task, { webhook, text, channel }): Promise<Outcome<{ channel: string; answer: string }>> {
    task.log.info(`posting ${text.length} characters to ${channel}`);
    const { status, body } = await task.http({
      url: webhook,
      method: "POST",
      // The same for each delivery of this attempt: a chat that looks at it posts once.
      headers: { "content-type": "application/json", "idempotency-key": task.attempt.id },
      body: JSON.stringify({ channel, text }),
    });
    const answer = body.toString();
    task.log.info(`the chat answered ${status}`);
    if (status !== 200) return { kind: "failed", reason: "CHAT_REFUSED", error: answer, httpStatus: status };
    return { kind: "success", output: { channel, answer } };
  },
});
