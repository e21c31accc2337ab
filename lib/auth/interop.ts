/** next-auth is CommonJS: some module loaders hand its whole exports object out as the default import. */
export function defaultOf<T>(imported: T): T {
  const wrapped = imported as { default?: T };
  return wrapped.default ?? imported;
}
