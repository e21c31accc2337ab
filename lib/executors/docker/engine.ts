import { existsSync } from "node:fs";
import { Agent, type ClientRequestArgs } from "node:http";
import { connect, type NetConnectOpts, type Socket } from "node:net";
import type Docker from "dockerode";
import { ContainerTrouble } from "./trouble.ts";

/** Where an engine listens that nothing else is said of. */
const DEFAULT_SOCKET = "/var/run/docker.sock";
const DEFAULT_PORT = 2375;

/** A network that swallows what is sent is found out by asking now and then whether anybody is there. */
const KEEP_ALIVE_MS = 30_000;
const CONNECT_MS = 10_000;

export type Engine = {
  docker: Docker;
  /** As people would write it. */
  address: string;
  /** It sees the files that this process sees. */
  isHere: boolean;
};

/** The engine that `SLUICE_DOCKER_HOST` names, or the usual one where it is there; undefined when there is none. */
export async function openEngine(host: string | undefined): Promise<Engine | undefined> {
  if (host === undefined && !existsSync(DEFAULT_SOCKET)) return undefined;
  const address = host ?? `unix://${DEFAULT_SOCKET}`;
  // 33 MB that only a worker with an engine needs.
  const { default: Client } = await import("dockerode");
  const isHere = address.startsWith("unix://");
  const { hostname, port } = new URL(address);
  // Everything is given: what is left out is taken from the worker's own environment.
  const docker = new Client({
    protocol: "http",
    host: isHere ? undefined : hostname.replace(/^\[(.*)\]$/, "$1"),
    port: isHere ? undefined : port === "" ? DEFAULT_PORT : port,
    socketPath: isHere ? address.slice("unix://".length) : undefined,
    agent: new LastingAgent(),
    ca: undefined,
    cert: undefined,
    key: undefined,
  } as Docker.DockerOptions);
  return { docker, address, isHere };
}

/** For a task that wants a container where there is no engine. */
export function noEngine(): ContainerTrouble {
  return new ContainerTrouble(
    "DOCKER_CONNECTION",
    `this worker has no container engine: ${DEFAULT_SOCKET} is not there, and SLUICE_DOCKER_HOST names no other`,
  );
}

/** A connection for each call, because one that waits for the next may be dead by then. */
class LastingAgent extends Agent {
  override createConnection(options: ClientRequestArgs): Socket {
    const socket = connect({ ...(options as NetConnectOpts), keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
    const late = setTimeout(() => socket.destroy(new Error(`no answer within ${CONNECT_MS / 1000} s`)), CONNECT_MS);
    for (const event of ["connect", "close"]) socket.once(event, () => clearTimeout(late));
    return socket;
  }
}
