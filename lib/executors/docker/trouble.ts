import { messageOf } from "#lib/domain/errors.ts";

export type TroubleReason =
  | "DOCKER_CONNECTION"
  | "DOCKER_ERROR"
  | "IMAGE_MISSING"
  | "IMAGE_PULL"
  | "MOUNT_REFUSED"
  | "SPAWN_ERROR"
  | "DISK_FULL"
  | "CANCELLED";

/** Why a container did not run to its end, in the kinds that a retry policy can name. */
export class ContainerTrouble extends Error {
  readonly reason: TroubleReason;

  constructor(reason: TroubleReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** What an engine said no with; undefined when it said nothing, because it was not reached. */
export function statusOf(error: unknown): number | undefined {
  const { statusCode } = (error ?? {}) as { statusCode?: unknown };
  return typeof statusCode === "number" ? statusCode : undefined;
}

/** The engine's own words, without what the client puts around them. */
export function wordsOf(error: unknown): string {
  return messageOf(error)
    .replace(/^\(HTTP code \d+\) .*? - /s, "")
    .trim();
}

/** An error of a call to the engine as the trouble that it is; `what` was asked of it, as in "create the container". */
export function troubleOf(error: unknown, what: string, address: string): ContainerTrouble {
  if (error instanceof ContainerTrouble) return error;
  const words = wordsOf(error);
  if (statusOf(error) === undefined)
    return new ContainerTrouble(
      "DOCKER_CONNECTION",
      `the container engine at ${address} could not be reached: ${words}`,
    );
  const reason = /no space left on device/i.test(words) ? "DISK_FULL" : "DOCKER_ERROR";
  return new ContainerTrouble(reason, `the container engine could not ${what}: ${words}`);
}
