import type { Executors } from "#lib/executors/registry.ts";
import type { DescribedPlugins } from "#worker/plugins/describe.ts";

type Named = { plugins: readonly string[] };
type End = (problems: readonly string[]) => never;

/** What the plugins bring, for whoever reads definitions; a broken one ends the process by `end`. */
export async function describedPlugins(settings: Named, end: End): Promise<DescribedPlugins> {
  const [{ describePlugins }, { placesOf }] = await Promise.all([
    import("#worker/plugins/describe.ts"),
    import("#worker/plugins/places.ts"),
  ]);
  const described = await describePlugins(placesOf(settings));
  return described.ok ? described.plugins : end(described.problems);
}

/** All executors, the plugins' among them, for whoever runs tasks; a broken plugin ends the process by `end`. */
export async function executorsOf(settings: Named, end: End): Promise<Executors> {
  const [{ openExecutors }, { placesOf }] = await Promise.all([
    import("#worker/plugins/open.ts"),
    import("#worker/plugins/places.ts"),
  ]);
  const opened = await openExecutors(placesOf(settings));
  return opened.ok ? opened.executors : end(opened.problems);
}
