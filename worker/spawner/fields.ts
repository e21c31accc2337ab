/** Values one after the other, each behind its length. */
export function fields(values: readonly (string | Buffer)[]): Buffer {
  const parts: Buffer[] = [];
  for (const value of values) {
    const bytes = typeof value === "string" ? Buffer.from(value) : value;
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  }
  return Buffer.concat(parts);
}

/** The values that `fields` packed. */
export function list(payload: Buffer): Buffer[] {
  const values: Buffer[] = [];
  for (let at = 0; at < payload.length;) {
    const end = at + 4 + payload.readUInt32BE(at);
    values.push(payload.subarray(at + 4, end));
    at = end;
  }
  return values;
}
