import { isIP } from "node:net";

/** True for the text of an address, or of a range of them like `10.0.0.0/8`. */
export function isIpRange(text: string): boolean {
  const [address, prefix, ...rest] = text.split("/") as [string, string | undefined, ...string[]];
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 6 ? 128 : 32));
}
