import { secretNamesIn } from "../expressions/secret-references.ts";
import { parseTemplate, type TemplatePart } from "../expressions/template.ts";
import type { Problem } from "../graph.ts";

/** Stand for the values of expressions in an address that is looked at before a run. */
const SECRET = "\uE000";
const OTHER = "\uE001";

const AS_SECRET = "put the whole address into a secret and write connection: ${{ secrets.NAME }}";

/** What is wrong with the address of an sql task's database, which is stored and shown with the DAG. */
export function connectionProblems({ connection }: { connection: string }): Problem[] {
  const template = parseTemplate(connection);
  // Otherwise told as the mistake in an expression that it is.
  const message = template.ok ? problemOf(template.parts.map(shapeOf).join("")) : undefined;
  return message === undefined ? [] : [{ path: ["connection"], message: `${message}; ${AS_SECRET}`, hidesLine: true }];
}

/** What is wrong with the password for an image's registry, which is stored and shown with the DAG. */
export function registryProblems({ auth }: { auth?: { password: string } | undefined }): Problem[] {
  if (auth === undefined) return [];
  const template = parseTemplate(auth.password);
  if (!template.ok || template.parts.every((part) => shapeOf(part) === SECRET)) return [];
  const message =
    "a password that stands here is read by everybody who sees the DAG or its runs; put it into a secret and write password: ${{ secrets.NAME }}";
  return [{ path: ["auth", "password"], message, hidesLine: true }];
}

function shapeOf(part: TemplatePart): string {
  if (part.kind === "text") return part.text;
  return secretNamesIn(`\${{${part.source}}}`).length > 0 ? SECRET : OTHER;
}

function problemOf(address: string): string | undefined {
  if (hasPassword(address))
    return "the address holds a password, which everybody who sees the DAG or its runs would read";
  if (address.startsWith(SECRET) || /^postgres(ql)?:\/\//.test(address)) return undefined;
  if (address.startsWith(OTHER)) return "an address that is a value holds a password, and so must be a secret";
  return "this is no address of a database, like postgres://user@host/database";
}

/** Up to the last @, because a password that is not encoded may hold any character. */
function hasPassword(address: string): boolean {
  const [, password = ""] = /^[^:]*:\/\/[^:]*:(.*)@/s.exec(address) ?? /[?&]password=([^&]*)/.exec(address) ?? [];
  return password.replaceAll(SECRET, "") !== "";
}
