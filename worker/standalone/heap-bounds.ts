/**
 * MiB of the space for new objects, of which V8 takes three where it may: 16 by its own default, and more memory than a
 * worker's modules. A small one is collected more often.
 */
const NEW_SPACE = "--max-semi-space-size";

/** What Node is started with for a worker or a scheduler. An operator's own bound in NODE_OPTIONS prevails. */
export function heapBounds(nodeOptions = ""): string[] {
  return nodeOptions.includes(NEW_SPACE) ? [] : [`${NEW_SPACE}=4`];
}
