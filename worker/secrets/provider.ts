/** Where a worker has its secrets from. Another store is another of these. */
export type SecretProvider = {
  /** Where it looks, as people would say it: "the file /etc/sluice/secrets.json". */
  place: string;
  /** The values of those of these secrets that it has, as they are now. Never throws; no value is in any error. */
  get(names: readonly string[]): Promise<SecretsFound>;
};

export type SecretsFound = { ok: true; values: ReadonlyMap<string, string> } | { ok: false; error: string };

/** For a worker that was given none. */
export const NO_SECRETS: SecretProvider = {
  place: "this worker's secrets: it has none, because SLUICE_SECRETS_FILE names no file",
  get: () => Promise.resolve({ ok: true, values: new Map() }),
};

export type SecretsRead =
  | { ok: true; values: Record<string, string> }
  | { ok: false; reason: "SECRET_MISSING" | "SECRETS_UNREADABLE"; error: string };

/** The values of all these secrets, or why there is one that cannot be had. */
export async function readSecrets(provider: SecretProvider, names: readonly string[]): Promise<SecretsRead> {
  if (names.length === 0) return { ok: true, values: {} };
  const found = await provider.get(names);
  if (!found.ok) return { ok: false, reason: "SECRETS_UNREADABLE", error: found.error };
  const missing = names.find((name) => !found.values.has(name));
  if (missing !== undefined)
    return { ok: false, reason: "SECRET_MISSING", error: `the secret "${missing}" is not in ${provider.place}` };
  return { ok: true, values: Object.fromEntries(names.map((name) => [name, found.values.get(name)!])) };
}
