import { pathToFileURL } from "node:url";

/** Where plugins are: absolute paths of files and names of packages, which are looked for from the folder `base`. */
export type PluginPlaces = { locations: readonly string[]; base: string };

export const NO_PLACES: PluginPlaces = { locations: [], base: "/" };

export function placesOf({ plugins }: { plugins: readonly string[] }): PluginPlaces {
  return { locations: plugins, base: process.cwd() };
}

export const isFile = (location: string): boolean => location.startsWith("/");

/** The addresses of the plugins that are files. */
export function fileUrls({ locations }: PluginPlaces): ReadonlySet<string> {
  return new Set(locations.filter(isFile).map((location) => pathToFileURL(location).href));
}

/** Tells what is wrong with a plugin, and which setting names it. */
export function pluginProblem(location: string, what: string): string {
  return `SLUICE_PLUGINS: ${location} cannot be used: ${what}`;
}

/** A type that two plugins bring. */
export function doubledTypes(found: readonly { location: string; type: string }[]): string[] {
  return found.flatMap(({ location, type }, index) => {
    const first = found.findIndex((other) => other.type === type);
    if (first === index) return [];
    return [pluginProblem(location, `its type "${type}" is also that of ${found[first]!.location}`)];
  });
}
