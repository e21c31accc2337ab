import { z } from "zod";

/** A function as a definition file names it: `./module.ts#export`. */
export const FnReference = z.string().regex(/^[^#]+#[^#]+$/, "a function is written as ./file.ts#exportedName");

export function readFnReference(reference: string): { module: string; export: string } {
  const [module, name] = reference.split("#") as [string, string];
  return { module: module.replace(/^(\.\/)+/, ""), export: name };
}

export function writeFnReference({ module, export: name }: { module: string; export: string }): string {
  return `${module.startsWith("../") ? "" : "./"}${module}#${name}`;
}
