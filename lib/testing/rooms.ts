/**
 * Checks the rooms of rooms-table.ts: `node lib/testing/rooms.ts [root]`. dependency-cruiser reads TypeScript
 * through the compiler's JavaScript API, which the native compiler does not have; this reads it with oxc's parser.
 */
import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { parseSync } from "oxc-parser";
import { PACKAGES, ROOMS, type Room } from "./rooms-table.ts";

type Import = { from: string; specifier: string; typeOnly: boolean };
export type Violation = { file: string; specifier: string; rule: string };

const SOURCES = "{app,components,lib,worker,cli,dags,e2e,bench}/**/*.{ts,tsx,mts,mjs}";
const ENDINGS = ["", ".ts", ".tsx", ".mjs", "/index.ts"];

export function sourceFiles(root: string): string[] {
  return (
    [...globSync(SOURCES, { cwd: root }), ...globSync("*.{ts,mts,mjs}", { cwd: root })]
      .map((file) => file.replaceAll(path.sep, "/"))
      // The bench has packages of its own, those that it is measured beside.
      .filter((file) => !/^(next-env\.d\.ts$|lib\/db\/generated\/|bench\/peers\/node_modules\/)/.test(file))
      .toSorted()
  );
}

export function importsOf(file: string, source: string): Import[] {
  const { module, errors } = parseSync(file, source);
  const [broken] = errors;
  if (broken !== undefined) throw new Error(`${file}: ${broken.message}`);
  const found: Import[] = [];
  for (const item of module.staticImports) {
    const typeOnly = item.entries.length > 0 && item.entries.every((entry) => entry.isType);
    found.push({ from: file, specifier: item.moduleRequest.value, typeOnly });
  }
  for (const entry of module.staticExports.flatMap((item) => item.entries)) {
    if (entry.moduleRequest != null) {
      found.push({ from: file, specifier: entry.moduleRequest.value, typeOnly: entry.isType });
    }
  }
  for (const { moduleRequest } of module.dynamicImports) {
    const text = source.slice(moduleRequest.start, moduleRequest.end);
    // A computed specifier (a DAG file, a server bundle) belongs to no room.
    if (/^(["'`])[^$]*\1$/.test(text)) found.push({ from: file, specifier: text.slice(1, -1), typeOnly: false });
  }
  return found;
}

/** Path from the root for an import of ours, undefined for a package. */
function resolveOwn(root: string, { from, specifier }: Import): string | undefined {
  const target = specifier.startsWith(".")
    ? path.posix.join(path.posix.dirname(from), specifier)
    : /^#(lib|components|worker)\//.test(specifier)
      ? specifier.slice(1)
      : undefined;
  if (target === undefined) return undefined;
  const ending = ENDINGS.find((end) => isFile(path.join(root, target + end)));
  return ending === undefined ? target : target + ending;
}

function isFile(file: string): boolean {
  return existsSync(file) && statSync(file).isFile();
}

export function roomOf(file: string): Room | undefined {
  return ROOMS.find((room) => room.files.test(file));
}

function checkOwn(item: Import, target: string, room: Room): string | undefined {
  const other = roomOf(target);
  // Style sheets and data files have no room and may be imported by their neighbours.
  if (other === undefined || other === room || !/\.(ts|tsx|mts|mjs)$/.test(target)) return undefined;
  if (room.may.includes(other.name)) return undefined;
  if (room.types?.includes(other.name)) {
    return item.typeOnly ? undefined : `${room.name} may import only types of ${other.name}`;
  }
  return `${room.name} may not import ${other.name}`;
}

function checkPackage(item: Import, room: Room): string | undefined {
  const name = item.specifier;
  const base = name.startsWith("@") ? name.split("/").slice(0, 2).join("/") : (name.split("/")[0] ?? name);
  if (room.npm !== undefined && !room.npm.includes(base)) return `${room.name} may not import the package ${name}`;
  const rule = PACKAGES.find((candidate) => candidate.package.test(name));
  if (rule === undefined || rule.rooms.includes(room.name) || (rule.typesAnywhere && item.typeOnly)) return undefined;
  return `only ${rule.rooms.filter((one) => one !== "tests").join(", ")} may import ${name}`;
}

export function checkRooms(root: string): Violation[] {
  const violations: Violation[] = [];
  const graph = new Map<string, string[]>();
  for (const file of sourceFiles(root)) {
    const room = roomOf(file);
    if (room === undefined) {
      violations.push({ file, specifier: "", rule: "no room owns this file: see lib/testing/rooms-table.ts" });
      continue;
    }
    const targets: string[] = [];
    for (const item of importsOf(file, readFileSync(path.join(root, file), "utf8"))) {
      const target = resolveOwn(root, item);
      if (target !== undefined && !item.typeOnly) targets.push(target);
      const rule = target === undefined ? checkPackage(item, room) : checkOwn(item, target, room);
      if (rule !== undefined) violations.push({ file, specifier: item.specifier, rule });
    }
    graph.set(file, targets);
  }
  return [...violations, ...cyclesOf(graph)];
}

/** Every import that closes a circle, found by one depth-first walk. */
function cyclesOf(graph: Map<string, string[]>): Violation[] {
  const done = new Set<string>();
  const trail: string[] = [];
  const found: Violation[] = [];
  const visit = (file: string): void => {
    trail.push(file);
    for (const target of graph.get(file) ?? []) {
      const start = trail.indexOf(target);
      if (start >= 0) {
        found.push({ file, specifier: target, rule: `circle: ${[...trail.slice(start), target].join(" → ")}` });
      } else if (!done.has(target)) visit(target);
    }
    trail.pop();
    done.add(file);
  };
  for (const file of graph.keys()) if (!done.has(file)) visit(file);
  return found;
}

if (import.meta.main) {
  const root = process.argv[2] ?? path.resolve(import.meta.dirname, "../..");
  const violations = checkRooms(root);
  for (const { file, specifier, rule } of violations) console.error(`${file}: ${specifier} — ${rule}`);
  console.log(violations.length === 0 ? "rooms: every import is allowed" : `rooms: ${violations.length} not allowed`);
  process.exitCode = violations.length === 0 ? 0 : 1;
}
