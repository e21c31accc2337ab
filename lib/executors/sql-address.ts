import type { ConnectionOptions } from "node:tls";
import { messageOf } from "#lib/domain/errors.ts";
import { readRegularFile } from "./regular-file.ts";

/**
 * Where a query goes and as whom: all of it from the task's own address. What pg would take from elsewhere (PGHOST,
 * PGUSER, PGPASSWORD and their like, ~/.pgpass, the user of the process at a socket in the file system) is the
 * worker's, and could open its own database to any task.
 */
export type DatabaseAddress = {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  /** Options for the server, like `-c search_path=sales`. */
  options: string;
  ssl: false | ConnectionOptions;
};

export type AddressResult = { ok: true; address: DatabaseAddress } | { ok: false; error: string };

const PARAMETERS = ["sslmode", "sslrootcert", "sslcert", "sslkey", "options"];
const SSL_MODES = ["disable", "prefer", "require", "verify-ca", "verify-full", "no-verify"];

const EXPECTED = "it must be like postgres://user:password@host:5432/database, with special characters written as %40";

/** What an address says. No error holds any of it but a parameter's name. */
export async function readAddress(text: string): Promise<AddressResult> {
  try {
    const url = URL.parse(text);
    if (url === null || !/^postgres(ql)?:$/.test(url.protocol)) throw new BadAddress(`is not one; ${EXPECTED}`);
    const parameters = parametersOf(url);
    return {
      ok: true,
      address: {
        host: hostOf(url),
        port: Number(url.port || 5432),
        user: part("user", decodeURIComponent(url.username)),
        password: decodeURIComponent(url.password),
        database: part("database", decodeURIComponent(url.pathname.slice(1))),
        options: parameters["options"] ?? "",
        ssl: await sslOf(parameters),
      },
    };
  } catch (error) {
    // decodeURIComponent's own message repeats nothing, but says nothing either.
    const what = error instanceof BadAddress ? error.message : `holds a % that begins no escape; ${EXPECTED}`;
    return { ok: false, error: `the database's address (connection) ${what}` };
  }
}

class BadAddress extends Error {}

function part(name: string, value: string): string {
  if (value === "" || value.includes("\0")) throw new BadAddress(`has no ${name}; ${EXPECTED}`);
  return value;
}

function hostOf({ hostname }: URL): string {
  if (/^[A-Za-z0-9._-]+$/.test(hostname)) return hostname;
  const [, ipv6] = /^\[([0-9A-Fa-f:.]+)\]$/.exec(hostname) ?? [];
  if (ipv6 !== undefined) return ipv6;
  // A folder as the host is a socket, where the server trusts the worker's user.
  throw new BadAddress(`has no host name or IP address for its host; ${EXPECTED}`);
}

function parametersOf({ searchParams }: URL): Record<string, string> {
  // Not told which: behind a password that is not encoded it may be a part of it.
  if ([...searchParams.keys()].some((name) => !PARAMETERS.includes(name)))
    throw new BadAddress(`has a parameter that is not known here; those that are: ${PARAMETERS.join(", ")}`);
  return Object.fromEntries(searchParams);
}

/** What pg makes of `sslmode`: every mode that encrypts checks the certificate and its name, but `no-verify`. */
async function sslOf(parameters: Record<string, string>): Promise<false | ConnectionOptions> {
  const { sslmode, sslrootcert, sslcert, sslkey } = parameters;
  if (sslmode !== undefined && !SSL_MODES.includes(sslmode))
    throw new BadAddress(`has an sslmode that is not known; those that are: ${SSL_MODES.join(", ")}`);
  const isAsked = sslmode !== undefined || [sslrootcert, sslcert, sslkey].some((file) => file !== undefined);
  if (sslmode === "disable" || !isAsked) return false;
  const ca = sslrootcert === undefined ? {} : { ca: await fileOf("sslrootcert", sslrootcert) };
  const cert = sslcert === undefined ? {} : { cert: await fileOf("sslcert", sslcert) };
  const key = sslkey === undefined ? {} : { key: await fileOf("sslkey", sslkey) };
  return { rejectUnauthorized: sslmode !== "no-verify", ...ca, ...cert, ...key };
}

/** Of a certificate with its chain, or of a key. */
const MAX_PEM_BYTES = 64 * 1024;

function fileOf(name: string, file: string): Promise<string> {
  return readRegularFile(file, MAX_PEM_BYTES).then(String, (error: unknown) => {
    const code = error instanceof Error && "code" in error ? String(error.code) : messageOf(error);
    throw new BadAddress(`names a file as ${name} that this worker cannot read (${code})`);
  });
}
