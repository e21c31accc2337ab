/**
 * The version of what this program and the database's functions say to each other. It grows when a function that
 * workers call is replaced by another (CONTRIBUTING.md, "Functions that workers call"); the database says which
 * versions it takes, from the one before a rolling upgrade to the newest.
 */
export const PROTOCOL = 1;

/** The versions that the database's functions take: the row of `sluice.protocol`. */
export type ProtocolRange = { min: number; max: number };

/** Why a program of this version and that database do not work together; undefined when they do. */
export function protocolTrouble({ min, max }: ProtocolRange, version: number = PROTOCOL): string | undefined {
  const takes = min === max ? `protocol ${min}` : `protocols ${min} to ${max}`;
  if (version < min)
    return `this program speaks protocol ${version}, which is too old: the database takes ${takes}. Upgrade this program`;
  if (version > max)
    return `this program speaks protocol ${version}, which is too new: the database takes ${takes}. Run "sluice migrate"`;
  return undefined;
}
