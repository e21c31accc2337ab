import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";

/**
 * A browser in which somebody has signed in before keeps a token that says so, for that account only. Its wrong passwords are counted
 * by themselves: whatever others do, its owner gets in. (https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies)
 */
export type KnownBrowsers = {
  /** A new token of an account. */
  issue(account: string): string;
  /** The browser's id, when this is a token of this account. */
  idOf(token: string | undefined, account: string): string | undefined;
};

const TOKEN = /^([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})$/;

export function knownBrowsers(sessionSecret: string): KnownBrowsers {
  const key = Buffer.from(hkdfSync("sha256", sessionSecret, "", "sluice known browser", 32));
  const proof = (id: string, account: string): Buffer => createHmac("sha256", key).update(`${id}\n${account}`).digest();
  return {
    issue(account) {
      const id = randomBytes(16).toString("base64url");
      return `${id}.${proof(id, account).toString("base64url")}`;
    },
    idOf(token, account) {
      const [, id, given] = TOKEN.exec(token ?? "") ?? [];
      if (id === undefined || given === undefined) return undefined;
      return timingSafeEqual(Buffer.from(given, "base64url"), proof(id, account)) ? id : undefined;
    },
  };
}
