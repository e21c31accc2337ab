import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar";

/** A registry of one image (https://github.com/opencontainers/distribution-spec) that asks for a user and a password. */
export type ImageRegistry = {
  address: string;
  /** Requests for the image's description so far, by people it knows. */
  asked: number;
  /** Resolves when the image is asked for next, and then gets no answer. */
  stall(): Promise<void>;
  stop(): Promise<void>;
};

export async function startImageRegistry(layer: Buffer, login: string): Promise<ImageRegistry> {
  const digestOf = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      os: "linux",
      config: { Entrypoint: ["/bin/echo", "from the image:"], Cmd: ["its own words"] },
      rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
    }),
  );
  const described = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: described(CONFIG, config),
      layers: [described(LAYER, layer)],
    }),
  );
  let stalled: (() => void) | undefined;
  const registry = { asked: 0 };

  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const wanted = `Basic ${Buffer.from(login).toString("base64")}`;
    if (request.headers.authorization !== wanted)
      return void response.writeHead(401, { "www-authenticate": 'Basic realm="test"' }).end();
    const url = request.url ?? "";
    if (url === "/v2/") return void response.end("{}");
    if (url.includes("/manifests/") && url.startsWith("/v2/team/tool/")) {
      registry.asked++;
      if (stalled !== undefined) return stalled();
      const headers = { "content-type": MANIFEST, "docker-content-digest": digestOf(manifest) };
      return void response.writeHead(200, headers).end(manifest);
    }
    const blob = [config, layer].find((bytes) => url.endsWith(digestOf(bytes)));
    if (blob === undefined) return void response.writeHead(404).end("{}");
    response.end(blob);
  };

  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(registry, {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    stall: () =>
      new Promise<void>((resolve) => {
        stalled = () => {
          stalled = undefined;
          resolve();
        };
      }),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
