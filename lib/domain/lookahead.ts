/** More than a worker ever claims before it has slots for it: more would only make others wait for this worker. */
export const MAX_AHEAD = 128;
