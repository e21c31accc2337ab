import { freePort, makeFolder, removeFolder, startSluice } from "./sluice.ts";

/** One Sluice for all browser specs; those that kill things start their own. */
export default async function setup(): Promise<() => Promise<void>> {
  const folder = await makeFolder();
  const sluice = await startSluice(folder, await freePort());
  process.env.E2E_URL = sluice.url;
  process.env.E2E_FOLDER = folder;
  return async () => {
    await sluice.stop();
    await removeFolder(folder);
  };
}
