import { nearestName } from "../nearest.ts";

/** Which time zones a schedule may be in. */

/** Names of Intl that the IANA list does not have; several mean one zone here and another one elsewhere. */
const NOT_IANA = new Set(
  "ACT AET AGT ART AST BET BST CAT CNT CST CTT EAT ECT IET IST JST MIT NET NST PLT PNT PRT PST SST VST".split(" "),
);

/** Names that `Intl.supportedValuesOf` still lists under an older spelling. */
const NEWER = ["UTC", "Asia/Ho_Chi_Minh", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Yangon", "Europe/Kyiv"];

/** No name is longer than 32 characters; suggestions cost the product of two lengths. */
const MAX_NAME = 64;

/** What is wrong with a time zone's name, and what would be right; undefined when nothing is. */
export function zoneProblem(name: string): string | undefined {
  if (/^(?:UTC|GMT)?[+-]\d/i.test(name))
    return `"${name.slice(0, MAX_NAME)}" is an offset, which knows no daylight saving; name a zone like Europe/Berlin, or UTC`;
  if (NOT_IANA.has(name.toUpperCase()) || name.startsWith("SystemV/"))
    return `"${name}" is an abbreviation and no IANA time zone; name a place like America/Los_Angeles`;
  if (/^[A-Za-z]/.test(name) && name.length <= MAX_NAME && isKnown(name)) return undefined;
  const near = name.length > MAX_NAME ? undefined : similarZone(name);
  const hint = near === undefined ? "name one like Europe/Berlin, or UTC" : `did you mean "${near}"?`;
  return `"${name.slice(0, MAX_NAME)}" is no IANA time zone; ${hint}`;
}

function isKnown(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** The zone of that city, or one in the same area that is spelt nearly so. */
function similarZone(name: string): string | undefined {
  const known = [...NEWER, ...Intl.supportedValuesOf("timeZone")];
  const plain = name.trim().replaceAll(" ", "_").toLowerCase();
  const cut = plain.lastIndexOf("/") + 1;
  const city = known.find((zone) => cityOf(zone).toLowerCase() === plain.slice(cut));
  if (city !== undefined) return city;
  if (cut > 0) {
    const area = known.filter((zone) => zone.toLowerCase().startsWith(plain.slice(0, cut)));
    return nearestName(plain, area, plain.slice(0, cut));
  }
  const near = nearestName(plain, known.map(cityOf));
  return known.find((zone) => cityOf(zone) === near);
}

function cityOf(zone: string): string {
  return zone.slice(zone.lastIndexOf("/") + 1);
}
