/**
 * The known name that `name` was most likely meant to be, or undefined when none is near. A `prefix` that all names
 * share does not count as likeness.
 */
export function nearestName(name: string, known: readonly string[], prefix = ""): string | undefined {
  // Half of what is a name's own may be wrong; beyond that a suggestion misleads.
  const own = name.startsWith(prefix) ? name.length - prefix.length : name.length;
  const limit = Math.max(2, Math.floor(own / 2));
  let best: { name: string; distance: number } | undefined;
  for (const candidate of known) {
    // So many letters at least are other ones.
    if (Math.abs(candidate.length - name.length) > limit) continue;
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (best === undefined || distance < best.distance) best = { name: candidate, distance };
  }
  return best !== undefined && best.distance <= Math.min(limit, best.name.length - 1) ? best.name : undefined;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replace = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replace, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}
