import { z } from "zod";
import { areApart, CODES_APART, exitCodeFields } from "./exit-codes.ts";
import { Argument, Text } from "./names.ts";

/** What an engine gives a container that nothing is said of (https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities). */
const CAPABILITIES = [
  "AUDIT_WRITE",
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "KILL",
  "MKNOD",
  "NET_BIND_SERVICE",
  "NET_RAW",
  "SETFCAP",
  "SETGID",
  "SETPCAP",
  "SETUID",
  "SYS_CHROOT",
] as const;

/** Where a container finds what its task is given, and leaves what it gives. */
export const CONTAINER_FOLDER = "/sluice";

const Mount = z.strictObject({
  source: Argument.min(1).describe(
    "A folder of the machine that containers run on, one that SLUICE_DOCKER_MOUNTS allows.",
  ),
  target: Text(1_024)
    .refine(isMountTarget, `must be a path like /data, and not / or below ${CONTAINER_FOLDER}`)
    .describe("Where the container sees it."),
  readOnly: z.boolean().default(true).describe("False lets the container write, where the worker allows it."),
});

function isMountTarget(target: string): boolean {
  const parts = target.split("/").filter((part) => part !== "" && part !== ".");
  return target.startsWith("/") && parts.length > 0 && !parts.includes("..") && `/${parts[0]}` !== CONTAINER_FOLDER;
}

export const DockerConfig = z
  .strictObject({
    image: Argument.min(1).describe("The image, such as `alpine:3.22`."),
    command: z.array(Argument).max(256).optional().describe("The program and its arguments; without it, the image's."),
    entrypoint: z
      .array(Argument)
      .min(1)
      .max(256)
      .optional()
      .describe("Comes before `command`; without it, the image's. With it, the image's command counts no more."),
    user: Text(256).min(1).optional().describe("Who it runs as, `name`, `uid` or `uid:gid`; without it, the image's."),
    workdir: Text(1_024).startsWith("/", "must be a path like /data").optional().describe("Without it, the image's."),
    mounts: z.array(Mount).max(64).default([]).describe("Folders of the machine that the container sees."),
    network: z
      .string()
      .regex(/^(?!host$)[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/, "is none, bridge or the name of a network, but not host")
      .default("bridge")
      .describe("`none`, `bridge`, or the name of a network that the engine has."),
    pull: z
      .enum(["missing", "always", "never"])
      .default("missing")
      .describe(
        "When the image is fetched from its registry: if the engine has it not, before each attempt, or never.",
      ),
    auth: z
      .strictObject({
        username: Text(1_024).min(1).describe("Who fetches the image."),
        password: Argument.min(1).describe("`${{ secrets.NAME }}`."),
      })
      .optional()
      .describe("For a registry that asks who fetches."),
    capabilities: z
      .array(z.enum(CAPABILITIES))
      .max(CAPABILITIES.length)
      .default([])
      .describe("Powers of root that the program has; without it, none."),
    ...exitCodeFields,
  })
  .refine(areApart, CODES_APART)
  .refine(takesNoProgramText, {
    path: ["command"],
    message:
      "an expression cannot stand in the text of a shell, where its value would run as code; put it into env and read the variable",
  });

/** Of `sh -c TEXT`, wherever the entrypoint ends and the command begins. */
function takesNoProgramText({ entrypoint = [], command = [] }: { entrypoint?: string[]; command?: string[] }): boolean {
  const words = [...entrypoint, ...command];
  const shell = words.findIndex((name) => SHELL.test(name));
  return words.every((word, at) => {
    const isText = /^-[a-z]*c$/.test(words[at - 1] ?? "") && shell >= 0 && shell < at;
    return !isText || !word.includes("${{");
  });
}

const SHELL = /(^|\/)(ba|da|a|k|z)?sh$/;
