import { messageOf } from "#lib/domain/errors.ts";
import type { ContainerRequest } from "../executor.ts";
import { answered } from "./container.ts";
import type { Engine } from "./engine.ts";
import { ContainerTrouble, statusOf, troubleOf, wordsOf } from "./trouble.ts";

type Wanted = Pick<ContainerRequest, "image" | "pull" | "auth">;

/** One line of what an engine tells while it fetches; the rest of it is progress. */
const MAX_LINE = 1024 * 1024;

/** Registry, path, tag and digest: nothing that could be another place of the engine's API. */
const NAME = /^[A-Za-z0-9]+([._:@/-]+(?<!\.\.|\/\/)[A-Za-z0-9]+)*$/;

/** Sees to it that the engine has the image, as the pull policy says; `onPulled` hears of one that was fetched. */
export async function ensureImage(
  engine: Engine,
  { image, pull, auth }: Wanted,
  signal: AbortSignal,
  onPulled: (tookMs: number) => void,
): Promise<void> {
  if (!NAME.test(image))
    throw new ContainerTrouble("IMAGE_MISSING", `"${image}" is no name of an image, like alpine:3.22`);
  if (pull !== "always" && (await hasImage(engine, image))) return;
  if (pull === "never")
    throw new ContainerTrouble(
      "IMAGE_MISSING",
      `the container engine does not have the image ${image}, and pull: never keeps it from being fetched`,
    );
  const started = performance.now();
  const trouble = await pullImage(engine, { image, auth }, signal);
  if (trouble !== undefined)
    throw new ContainerTrouble("IMAGE_PULL", `the image ${image} could not be fetched: ${trouble}`);
  onPulled(performance.now() - started);
}

async function hasImage({ docker, address }: Engine, image: string): Promise<boolean> {
  try {
    await answered(docker.getImage(image).inspect());
    return true;
  } catch (error) {
    if (statusOf(error) === 404) return false;
    throw troubleOf(error, `look for the image ${image}`, address);
  }
}

/** Fetches it and answers what went wrong, in the engine's words. A connection that breaks in the middle is an error. */
async function pullImage(
  { docker, address }: Engine,
  { image, auth }: Omit<Wanted, "pull">,
  signal: AbortSignal,
): Promise<string | undefined> {
  const options = { abortSignal: signal, ...(auth && { authconfig: { ...auth, serveraddress: registryOf(image) } }) };
  try {
    return await troubleToldIn(await docker.pull(withTag(image), options));
  } catch (error) {
    if (signal.aborted) throw new ContainerTrouble("CANCELLED", "the task was stopped while its image was fetched");
    if (statusOf(error) === undefined) throw troubleOf(error, "fetch an image", address);
    return wordsOf(error);
  }
}

/** Lines of JSON; the status was sent before anything could go wrong, so an error is one of them. */
async function troubleToldIn(progress: NodeJS.ReadableStream): Promise<string | undefined> {
  let rest = "";
  let trouble: string | undefined;
  for await (const bytes of progress) {
    const lines = `${rest}${String(bytes)}`.split("\n");
    rest = lines.pop()!.slice(0, MAX_LINE);
    for (const line of lines) trouble ??= errorIn(line);
  }
  return trouble ?? errorIn(rest);
}

function errorIn(line: string): string | undefined {
  if (line.trim() === "") return undefined;
  try {
    const told = JSON.parse(line) as { error?: string; errorDetail?: { message?: string } };
    return told.errorDetail?.message ?? told.error;
  } catch (error) {
    return `the container engine told of it in words that are not JSON: ${messageOf(error)}`;
  }
}

/** An image without a tag would be all of its tags. */
export function withTag(image: string): string {
  const name = image.slice(image.lastIndexOf("/") + 1);
  return /[:@]/.test(name) ? image : `${image}:latest`;
}

/** The part before the first slash, if it can be the name of a machine; else the registry is the engine's own. */
export function registryOf(image: string): string | undefined {
  const [first = "", ...rest] = image.split("/");
  return rest.length > 0 && (/[.:]/.test(first) || first === "localhost") ? first : undefined;
}
