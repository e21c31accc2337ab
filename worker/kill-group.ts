/** Signals a process and all of its group, of which it must be the leader. A group that is gone is no error. */
export function killGroup(pid: number | undefined, signal: NodeJS.Signals = "SIGKILL"): void {
  // Groups 0 and 1 are our own and everybody's to the system.
  if (pid === undefined || pid <= 1) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is empty already.
  }
}
