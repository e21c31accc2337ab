import { plainEnv } from "#lib/env.ts";
import type { PluginType } from "#lib/domain/model/plugin-type.ts";
import { ownPlace } from "../guests/place.ts";
import { createEvaluator } from "../loader/evaluator.ts";
import { doubledTypes, NO_PLACES, pluginProblem, type PluginPlaces } from "./places.ts";

/** Plugins of which only the facts are known here: their code runs elsewhere. */
export type DescribedPlugins = { places: PluginPlaces; types: readonly PluginType[] };

export const NO_DESCRIBED: DescribedPlugins = { places: NO_PLACES, types: [] };

export type Described = { ok: true; plugins: DescribedPlugins } | { ok: false; problems: string[] };

/**
 * What types of task the plugins bring. They are imported in a child with a clean environment and a time limit, so that
 * what their code does at its top level harms nobody who only has to know them.
 */
export async function describePlugins(places: PluginPlaces): Promise<Described> {
  if (places.locations.length === 0) return { ok: true, plugins: NO_DESCRIBED };
  // An operator names plugins, and they run in the worker itself.
  const evaluator = createEvaluator({ dagsDir: places.base, env: plainEnv(), plugins: places, place: ownPlace() });
  const found: { location: string; type: PluginType }[] = [];
  const problems: string[] = [];
  try {
    for (const location of places.locations) {
      const answer = await evaluator.evaluate({ kind: "plugin", location });
      // What the plugin itself is blamed for names it already.
      if (!answer.ok) problems.push(...(answer.problems ?? [pluginProblem(location, answer.message)]));
      else for (const type of answer.types ?? []) found.push({ location, type });
    }
  } finally {
    evaluator.stop();
  }
  problems.push(...doubledTypes(found.map(({ location, type: { type } }) => ({ location, type }))));
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, plugins: { places, types: found.map(({ type }) => type) } };
}
