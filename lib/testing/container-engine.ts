import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** A container engine with Docker's API for tests: Podman, with an image of a static busybox and no registry. */
export type TestEngine = {
  /** As SLUICE_DOCKER_HOST has it. */
  host: string;
  image: string;
  /** Ends the service; containers go on, and `start` finds them again. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** The image's files, as tar. */
  layer: Buffer;
  /** What the command line prints. */
  podman(...args: string[]): string;
  stop(): Promise<void>;
};

export type EngineOrWhyNot = { engine: TestEngine; whyNot?: undefined } | { engine?: undefined; whyNot: string };

const NEEDED = ["/usr/bin/podman", "/usr/sbin/runc", "/usr/bin/conmon", "/bin/busybox"];
const PACKAGES = ["podman", "runc", "conmon", "busybox-static"];
const IMAGE = "sluice-test:latest";

/**
 * Finds Podman or, as root on Debian, installs it, and starts a service with everything of its own below a temporary
 * folder. Registries of this machine may be spoken to without TLS. Where no Podman is to be had it says so out loud.
 */
export async function startContainerEngine(): Promise<EngineOrWhyNot> {
  const whyNot = whyNoPodman();
  if (whyNot !== undefined) {
    console.error(`\n!!! NOT TESTED: tasks in containers. ${whyNot}\n`);
    return { whyNot };
  }
  return { engine: await startPodman() };
}

function whyNoPodman(): string | undefined {
  if (process.platform !== "linux") return "Podman runs containers on Linux only";
  if (process.getuid?.() !== 0) return "these tests start Podman as root, and this is another user";
  const missing = (): string[] => NEEDED.filter((file) => !existsSync(file));
  if (missing().length > 0 && existsSync("/usr/bin/apt-get")) {
    console.log("No Podman found; installing it for the tests of containers");
    apt("update");
    apt("install", "-y", "--no-install-recommends", ...PACKAGES);
  }
  if (missing().length === 0) return undefined;
  return `${missing().join(", ")} missing, and could not be installed (Debian: apt-get install ${PACKAGES.join(" ")})`;
}

function apt(...args: string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  spawnSync("apt-get", ["-qq", ...args], { stdio: "inherit", timeout: 600_000, env });
}

async function startPodman(): Promise<TestEngine> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-podman-"));
  await writeConfiguration(folder);
  const env = {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: folder,
    CONTAINERS_CONF: path.join(folder, "containers.conf"),
    CONTAINERS_STORAGE_CONF: path.join(folder, "storage.conf"),
    CONTAINERS_REGISTRIES_CONF: path.join(folder, "registries.conf"),
  } as unknown as NodeJS.ProcessEnv;
  const podman = (...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync("podman", args, { env, cwd: folder, encoding: "utf8" });
    if (status !== 0) throw new Error(`podman ${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  };
  const layer = await makeImage(folder, podman);
  const socket = path.join(folder, "podman.sock");
  let service: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (service === undefined) return;
    const ended = once(service, "exit");
    service.kill("SIGKILL");
    await ended;
    service = undefined;
  };
  const start = async (): Promise<void> => {
    await rm(socket, { force: true });
    service = spawn("podman", ["system", "service", "--time=0", `unix://${socket}`], {
      env,
      cwd: folder,
      stdio: "ignore",
    });
    await listening(socket);
  };
  await start();
  return {
    host: `unix://${socket}`,
    image: IMAGE,
    layer,
    podman,
    kill,
    start,
    async stop() {
      podman("rm", "--all", "--force", "--time", "0");
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Nobody tells that a socket listens, so it is tried. */
async function listening(socket: string): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const probe = connect(socket)
      .on("connect", () => resolve(true))
      .on("error", () => resolve(false));
    const isThere = await promise;
    probe.destroy();
    if (isThere) return;
    await delay(20);
  }
  throw new Error(`Podman does not listen on ${socket}`);
}

async function writeConfiguration(folder: string): Promise<void> {
  const write = (name: string, ...lines: string[]): Promise<void> =>
    writeFile(path.join(folder, name), `${lines.join("\n")}\n`);
  const text = JSON.stringify;
  await write(
    "containers.conf",
    "[containers]",
    // More than this machine's own limits cannot be given out.
    'default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]',
    "[engine]",
    'cgroup_manager = "cgroupfs"',
    'runtime = "runc"',
    'events_logger = "file"',
    `tmp_dir = ${text(path.join(folder, "tmp"))}`,
    `conmon_path = [${text(path.join(folder, "conmon"))}]`,
    "[engine.runtimes]",
    'runc = ["/usr/sbin/runc"]',
  );
  await write(
    "storage.conf",
    "[storage]",
    'driver = "vfs"',
    `graphroot = ${text(path.join(folder, "storage"))}`,
    `runroot = ${text(path.join(folder, "run"))}`,
  );
  await write("registries.conf", "[[registry]]", 'location = "127.0.0.1"', "insecure = true");
  // Podman looks for it nowhere else without being told in each call.
  await mkdir(path.join(folder, ".config/containers"), { recursive: true });
  await write(".config/containers/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}');
  // conmon 2.1 notes an end for want of memory in the folder it stands in; Podman 4.3 looks for it in the container's.
  await write(
    "conmon",
    "#!/bin/sh",
    "before=",
    'for word; do [ "$before" = -b ] && cd "$word"; before=$word; done',
    'exec /usr/bin/conmon "$@"',
  );
  await chmod(path.join(folder, "conmon"), 0o755);
}

/** A root with nothing but busybox under all its names, and two users. */
async function makeImage(folder: string, podman: TestEngine["podman"]): Promise<Buffer> {
  const root = path.join(folder, "image");
  for (const name of ["bin", "etc", "tmp"]) await mkdir(path.join(root, name), { recursive: true });
  await chmod(path.join(root, "tmp"), 0o1777);
  await copyFile("/bin/busybox", path.join(root, "bin/busybox"));
  const names = spawnSync("/bin/busybox", ["--list"], { encoding: "utf8" }).stdout.trim().split("\n");
  for (const name of names.filter((one) => one !== "busybox")) await symlink("busybox", path.join(root, "bin", name));
  await writeFile(path.join(root, "etc/passwd"), "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n");
  const archive = path.join(folder, "image.tar");
  spawnSync("tar", ["-C", root, "-cf", archive, "."]);
  podman("import", archive, IMAGE);
  return readFile(archive);
}
